//! Steps 8 and 9 of the protocol, and erasing: what users ask of an existing job.

use super::audit::By;
use super::db::Tx;
use super::id::is_id;
use super::jobs::{JOB, read_job};
use super::periods::{self, Held, Hold};
use super::settle::{SETTLED, lock_rows, read_settled};
use super::sql::Sql;
use super::{JobRow, JobState, Kind, Ledger, LedgerError, Quota};

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
    pub async fn cancel(&self, org: &str, id: &str, by: By<'_>, now: i64) -> Result<Canceled, LedgerError> {
        if !is_id(id) {
            return Ok(Canceled::NotFound);
        }
        // `made` moves as the queue's own count will when it mirrors the ending (see `close_row`).
        let text = format!(
            "UPDATE jobs SET cancel_at = COALESCE(cancel_at, $3), updated_at = $3,
                made = made + CASE WHEN state = 'QUEUED' THEN 1 ELSE 0 END,
                queued_gen = CASE WHEN state = 'QUEUED' THEN gen ELSE queued_gen END,
                completed_at = CASE WHEN state = 'QUEUED' THEN $3 ELSE NULL END,
                next_at = CASE WHEN state = 'QUEUED' THEN NULL ELSE next_at END,
                state = CASE WHEN state = 'QUEUED' THEN 'CANCELED' ELSE state END
             WHERE id = $1 AND org = $2 AND state IN ('QUEUED', 'PROCESSING')
             RETURNING {SETTLED}, {JOB}"
        );
        let sql = Sql::built("cancel.cancel", text);
        let mut tx = self.db().write().await?;
        if let Some(mut row) = tx.row(sql.bind(id).bind(org).bind(now)).await? {
            let settled = read_settled(&mut row)?;
            let job = Box::new(read_job(&mut row)?);
            let at_once = settled.state == JobState::Canceled;
            if at_once {
                self.settle(&mut tx, vec![settled], now).await?;
            }
            tx.run(self.audit_row(&by.entry(org, "job.cancel", id, now))).await?;
            tx.commit().await?;
            return Ok(if at_once { Canceled::Canceled(job) } else { Canceled::Told(job) });
        }
        drop(tx);
        Ok(match self.get(org, id).await? {
            Some(job) => Canceled::Finished(Box::new(job)),
            None => Canceled::NotFound,
        })
    }

    /// Runs of this holder that were told to stop, as (id, generation, run); at most 500.
    pub async fn told_to_stop(&self, holder: &str) -> Result<Vec<(String, i64, i64)>, LedgerError> {
        let sql = Sql::new(
            "cancel.told",
            "SELECT id, gen, run FROM jobs
             WHERE holder = $1 AND cancel_at IS NOT NULL AND state = 'PROCESSING' ORDER BY id LIMIT 500",
        );
        let rows = self.db().rows(sql.bind(holder)).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.int()?, row.int()?))).collect()
    }

    /// Queues a FAILED or CANCELED job again, attempts from 0. A deadline for its start does not hold for the new life.
    pub async fn retry(&self, org: &str, id: &str, by: By<'_>, now: i64) -> Result<Retried, LedgerError> {
        if !is_id(id) {
            return Ok(Retried::NotFound);
        }
        self.retry_where(org, id, |job| matches!(job.state, JobState::Failed | JobState::Canceled), by, now).await
    }

    /// Queues a job again that failed in this generation, whosever it is: for operators.
    pub async fn retry_failed(&self, id: &str, generation: i64, by: By<'_>, now: i64) -> Result<Retried, LedgerError> {
        let owner = Sql::new("cancel.owner", "SELECT org FROM jobs WHERE id = $1");
        let Some(mut row) = self.db().row(owner.bind(id)).await? else {
            return Ok(Retried::NotFound);
        };
        let org = row.text()?;
        let failed = |job: &JobRow| job.state == JobState::Failed && job.generation == generation;
        self.retry_where(&org, id, failed, by, now).await
    }

    async fn retry_where(
        &self,
        org: &str,
        id: &str,
        allowed: impl Fn(&JobRow) -> bool,
        by: By<'_>,
        now: i64,
    ) -> Result<Retried, LedgerError> {
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, Kind::Job, std::iter::once(id)).await?;
        let text = format!("SELECT {JOB} FROM jobs WHERE jobs.id = $1 AND jobs.org = $2");
        let sql = Sql::built("cancel.retry.read", text);
        let Some(mut row) = tx.row(sql.bind(id).bind(org)).await? else {
            return Ok(Retried::NotFound);
        };
        let job = read_job(&mut row)?;
        if !allowed(&job) {
            return Ok(Retried::NotFinished(Box::new(job)));
        }
        let Some(tokens) = retriable(&mut tx, id).await? else {
            return Ok(Retried::Erased);
        };
        let hold = Hold { org, jobs: 1, tokens, created: 0 };
        match periods::reserve(&mut tx, &hold, now).await? {
            Held::Yes => {}
            Held::NoOrg => return Ok(Retried::NotFound),
            Held::Over { quota, limit, resets_at } => {
                return Ok(Retried::QuotaExceeded { quota, limit, resets_at });
            }
        }
        match requeue_job(&mut tx, id, job.generation, now).await? {
            Some(job) => {
                tx.run(self.audit_row(&by.entry(org, "job.retry", id, now))).await?;
                tx.commit().await?;
                Ok(Retried::Retried(Box::new(job)))
            }
            None => Ok(Retried::NotFinished(Box::new(job))),
        }
    }

    /// Erases a finished job's texts.
    pub async fn erase(&self, org: &str, id: &str, now: i64) -> Result<Erased, LedgerError> {
        if !is_id(id) {
            return Ok(Erased::NotFound);
        }
        let rows = Sql::new(
            "cancel.erase",
            "UPDATE jobs SET input = NULL, output = NULL, updated_at = $3
             WHERE id = $1 AND org = $2 AND state IN ('SUCCEEDED', 'FAILED', 'CANCELED')",
        );
        let inputs = Sql::new("cancel.erase.input", "DELETE FROM job_inputs WHERE job = $1");
        let mut tx = self.db().write().await?;
        if tx.run(rows.bind(id).bind(org).bind(now)).await? > 0 {
            tx.run(inputs.bind(id)).await?;
            tx.commit().await?;
            return Ok(Erased::Erased);
        }
        drop(tx);
        Ok(match self.get(org, id).await? {
            Some(_) => Erased::NotFinished,
            None => Erased::NotFound,
        })
    }
}

/// The tokens that the job held and would hold again; `None` when its input was erased, so that nothing is left to run.
pub(crate) async fn retriable(tx: &mut Tx<'_>, id: &str) -> Result<Option<i64>, LedgerError> {
    let sql = Sql::new(
        "cancel.retriable",
        "SELECT reserved FROM jobs WHERE id = $1
            AND (input IS NOT NULL OR EXISTS (SELECT 1 FROM job_inputs i WHERE i.job = jobs.id))",
    );
    match tx.row(sql.bind(id)).await? {
        Some(mut row) => Ok(Some(row.int()?)),
        None => Ok(None),
    }
}

/// Puts a FAILED or CANCELED job of this generation into its next one; the caller has reserved for it.
pub(crate) async fn requeue_job(
    tx: &mut Tx<'_>,
    id: &str,
    generation: i64,
    now: i64,
) -> Result<Option<JobRow>, LedgerError> {
    let text = format!(
        "UPDATE jobs SET state = 'QUEUED', gen = gen + 1, made = 0, attempts = 0, lost = 0, progress = 0,
            cancel_at = NULL, next_at = NULL, holder = NULL, start_before = NULL,
            started_at = NULL, completed_at = NULL, output = NULL,
            error_code = NULL, error_message = NULL, error_retryable = NULL,
            input_tokens = NULL, output_tokens = NULL, provider = NULL, model = NULL, cost_micros = NULL,
            period = $4, updated_at = $3
         WHERE id = $1 AND gen = $2 AND state IN ('FAILED', 'CANCELED')
         RETURNING {JOB}"
    );
    let sql =
        Sql::built("cancel.requeue", text).bind(id).bind(generation).bind(now).bind(super::calendar::month_of(now));
    tx.row(sql).await?.map(|mut row| read_job(&mut row)).transpose()
}
