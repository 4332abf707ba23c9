//! The job row as readers see it, and the two reads that users make: one job, and a page of jobs. Both need the organisation.

use super::{Ledger, LedgerError};

/// A job's state as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waiting for its first or next try.
    Queued,
    /// A worker has begun a try.
    Processing,
    /// Ended well.
    Succeeded,
    /// Ended badly: no try is left.
    Failed,
    /// Ended because somebody asked for it.
    Canceled,
}

/// Why the last try did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// A stable code.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: bool,
}

/// What a run used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens made.
    pub output_tokens: i64,
    /// Who did the work.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// Price in millionths of the currency's unit.
    pub cost_micros: i64,
}

/// A job. Fields that are JSON are JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The job's id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// `SUMMARIZE`, …
    pub job_type: String,
    /// Its state.
    pub state: JobState,
    /// The queue life it is in, from 1.
    pub generation: i64,
    /// How often a run was begun, over all generations.
    pub run: i64,
    /// The input object; `null` when its texts were erased.
    pub input: String,
    /// The output object.
    pub output: Option<String>,
    /// Of the last try.
    pub error: Option<JobError>,
    /// Of the run that succeeded.
    pub usage: Option<Usage>,
    /// As users see it: tries ended, plus one while PROCESSING.
    pub attempts: i64,
    /// Tries it may have.
    pub max_attempts: i64,
    /// 0–100.
    pub progress: i64,
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// A string map.
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
    /// W3C trace context of the request that made it.
    pub traceparent: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When its first try began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub completed_at: Option<i64>,
    /// When it will be tried again.
    pub next_attempt_at: Option<i64>,
    /// When somebody asked to cancel it.
    pub cancel_at: Option<i64>,
}

/// What a list may be narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this state.
    pub state: Option<JobState>,
    /// Only this type.
    pub job_type: Option<String>,
    /// Created at or after, ms.
    pub created_after: Option<i64>,
    /// Created before, ms.
    pub created_before: Option<i64>,
    /// Only with these metadata values; at most two.
    pub metadata: Vec<(String, String)>,
}

/// Which part of a list.
#[derive(Debug, Clone)]
pub enum Page {
    /// From the n-th (≤ 10,000), newest first.
    Offset(usize),
    /// What follows the job with this id (`next_cursor` of the page before): stable while jobs arrive.
    After(String),
}

/// A page of jobs.
#[derive(Debug, Clone)]
pub struct ListPage {
    /// Newest first.
    pub jobs: Vec<JobRow>,
    /// All jobs of the organisation; only when no filter is set.
    pub total: Option<i64>,
    /// Give it to [`Page::After`]; `None` when nothing follows. A filtered page looks at no more than 10,000 rows: it may be
    /// short, even empty, and still have a cursor.
    pub next_cursor: Option<String>,
}

impl Ledger {
    /// One job of this organisation.
    pub async fn get(&self, org: &str, id: &str) -> Result<Option<JobRow>, LedgerError> {
        todo!("{org} {id}")
    }

    /// Jobs of this organisation, newest first; `limit` 1–100.
    pub async fn list(
        &self,
        org: &str,
        filter: &Filter,
        page: &Page,
        limit: usize,
    ) -> Result<ListPage, LedgerError> {
        todo!("{org} {filter:?} {page:?} {limit}")
    }
}
