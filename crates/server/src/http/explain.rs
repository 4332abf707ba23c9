//! `GET /v1/jobs/{jobId}/explain`: why a job is not running now. The row says whether it has ended; for all else the queue
//! is asked.

use launchkit_queue::{Explanation, JobId, Reason, Timestamp, Why};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Api;
use super::queues::store_problem;
use crate::ledger::{JobRow, JobState, queue_id};
use crate::problem::Problem;
use crate::when::rfc3339;

/// What a job without a place in the queue is told; it is put there as soon as it is committed.
const NOT_THERE: &str = "The queue does not hold it. A new job is put there within a second; one that the queue has lost \
    is found by the reconciler, which looks every 30 s, and queued again.";
/// What every job is told while the queue is not ours.
const TAKEN: &str = "Another deployment has claimed the queue. The job is put there once it is ours again.";

#[derive(Serialize)]
struct Explained {
    state: &'static str,
    reasons: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    code: Why,
    message: String,
    since: Option<String>,
    until: Option<String>,
    details: Map<String, Value>,
}

/// The answer's body.
pub(super) async fn explanation(api: &Api, row: &JobRow) -> Result<String, Problem> {
    let reasons = match (row.completed_at, JobId::parse(&queue_id(&row.id, row.generation))) {
        (Some(at), _) => vec![finished(row, at)],
        (None, _) if !api.owner.is_us() => vec![not_there(row, TAKEN)],
        (None, Err(_)) => vec![not_there(row, NOT_THERE)],
        (None, Ok(id)) => {
            let Explanation { state, reasons } =
                api.ai_jobs.explain(&id).await.map_err(|error| store_problem(&error))?;
            match state {
                Some(_) => reasons.into_iter().map(shown).collect(),
                None => vec![not_there(row, NOT_THERE)],
            }
        }
    };
    let explained = Explained { state: row.state.as_str(), reasons };
    serde_json::to_string(&explained).map_err(|_| Problem::internal())
}

fn finished(row: &JobRow, at: i64) -> Shown {
    let message = match (row.state, &row.error) {
        (JobState::Succeeded, _) => "It has succeeded.".to_owned(),
        (JobState::Canceled, _) => "It was canceled.".to_owned(),
        (_, Some(error)) => format!("It has failed: {}", error.message),
        (_, None) => "It has failed.".to_owned(),
    };
    Shown { code: Why::Finished, message, since: Some(rfc3339(at)), until: None, details: Map::new() }
}

fn not_there(row: &JobRow, message: &str) -> Shown {
    let since = Some(rfc3339(row.created_at));
    Shown { code: Why::NotInQueue, message: message.to_owned(), since, until: None, details: Map::new() }
}

fn shown(reason: Reason) -> Shown {
    let text = |at: Option<Timestamp>| at.map(|at| rfc3339(at.millis()));
    Shown {
        code: reason.code,
        message: reason.message,
        since: text(reason.since),
        until: text(reason.until),
        details: reason.details,
    }
}
