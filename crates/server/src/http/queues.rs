//! The two queues as administrators see them.

use launchkit_queue::backend::Info;
use launchkit_queue::{Queue, StoreError};
use serde::Serialize;

use super::Api;
use super::query::Query;
use crate::problem::{Code, Problem};

/// The queue of AI jobs.
pub(super) const AI_JOBS: &str = "ai-jobs";
/// The queue of outbound webhooks.
pub(super) const WEBHOOKS: &str = "webhooks";

/// Queue figures; the first seven fields are the mission document's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    queue: String,
    /// Every ready job, with or without a priority.
    waiting: u64,
    active: u64,
    completed: u64,
    failed: u64,
    delayed: u64,
    /// The sum of the five.
    total: u64,
    prioritized: u64,
    paused: bool,
    oldest_waiting_ms: u64,
    workers: usize,
}

impl Metrics {
    /// The figures of one queue now.
    pub(super) async fn of(queue: &Queue, now: i64) -> Result<Metrics, Problem> {
        let info = queue.info().await.map_err(|error| store_problem(&error))?;
        Ok(Metrics::from_info(queue.name().as_str(), &info, now))
    }

    fn from_info(queue: &str, info: &Info, now: i64) -> Metrics {
        let counts = &info.counts;
        let waiting = counts.waiting + counts.prioritized;
        Metrics {
            queue: queue.to_owned(),
            waiting,
            active: counts.active,
            completed: counts.completed,
            failed: counts.failed,
            delayed: counts.delayed,
            total: waiting + counts.active + counts.completed + counts.failed + counts.delayed,
            prioritized: counts.prioritized,
            paused: info.paused,
            oldest_waiting_ms: info.oldest_ready.map_or(0, |since| now.saturating_sub(since.millis()).max(0) as u64),
            workers: info.workers.len(),
        }
    }
}

/// Refuses to show or change queues that another deployment has claimed.
pub(super) fn must_be_ours(api: &Api) -> Result<(), Problem> {
    if api.owner.is_us() {
        return Ok(());
    }
    Err(Problem::new(Code::Unavailable, "Another deployment has claimed the queue.").retry_after(2))
}

/// The queue that `?queue=` names; `ai-jobs` when it names none.
pub(super) fn asked_for<'a>(api: &'a Api, query: &mut Query) -> Result<&'a Queue, Problem> {
    must_be_ours(api)?;
    match query.take("queue").as_deref() {
        None | Some(AI_JOBS) => Ok(&api.ai_jobs),
        Some(WEBHOOKS) => Ok(&api.webhooks),
        Some(_) => Err(Problem::new(Code::QueueNotFound, "The queues are ai-jobs and webhooks.")),
    }
}

/// What a caller is told when the queue's store fails; the cause is logged here, once.
pub(super) fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Busy | StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::Closed => {
            tracing::warn!(%error, "the queue's store does not answer");
            Problem::new(Code::Unavailable, "The queue does not answer at the moment.").retry_after(1)
        }
        _ => {
            tracing::error!(%error, "the queue's store failed");
            Problem::internal()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchkit_queue::{Counts, Timestamp};

    #[test]
    fn waiting_holds_the_prioritized_and_total_is_the_sum_of_five() {
        let counts = Counts {
            waiting: 1,
            prioritized: 2,
            delayed: 4,
            active: 8,
            waiting_children: 16,
            completed: 32,
            failed: 64,
        };
        let info = Info { counts, oldest_ready: Some(Timestamp::from_millis(900)), ..Info::default() };
        let metrics = serde_json::to_value(Metrics::from_info("ai-jobs", &info, 1_000)).unwrap();
        let expected = serde_json::json!({
            "queue": "ai-jobs", "waiting": 3, "active": 8, "completed": 32, "failed": 64, "delayed": 4, "total": 111,
            "prioritized": 2, "paused": false, "oldestWaitingMs": 100, "workers": 0,
        });
        assert_eq!(metrics, expected);
    }
}
