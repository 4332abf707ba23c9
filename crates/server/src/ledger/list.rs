//! Pages of jobs, newest first. A page never looks at more rows than a window, however many are stored.

use super::db::Row;
use super::id::first_at;
use super::jobs::{JOB, read_job};
use super::sql::Sql;
use super::{JobRow, JobState, Ledger, LedgerError};

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
        // The literal conditions let the planner see that a partial index has all the rows wanted.
        let (name, narrowed) = match filter.state {
            Some(JobState::Queued | JobState::Processing) => ("list.open", "completed_at IS NULL AND state = $5"),
            Some(JobState::Failed | JobState::Canceled) => {
                ("list.failed", "state IN ('FAILED', 'CANCELED') AND state = $5")
            }
            Some(JobState::Succeeded) | None => ("list.all", "$5 = $5"),
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
            "list.by_id",
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
            Sql::new("list.total", "SELECT CAST(COALESCE(SUM(created), 0) AS BIGINT) FROM periods WHERE org = $1");
        match self.db().row(sql.bind(org)).await? {
            Some(mut row) => row.int(),
            None => Ok(0),
        }
    }
}
