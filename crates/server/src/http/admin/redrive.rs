//! Failed jobs that an operator chooses are queued again, a bounded step in each call, or only looked at. The queue says which
//! have failed and why; each then goes through the database, like a user's retry.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use launchkit_queue::{DeadLetters, Pick, Queue, Timestamp};
use serde_json::{Value, json};

use super::super::query::Query;
use super::super::queues::store_problem;
use super::super::{Api, ledger_problem};
use super::Order;
use crate::ai::JobType;
use crate::ledger::{By, Retried, parse_queue_id};
use crate::problem::Problem;

/// Failed jobs looked at in one call.
const STEP: u64 = 200;
const MOST: u64 = 1_000;

/// Which failed jobs, and what is to become of them.
pub(super) struct Redrive {
    pick: Pick,
    step: u32,
    cursor: Option<String>,
    dry: bool,
}

/// `POST /v1/admin/queue/retry-failed?queue=&type=&error=&since=&limit=&cursor=&dry=`
pub(in super::super) async fn retry_failed(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    super::order(&api, request, |query| Order::Redrive(Redrive::from(query))).await
}

impl Redrive {
    fn from(query: &mut Query) -> Redrive {
        let kind = query.choice("type", |text| text.parse().ok().map(JobType::as_str), "a type of job, as SUMMARIZE");
        let error = query.take("error").map(Into::into);
        let since = query.time("since").map(Timestamp::from_millis);
        let flag = |text: &str| text.parse::<bool>().ok();
        Redrive {
            pick: Pick { name: kind.map(Into::into), error, since, ..Pick::default() },
            step: query.whole("limit", 1..=MOST).unwrap_or(STEP) as u32,
            dry: query.choice("dry", flag, "true or false").unwrap_or(false),
            cursor: query.take("cursor"),
        }
    }

    /// Whether nothing is changed.
    pub(super) fn is_dry(&self) -> bool {
        self.dry
    }

    fn walk(&self, queue: &Queue) -> Result<DeadLetters, Problem> {
        let letters = queue.admin().dead_letters(self.pick.clone());
        let letters = match &self.cursor {
            None => Some(letters),
            Some(cursor) => letters.from_place(cursor),
        };
        let unknown = || {
            let fault = crate::problem::Fault::parameter("cursor", "Give the nextCursor of the call before.");
            Problem::invalid(vec![fault])
        };
        Ok(letters.ok_or_else(unknown)?.step(self.step))
    }

    /// One step. Answers how many were looked at, chosen and queued again, and where to go on.
    pub(super) async fn run(&self, api: &Api, queue: &Queue, by: By<'_>) -> Result<Value, Problem> {
        if queue.name() != api.ai_jobs.name() {
            let fault = crate::problem::Fault::parameter("queue", "Only the jobs of ai-jobs can be queued again.");
            return Err(Problem::invalid(vec![fault]));
        }
        let mut letters = self.walk(queue)?;
        let swept = letters.look().await.map_err(|error| store_problem(&error))?.unwrap_or_default();
        let (mut retried, mut over_quota) = (0, 0);
        for id in swept.done.iter().filter(|_| !self.dry) {
            let Some((id, generation)) = parse_queue_id(id.as_str()) else { continue };
            let now = api.now();
            match api.ledger.retry_failed(id, generation, by, now).await.map_err(|error| ledger_problem(&error))? {
                Retried::Retried(_) => {
                    retried += 1;
                    api.wake.notify_one();
                }
                Retried::QuotaExceeded { .. } => over_quota += 1,
                // Retried before, erased, or gone with its organisation.
                Retried::NotFinished(_) | Retried::NotFound | Retried::Erased => {}
            }
        }
        Ok(json!({
            "scanned": swept.scanned, "chosen": swept.done.len(), "retried": retried, "overQuota": over_quota,
            "dry": self.dry, "nextCursor": letters.place(),
        }))
    }
}
