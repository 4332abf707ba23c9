//! Steps 3 and 4 of the protocol: a worker holds queue jobs and asks which of them it may run.

use super::{JobError, JobState, Kind, Ledger, LedgerError};

/// A held queue job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The row's id.
    pub id: String,
    /// The generation in its payload.
    pub generation: i64,
    /// How many tries the queue has counted.
    pub made: i64,
}

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The row's id.
    pub id: String,
    /// Its generation.
    pub generation: i64,
    /// The fence: give it back with the ending.
    pub run: i64,
    /// Whose.
    pub org: String,
    /// Which try this is, from 1.
    pub attempt: i64,
    /// Tries it may have.
    pub max_attempts: i64,
    /// What to do.
    pub work: Work,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// An AI job.
    Job(JobWork),
    /// A webhook delivery.
    Delivery(DeliveryWork),
}

/// An AI job's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWork {
    /// `SUMMARIZE`, …
    pub job_type: String,
    /// The input object, JSON text.
    pub input: String,
    /// Time for this try, in ms.
    pub timeout: Option<i64>,
    /// The provider asked for.
    pub provider: Option<String>,
    /// W3C trace context of the request that made it.
    pub traceparent: Option<String>,
}

/// A delivery's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryWork {
    /// The event row.
    pub event: String,
    /// `job.completed`, …
    pub event_type: String,
    /// The endpoint; `None` for a job's own `webhookUrl`.
    pub endpoint: Option<String>,
    /// Where to, when there is no endpoint.
    pub url: Option<String>,
    /// The event's data, JSON text.
    pub data: String,
    /// When the event happened.
    pub at: i64,
}

/// How a row that has ended is mirrored in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Succeeded, Failed or Canceled.
    pub state: JobState,
    /// Why, unless it succeeded.
    pub error: Option<JobError>,
}

/// What to do with one held queue job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Run it.
    Run(Run),
    /// It ended before (or just now, as canceled or expired): settle the queue the same way, run nothing.
    Skip(Mirror),
    /// The row lives in another generation: settle this queue job as done.
    Superseded,
    /// Somebody retried a dead queue job by hand: the row was queued again as this new generation. Settle this one as done.
    Adopted {
        /// The new generation.
        generation: i64,
    },
    /// There is no such row: put it back, and after three times call it dead.
    Unknown,
}

impl Ledger {
    /// Begins runs, at most 500 in one commit; answers in the order given. `holder` names the worker.
    pub async fn begin(
        &self,
        kind: Kind,
        starts: &[Start],
        holder: &str,
        now: i64,
    ) -> Result<Vec<Begun>, LedgerError> {
        todo!("{kind:?} {starts:?} {holder} {now}")
    }
}
