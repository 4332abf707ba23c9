//! Queue administration: figures for viewers, orders for operators. Every order leaves an audit row.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use launchkit_queue::{Queue, State as JobState};
use serde_json::{Value, json};

use super::once::{self, Asked, Once};
use super::query::Query;
use super::queues::{self, Metrics, store_problem};
use super::{Api, address, body};
use crate::auth::{Operator, Role};
use crate::ledger::{Answer, AuditEntry, By};
use crate::problem::Problem;

mod limits;
mod redrive;

pub(super) use limits::{limit, limits};
pub(super) use redrive::retry_failed;

use limits::Change;
use redrive::Redrive;

/// Finished jobs stay this long unless an operator says otherwise.
const COMPLETED_GRACE: Duration = Duration::from_secs(3_600);
const FAILED_GRACE: Duration = Duration::from_secs(7 * 24 * 3_600);
const MOST_GRACE_MS: u64 = 366 * 24 * 3_600_000;
const MOST_CLEANED: u64 = 10_000;
const CLEANED: u64 = 1_000;

/// `GET /v1/admin/queue/metrics?queue=`
pub(super) async fn metrics(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    api.auth.operator(request.headers(), Role::Viewer, api.now())?;
    let mut query = Query::parse(request.uri().query());
    let queue = queues::asked_for(&api, &mut query)?;
    query.finish()?;
    Ok(axum::Json(Metrics::of(queue, api.now()).await?).into_response())
}

/// `GET /v1/admin/queue/metrics/all`
pub(super) async fn metrics_all(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    api.auth.operator(request.headers(), Role::Viewer, api.now())?;
    Query::parse(request.uri().query()).finish()?;
    queues::must_be_ours(&api)?;
    let ai_jobs = Metrics::of(&api.ai_jobs, api.now()).await?;
    let webhooks = Metrics::of(&api.webhooks, api.now()).await?;
    Ok(axum::Json(json!({"aiJobs": ai_jobs, "webhooks": webhooks})).into_response())
}

/// `POST /v1/admin/queue/pause?queue=`
pub(super) async fn pause(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    order(&api, request, |_| Order::Pause).await
}

/// `POST /v1/admin/queue/resume?queue=`
pub(super) async fn resume(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    order(&api, request, |_| Order::Resume).await
}

/// `POST /v1/admin/queue/clean?queue=&state=&grace=&limit=`
pub(super) async fn clean(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    order(&api, request, |query| Order::Clean(Sweep::read(query))).await
}

enum Order {
    Pause,
    Resume,
    Clean(Sweep),
    Limit(Change),
    Redrive(Redrive),
}

/// Which finished jobs to remove. No state means both, no grace the usual one.
struct Sweep {
    state: Option<JobState>,
    grace: Option<Duration>,
    limit: Option<u64>,
}

async fn order(api: &Arc<Api>, request: Request, read: impl FnOnce(&mut Query) -> Order) -> Result<Response, Problem> {
    let operator = api.auth.operator(request.headers(), Role::Operator, api.now())?;
    let from = address(&request);
    let (parts, stream) = request.into_parts();
    let mut query = Query::parse(parts.uri.query());
    let queue = queues::asked_for(api, &mut query)?;
    let order = read(&mut query);
    query.finish()?;
    let bytes = body::read(&parts.headers, stream).await?;
    body::must_be_empty(&parts.headers, &bytes)?;
    let asked = Asked { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: &bytes };
    let once = Once::read(&format!("sub:{}", operator.subject), &asked)?;
    let (doer, queue) = (api.clone(), queue.clone());
    once::claimed(api, once, async move { carry_out(&doer, &queue, order, &operator, &from).await }).await
}

async fn carry_out(api: &Api, queue: &Queue, order: Order, operator: &Operator, from: &str) -> Result<Answer, Problem> {
    let name = queue.name().as_str();
    let failed = |error| store_problem(&error);
    let (what, answer) = match order {
        Order::Pause => {
            queue.admin().pause().await.map_err(failed)?;
            ("queue.pause", json!({"success": true, "message": format!("Queue {name} paused")}))
        }
        Order::Resume => {
            queue.admin().resume().await.map_err(failed)?;
            ("queue.resume", json!({"success": true, "message": format!("Queue {name} resumed")}))
        }
        Order::Clean(sweep) => {
            let (completed, failed) = sweep.run(queue).await?;
            let removed = json!({"completed": completed, "failed": failed});
            ("queue.clean", json!({"success": true, "message": format!("Queue {name} cleaned"), "removed": removed}))
        }
        Order::Limit(change) => {
            let limits = change.make(queue, api.now()).await.map_err(failed)?;
            ("queue.limits", json!({"success": true, "message": format!("Queue {name} limited"), "limits": limits}))
        }
        Order::Redrive(redrive) => {
            let by = By { who: &operator.subject, from };
            let done = redrive.run(api, queue, by).await?;
            let message = format!("Queue {name}: {} failed jobs queued again", done["retried"]);
            let answer = json!({"success": true, "message": message, "failed": done});
            if redrive.is_dry() {
                return Ok(answered(&answer));
            }
            ("queue.retry-failed", answer)
        }
    };
    tracing::info!(queue = name, who = ?operator.subject, "{what}");
    let entry = AuditEntry {
        org: None,
        who: operator.subject.clone(),
        what: what.to_owned(),
        target: name.to_owned(),
        from: from.to_owned(),
        at: api.now(),
    };
    // The queue is another store than the database: the change is made, and its answer must not say otherwise.
    if let Err(error) = api.ledger.audit(&entry).await {
        tracing::error!(%error, ?entry, "an audit row was not written");
    }
    Ok(answered(&answer))
}

fn answered(body: &Value) -> Answer {
    Answer { status: 200, location: None, body: body.to_string() }
}

impl Sweep {
    fn read(query: &mut Query) -> Sweep {
        let state = |name: &str| match name {
            "completed" => Some(JobState::Completed),
            "failed" => Some(JobState::Failed),
            _ => None,
        };
        Sweep {
            state: query.choice("state", state, "completed or failed"),
            grace: query.whole("grace", 0..=MOST_GRACE_MS).map(Duration::from_millis),
            limit: query.whole("limit", 1..=MOST_CLEANED),
        }
    }

    /// How many completed and failed jobs were removed; the limit holds for each of the two.
    async fn run(&self, queue: &Queue) -> Result<(u64, u64), Problem> {
        let mut removed = [0, 0];
        let states = [(JobState::Completed, COMPLETED_GRACE), (JobState::Failed, FAILED_GRACE)];
        for (count, (state, grace)) in removed.iter_mut().zip(states) {
            if self.state.is_none_or(|asked| asked == state) {
                let grace = self.grace.unwrap_or(grace);
                let most = self.limit.unwrap_or(CLEANED);
                *count = queue.admin().clean(state, grace, most).await.map_err(|error| store_problem(&error))?;
            }
        }
        Ok((removed[0], removed[1]))
    }
}
