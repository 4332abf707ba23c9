//! Step 1 of the protocol: many create requests in one commit. Each is admitted or refused as a whole, by itself.

use super::{Answer, Idempotency, JobRow, Ledger, LedgerError};

/// A job to make; checked by the caller.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// `SUMMARIZE`, …
    pub job_type: String,
    /// The input object, JSON text.
    pub input: String,
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// Tries it may have.
    pub max_attempts: i64,
    /// A string map, JSON text; `{}` for none.
    pub metadata: String,
    /// Not to be started before.
    pub run_at: Option<i64>,
    /// Time for one try, in ms.
    pub timeout: Option<i64>,
    /// FAILED as `expired` when not started by then.
    pub start_before: Option<i64>,
    /// One extra endpoint for this job alone.
    pub webhook_url: Option<String>,
    /// The provider asked for.
    pub provider: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Tokens to hold until it ends.
    pub reserve_tokens: i64,
}

/// One create request: all of its jobs or none.
#[derive(Debug, Clone)]
pub struct Create {
    /// Whose.
    pub org: String,
    /// 1–1,000 jobs.
    pub jobs: Vec<NewJob>,
    /// The caller's key, if it sent one.
    pub idempotency: Option<Idempotency>,
}

/// Which limit a create ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Jobs a month.
    Jobs,
    /// Tokens a month.
    Tokens,
}

/// What became of one create request.
#[derive(Debug, Clone)]
pub enum Created {
    /// The jobs, in the order given.
    Created(Vec<JobRow>),
    /// The same request was answered before: nothing was made.
    Replay(Answer),
    /// Another request has this idempotency key.
    Mismatch,
    /// The same request is being worked on.
    InProgress,
    /// The plan's limit would be passed.
    QuotaExceeded {
        /// Which one.
        quota: Quota,
        /// The limit.
        limit: i64,
        /// When the next period begins.
        resets_at: i64,
    },
    /// There is no such organisation.
    UnknownOrg,
}

impl Ledger {
    /// Makes the jobs of many requests in one commit; answers in the order given. At most 256 requests and 2,000 jobs in all
    /// (a single request may always have 1,000).
    pub async fn create(
        &self,
        requests: Vec<Create>,
        now: i64,
    ) -> Result<Vec<Created>, LedgerError> {
        todo!("{requests:?} {now}")
    }
}
