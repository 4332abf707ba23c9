//! Steps 8 and 9 of the protocol, and erasing: what users ask of an existing job.

use super::{JobRow, Ledger, LedgerError, Quota};

/// What became of a cancel request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canceled {
    /// It was QUEUED and is CANCELED now; take it out of the queue as a courtesy.
    Canceled(Box<JobRow>),
    /// It is PROCESSING; its holder is to be told (`told_to_stop`).
    Told(Box<JobRow>),
    /// It has ended.
    Finished(Box<JobRow>),
    /// This organisation has no such job.
    NotFound,
}

/// What became of a retry request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It is QUEUED again, as a new generation, not yet in the queue.
    Retried(Box<JobRow>),
    /// It is QUEUED, PROCESSING or SUCCEEDED.
    NotFinished(Box<JobRow>),
    /// This organisation has no such job.
    NotFound,
    /// The texts were erased: there is nothing to run.
    Erased,
    /// The plan's limit would be passed.
    QuotaExceeded {
        /// Which one.
        quota: Quota,
        /// The limit.
        limit: i64,
        /// When the next period begins.
        resets_at: i64,
    },
}

/// What became of an erase request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// Input and output are gone (also when they were before); usage rows stay.
    Erased,
    /// It has not ended.
    NotFinished,
    /// This organisation has no such job.
    NotFound,
}

impl Ledger {
    /// Cancels a job. The first committed write wins: a run that ends well after the request has SUCCEEDED.
    pub async fn cancel(&self, org: &str, id: &str, now: i64) -> Result<Canceled, LedgerError> {
        todo!("{org} {id} {now}")
    }

    /// Runs of this holder that were told to stop, as (id, generation, run); at most 500.
    pub async fn told_to_stop(&self, holder: &str) -> Result<Vec<(String, i64, i64)>, LedgerError> {
        todo!("{holder}")
    }

    /// Queues a FAILED or CANCELED job again, attempts from 0.
    pub async fn retry(&self, org: &str, id: &str, now: i64) -> Result<Retried, LedgerError> {
        todo!("{org} {id} {now}")
    }

    /// Erases a finished job's texts.
    pub async fn erase(&self, org: &str, id: &str, now: i64) -> Result<Erased, LedgerError> {
        todo!("{org} {id} {now}")
    }
}
