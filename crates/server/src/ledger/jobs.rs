//! The job row as readers see it, and the two reads that users make: one job, and a page of jobs. Both need the organisation.

use super::db::{Row, Sql};
use super::id::{first_at, is_id};
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

/// Rows that a filtered page looks at, at most.
const WINDOW: usize = 10_000;
/// Rows of the window read in one statement.
const STEP: usize = 1_000;
const MOST_OFFSET: usize = 10_000;
const MOST_LIMIT: usize = 100;

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

impl Filter {
    /// Whether nothing is narrowed.
    pub fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.job_type.is_none()
            && self.created_after.is_none()
            && self.created_before.is_none()
            && self.metadata.is_empty()
    }

    fn fits(&self, state: &str, job_type: &str, metadata: &str) -> bool {
        let same = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        same(self.state.map(JobState::as_str), state)
            && same(self.job_type.as_deref(), job_type)
            && (self.metadata.is_empty() || self.metadata_fits(metadata))
    }

    fn metadata_fits(&self, text: &str) -> bool {
        let Ok(found) = serde_json::from_str::<serde_json::Value>(text) else {
            return false;
        };
        self.metadata.iter().all(|(key, value)| found.get(key).and_then(|found| found.as_str()) == Some(value))
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

    /// Jobs of this organisation, newest first; `limit` 1–100.
    pub async fn list(&self, org: &str, filter: &Filter, page: &Page, limit: usize) -> Result<ListPage, LedgerError> {
        LedgerError::bound(limit, MOST_LIMIT)?;
        if let Page::Offset(offset) = page {
            LedgerError::bound(*offset, MOST_OFFSET)?;
        }
        let (ids, next_cursor) = self.page_ids(org, filter, page, limit).await?;
        let mut jobs = self.jobs_by_id(org, &ids).await?;
        jobs.sort_unstable_by(|one, other| other.id.cmp(&one.id));
        let total = if filter.is_empty() { Some(self.total(org).await?) } else { None };
        Ok(ListPage { jobs, total, next_cursor })
    }

    /// The ids of a page and the cursor to what follows. Walks the newest rows in steps until the page is full or the window
    /// is through.
    async fn page_ids(
        &self,
        org: &str,
        filter: &Filter,
        page: &Page,
        limit: usize,
    ) -> Result<(Vec<String>, Option<String>), LedgerError> {
        let (mut skip, before) = match page {
            Page::Offset(offset) => (*offset, None),
            Page::After(id) => (0, Some(id.clone())),
        };
        let from = filter.created_after.map_or(String::new(), first_at);
        let until = filter.created_before.map_or_else(|| first_at(i64::MAX), first_at);
        let mut until = before.map_or(until.clone(), |before| before.min(until));
        let step = if filter.is_empty() { (skip + limit + 1).min(STEP) } else { STEP };
        // Without a filter every row fits, and the offset bounds the walk.
        let window = if filter.is_empty() { MOST_OFFSET + MOST_LIMIT + STEP } else { WINDOW };
        let mut ids: Vec<String> = Vec::with_capacity(limit);
        let mut looked = 0;
        while looked < window {
            let rows = self.step(org, filter, (&from, &until), step).await?;
            let last = rows.len() < step;
            for mut row in rows {
                looked += 1;
                let (id, state, job_type, metadata) = (row.text()?, row.text()?, row.text()?, row.text()?);
                if filter.fits(&state, &job_type, &metadata) {
                    if skip > 0 {
                        skip -= 1;
                    } else if ids.len() == limit {
                        let cursor = ids.last().cloned();
                        return Ok((ids, cursor));
                    } else {
                        ids.push(id.clone());
                    }
                }
                until = id;
            }
            if last {
                return Ok((ids, None));
            }
        }
        Ok((ids, Some(until)))
    }

    async fn step(&self, org: &str, filter: &Filter, span: (&str, &str), most: usize) -> Result<Vec<Row>, LedgerError> {
        // The literal lists let the planner see that a partial index has all the rows wanted.
        let (name, narrowed) = match filter.state {
            Some(JobState::Queued | JobState::Processing) => {
                ("jobs.list.open", "state IN ('QUEUED', 'PROCESSING') AND state = $5")
            }
            Some(JobState::Failed | JobState::Canceled) => {
                ("jobs.list.failed", "state IN ('FAILED', 'CANCELED') AND state = $5")
            }
            Some(JobState::Succeeded) | None => ("jobs.list.all", "$5 = $5"),
        };
        let text = format!(
            "SELECT id, state, job_type, metadata FROM jobs
             WHERE org = $1 AND id >= $2 AND id < $3 AND {narrowed} ORDER BY id DESC LIMIT $4"
        );
        let sql = Sql::built(name, text)
            .bind(org)
            .bind(span.0)
            .bind(span.1)
            .bind(most as i64)
            .bind(filter.state.map_or("", JobState::as_str));
        self.db().rows(sql).await
    }

    async fn jobs_by_id(&self, org: &str, ids: &[String]) -> Result<Vec<JobRow>, LedgerError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = Sql::batch(
            "jobs.by_id",
            format!("WITH {{v}} SELECT {JOB} FROM v JOIN jobs ON jobs.id = v.k_id WHERE jobs.org = ?"),
            &["k_id"],
            ids.iter().map(|id| vec![id.into()]).collect(),
        );
        let rows = self.db().rows(sql.bind(org)).await?;
        rows.into_iter().map(|mut row| read_job(&mut row)).collect()
    }

    /// All jobs ever made for an organisation, from the counters of its months.
    async fn total(&self, org: &str) -> Result<i64, LedgerError> {
        let sql =
            Sql::new("jobs.total", "SELECT CAST(COALESCE(SUM(created), 0) AS BIGINT) FROM periods WHERE org = $1");
        match self.db().row(sql.bind(org)).await? {
            Some(mut row) => row.int(),
            None => Ok(0),
        }
    }
}
