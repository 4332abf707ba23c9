//! Steps 5 and 6 of the protocol: runs end in the database before the queue is settled, and the row decides what follows.

use super::{JobError, Kind, Ledger, LedgerError, Usage};

/// How one run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The row's id.
    pub id: String,
    /// Its generation.
    pub generation: i64,
    /// The fence that `begin` gave.
    pub run: i64,
    /// What happened.
    pub what: What,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It succeeded.
    Succeeded {
        /// The output object, JSON text.
        output: String,
        /// What it used.
        usage: Option<Usage>,
    },
    /// The try failed; the row decides whether there is another.
    Failed {
        /// Why. Not retryable means that no try follows.
        error: JobError,
        /// What it used nevertheless.
        usage: Option<Usage>,
        /// When the next try should be; `None`: by the row's own backoff (2 s, then doubled each time).
        retry_at: Option<i64>,
    },
    /// Not a try: put back (shutdown, or wait for something), not before `until`.
    GiveBack {
        /// Not to be started before.
        until: Option<i64>,
    },
    /// It stopped because it was told to.
    Canceled,
}

/// What the row decided: settle the queue accordingly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// SUCCEEDED.
    Done,
    /// QUEUED for another try.
    Retry {
        /// When.
        at: i64,
    },
    /// FAILED: no try is left.
    Dead,
    /// QUEUED, and the try is not counted.
    GivenBack {
        /// Not before.
        until: Option<i64>,
    },
    /// CANCELED.
    Canceled,
}

/// What became of one ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is committed.
    Applied(Decision),
    /// The run is not the row's current one: nothing was changed or billed. Count it; settle nothing.
    Stale,
}

impl Ledger {
    /// Ends runs, at most 500 in one commit; answers in the order given.
    pub async fn end(
        &self,
        kind: Kind,
        ends: Vec<Finish>,
        now: i64,
    ) -> Result<Vec<Ended>, LedgerError> {
        todo!("{kind:?} {ends:?} {now}")
    }

    /// Notes progress (0–100) of runs, at most 500 in one commit; stale runs are left alone.
    pub async fn progress(&self, runs: &[(String, i64, i64)]) -> Result<(), LedgerError> {
        todo!("{runs:?}")
    }
}
