//! How many jobs of a queue may start: reading the limits, and changing those that are given.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use launchkit_queue::{Queue, Rate, StoreError};
use serde_json::{Value, json};

use super::super::Api;
use super::super::query::Query;
use super::super::queues::{self, store_problem};
use super::Order;
use crate::auth::Role;
use crate::problem::Problem;
use crate::when::rfc3339;

const MOST_CONCURRENCY: u64 = 1_000_000;
const MOST_STARTS: u64 = 1_000_000_000;
const MOST_MS: u64 = 365 * 24 * 3_600_000;
const NONE: &str = "none";

/// What an operator changes; what is not given stays as it is.
pub(super) struct Change {
    concurrency: Option<Option<NonZeroU32>>,
    rate: Option<Option<Rate>>,
    /// `None` inside: lifted, and the running window with it.
    hold: Option<Option<Duration>>,
}

/// `GET /v1/admin/queue/limits?queue=`
pub(in super::super) async fn limits(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    api.auth.operator(request.headers(), Role::Viewer, api.now())?;
    let mut query = Query::parse(request.uri().query());
    let queue = queues::asked_for(&api, &mut query)?;
    query.finish()?;
    Ok(axum::Json(read(queue, api.now()).await.map_err(|error| store_problem(&error))?).into_response())
}

/// `POST /v1/admin/queue/limits?queue=&concurrency=&rate=&per=&hold=`
pub(in super::super) async fn limit(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    super::order(&api, request, |query| Order::Limit(Change::from(query))).await
}

/// The limits as viewers see them.
pub(super) async fn read(queue: &Queue, now: i64) -> Result<Value, StoreError> {
    let limits = queue.info().await?.limits;
    let rate = limits.rate.map(|rate| json!({"max": rate.max, "per": rate.per.as_millis() as u64}));
    let until = limits.limited_until(None, launchkit_queue::Timestamp::from_millis(now));
    Ok(json!({
        "queue": queue.name().as_str(), "concurrency": limits.concurrency, "rate": rate,
        "limitedUntil": until.map(|until| rfc3339(until.millis())),
    }))
}

impl Change {
    fn from(query: &mut Query) -> Change {
        let number = |query: &mut Query, name: &str, most: u64| -> Option<Option<u64>> {
            let read = |text: &str| match text.parse::<u64>() {
                Ok(number) if (1..=most).contains(&number) && !text.starts_with('+') => Some(Some(number)),
                _ if text == NONE => Some(None),
                _ => None,
            };
            query.choice(name, read, &format!("a whole number from 1 to {most}, or none"))
        };
        let whole = |number: u64| u32::try_from(number).ok().and_then(NonZeroU32::new);
        let concurrency = number(query, "concurrency", MOST_CONCURRENCY).map(|most| most.and_then(whole));
        let max = number(query, "rate", MOST_STARTS);
        let per = query.whole("per", 1..=MOST_MS);
        let hold = number(query, "hold", MOST_MS).map(|hold| hold.map(Duration::from_millis));
        let rate = match (max, per) {
            (None, None) => None,
            (Some(None), None) => Some(None),
            (Some(Some(max)), Some(per)) => whole(max).map(|max| Some(Rate { max, per: Duration::from_millis(per) })),
            _ => {
                query.fault("per", "A rate is rate=N with per=MILLISECONDS, or rate=none alone.");
                None
            }
        };
        if concurrency.is_none() && rate.is_none() && hold.is_none() && query.faults.is_empty() {
            query.fault("concurrency", "Give concurrency, rate with per, or hold.");
        }
        Change { concurrency, rate, hold }
    }

    /// Makes the change and answers the limits as they are then.
    pub(super) async fn make(&self, queue: &Queue, now: i64) -> Result<Value, StoreError> {
        let admin = queue.admin();
        if let Some(most) = self.concurrency {
            admin.set_concurrency(most).await?;
        }
        if let Some(rate) = self.rate {
            admin.set_rate_limit(rate).await?;
        }
        match self.hold {
            Some(Some(wait)) => admin.hold(wait).await?,
            Some(None) => admin.clear_rate_limit().await?,
            None => {}
        }
        read(queue, now).await
    }
}
