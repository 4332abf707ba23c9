//! Step 2 of the protocol: which rows are not in the queue yet, and the note that they are.

use super::{Kind, Ledger, LedgerError};

/// A row that the queue does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undispatched {
    /// The row's id.
    pub id: String,
    /// Its generation; the queue's id is [`queue_id`] of both.
    pub generation: i64,
    /// Whose.
    pub org: String,
    /// The job's type; for a delivery the event's.
    pub job_type: String,
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// Not to be started before.
    pub run_at: Option<i64>,
    /// Tries it may have.
    pub max_attempts: i64,
    /// Time for one try, in ms.
    pub timeout: Option<i64>,
    /// FAILED as `expired` when not started by then.
    pub start_before: Option<i64>,
    /// W3C trace context of the request that made it.
    pub traceparent: Option<String>,
}

/// The queue's id of a row: `<id>` in its first generation, `<id>.<generation>` after, because a queue ignores an id that it
/// still keeps.
pub fn queue_id(id: &str, generation: i64) -> String {
    todo!("{id} {generation}")
}

/// The row's id and generation from a queue's id; `None` when it is not one of ours.
pub fn parse_queue_id(text: &str) -> Option<(&str, i64)> {
    todo!("{text}")
}

impl Ledger {
    /// Rows that are not in the queue, oldest first, at most `most` (≤ 500).
    pub async fn undispatched(
        &self,
        kind: Kind,
        most: usize,
    ) -> Result<Vec<Undispatched>, LedgerError> {
        todo!("{kind:?} {most}")
    }

    /// Notes that these rows are in the queue (at most 500). Rows that have a newer generation are left alone.
    pub async fn dispatched(
        &self,
        kind: Kind,
        rows: &[(String, i64)],
        now: i64,
    ) -> Result<(), LedgerError> {
        todo!("{kind:?} {rows:?} {now}")
    }

    /// How many rows are not in the queue, counted up to `most` only.
    pub async fn backlog(&self, kind: Kind, most: u64) -> Result<u64, LedgerError> {
        todo!("{kind:?} {most}")
    }
}
