//! The job row as readers see it, and reading one.

use super::db::Row;
use super::id::is_id;
use super::sql::Sql;
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// The columns that [`read_job`] reads, in its order.
pub(crate) const JOB: &str = "jobs.id, jobs.org, jobs.job_type, jobs.state, jobs.gen, jobs.run,
    COALESCE(jobs.input, (SELECT i.input FROM job_inputs i WHERE i.job = jobs.id), 'null'), jobs.output,
    jobs.error_code, jobs.error_message, jobs.error_retryable,
    jobs.input_tokens, jobs.output_tokens, jobs.provider, jobs.model, jobs.cost_micros,
    jobs.attempts, jobs.max_attempts, jobs.progress, jobs.priority, jobs.metadata,
    jobs.run_at, jobs.timeout, jobs.start_before, jobs.webhook_url, jobs.provider_wish, jobs.traceparent,
    jobs.created_at, jobs.started_at, jobs.completed_at, jobs.next_at, jobs.cancel_at";

/// Reads [`JOB`].
pub(crate) fn read_job(row: &mut Row) -> Result<JobRow, LedgerError> {
    let mut job = JobRow {
        id: row.text()?,
        org: row.text()?,
        job_type: row.text()?,
        state: JobState::read(&row.text()?)?,
        generation: row.int()?,
        run: row.int()?,
        input: row.text()?,
        output: row.opt_text()?,
        error: read_error(row)?,
        usage: read_usage(row)?,
        attempts: row.int()?,
        max_attempts: row.int()?,
        progress: row.int()?,
        priority: row.int()?,
        metadata: row.text()?,
        run_at: row.opt_int()?,
        timeout: row.opt_int()?,
        start_before: row.opt_int()?,
        webhook_url: row.opt_text()?,
        provider: row.opt_text()?,
        traceparent: row.opt_text()?,
        created_at: row.int()?,
        started_at: row.opt_int()?,
        completed_at: row.opt_int()?,
        next_attempt_at: row.opt_int()?,
        cancel_at: row.opt_int()?,
    };
    if job.state == JobState::Processing {
        job.attempts += 1;
    }
    Ok(job)
}

/// Reads `error_code, error_message, error_retryable`.
pub(crate) fn read_error(row: &mut Row) -> Result<Option<JobError>, LedgerError> {
    let (code, message, retryable) = (row.opt_text()?, row.opt_text()?, row.opt_int()?);
    Ok(code.map(|code| JobError { code, message: message.unwrap_or_default(), retryable: retryable == Some(1) }))
}

fn read_usage(row: &mut Row) -> Result<Option<Usage>, LedgerError> {
    let (input, output) = (row.opt_int()?, row.opt_int()?);
    let (provider, model, cost) = (row.opt_text()?, row.opt_text()?, row.opt_int()?);
    Ok(input.map(|input_tokens| Usage {
        input_tokens,
        output_tokens: output.unwrap_or(0),
        provider: provider.unwrap_or_default(),
        model: model.unwrap_or_default(),
        cost_micros: cost.unwrap_or(0),
    }))
}

impl JobState {
    /// The word that users see and the database holds.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "QUEUED",
            JobState::Processing => "PROCESSING",
            JobState::Succeeded => "SUCCEEDED",
            JobState::Failed => "FAILED",
            JobState::Canceled => "CANCELED",
        }
    }

    /// The state of this word, if it is one.
    pub fn parse(word: &str) -> Option<JobState> {
        Some(match word {
            "QUEUED" => JobState::Queued,
            "PROCESSING" => JobState::Processing,
            "SUCCEEDED" => JobState::Succeeded,
            "FAILED" => JobState::Failed,
            "CANCELED" => JobState::Canceled,
            _ => return None,
        })
    }

    /// Whether nothing follows it unless somebody retries.
    pub fn is_final(self) -> bool {
        match self {
            JobState::Queued | JobState::Processing => false,
            JobState::Succeeded | JobState::Failed | JobState::Canceled => true,
        }
    }

    pub(crate) fn read(word: &str) -> Result<JobState, LedgerError> {
        JobState::parse(word).ok_or_else(|| LedgerError::Unreadable(format!("the job state {word:?}")))
    }
}

impl Ledger {
    /// One job of this organisation.
    pub async fn get(&self, org: &str, id: &str) -> Result<Option<JobRow>, LedgerError> {
        if !is_id(id) {
            return Ok(None);
        }
        let text = format!("SELECT {JOB} FROM jobs WHERE jobs.id = $1 AND jobs.org = $2");
        let sql = Sql::built("jobs.get", text).bind(id).bind(org);
        self.db().row(sql).await?.map(|mut row| read_job(&mut row)).transpose()
    }
}
