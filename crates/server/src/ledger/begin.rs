//! Steps 3 and 4 of the protocol: a worker holds queue jobs and asks which of them it may run.

use std::collections::HashMap;

use super::db::{Row, Tx};
use super::jobs::read_error;
use super::periods::{self, Held, Hold};
use super::settle::{Closing, Guard};
use super::sql::{Arg, Gather, Sql};
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

/// Starts in one call, at most.
const MOST: usize = 500;

/// A row as it was found and locked.
struct Found {
    id: String,
    org: String,
    generation: i64,
    run: i64,
    state: JobState,
    made: i64,
    attempts: i64,
    max_attempts: i64,
    cancel_at: Option<i64>,
    start_before: Option<i64>,
    started_at: Option<i64>,
    error: Option<JobError>,
    /// Taken by the first start of the row in this call.
    work: Option<Work>,
}

/// What a found row says to a start.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It may run.
    Run,
    /// It lives in another generation.
    Superseded,
    /// It has ended.
    Mirror,
    /// It has ended and was put back by hand.
    Adopt,
    /// It has to end now.
    Close(Closing),
}

impl Found {
    /// Steps 3 and 4: pure.
    fn verdict(&self, start: &Start, now: i64) -> Verdict {
        if self.generation != start.generation {
            return Verdict::Superseded;
        }
        if self.state.is_final() {
            // Equal counts mean that the queue has settled our ending: somebody has put the job back by hand since.
            let by_hand = self.state != JobState::Succeeded && self.made == start.made;
            return if by_hand { Verdict::Adopt } else { Verdict::Mirror };
        }
        if self.cancel_at.is_some() {
            return Verdict::Close(Closing::Canceled);
        }
        if self.started_at.is_none() && self.start_before.is_some_and(|at| at < now) {
            return Verdict::Close(Closing::Expired);
        }
        Verdict::Run
    }

    fn mirror(&self) -> Begun {
        Begun::Skip(Mirror { state: self.state, error: self.error.clone() })
    }
}

impl Ledger {
    /// Begins runs, at most 500 in one commit; answers in the order given. `holder` names the worker.
    pub async fn begin(&self, kind: Kind, starts: &[Start], holder: &str, now: i64) -> Result<Vec<Begun>, LedgerError> {
        LedgerError::bound(starts.len(), MOST)?;
        if starts.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db().write().await?;
        let mut found = find(&mut tx, kind, starts).await?;
        let mut answers = Vec::with_capacity(starts.len());
        for start in starts {
            let Some(row) = found.get_mut(&start.id) else {
                answers.push(Begun::Unknown);
                continue;
            };
            let verdict = row.verdict(start, now);
            let answer = match (verdict, row.work.take()) {
                (Verdict::Run, Some(work)) => Begun::Run(Run {
                    id: row.id.clone(),
                    generation: row.generation,
                    run: row.run + 1,
                    org: row.org.clone(),
                    attempt: row.attempts + 1,
                    max_attempts: row.max_attempts,
                    work,
                }),
                (Verdict::Superseded, work) => {
                    row.work = work;
                    Begun::Superseded
                }
                // A second start of the row in this call: another would only outdate the first.
                (_, None) => Begun::Superseded,
                (Verdict::Mirror, _) => row.mirror(),
                (Verdict::Adopt, _) => adopt(&mut tx, kind, row, now).await?,
                (Verdict::Close(closing), _) => self.end_unrun(&mut tx, kind, row, closing, now).await?,
            };
            answers.push(answer);
        }
        write_runs(&mut tx, kind, &answers, holder, now).await?;
        tx.commit().await?;
        Ok(answers)
    }

    async fn end_unrun(
        &self,
        tx: &mut Tx<'_>,
        kind: Kind,
        row: &Found,
        closing: Closing,
        now: i64,
    ) -> Result<Begun, LedgerError> {
        let guard = Guard { id: &row.id, generation: row.generation, run: row.run };
        if !self.close_row(tx, kind, guard, closing, now).await? {
            // Not possible while the row is locked; the next begin will tell.
            return Ok(Begun::Unknown);
        }
        let error = closing.error().map(|(code, message)| JobError {
            code: code.to_owned(),
            message: message.to_owned(),
            retryable: false,
        });
        Ok(Begun::Skip(Mirror { state: closing.state(), error }))
    }
}

/// Reads and locks the rows of these starts.
async fn find(tx: &mut Tx<'_>, kind: Kind, starts: &[Start]) -> Result<HashMap<String, Found>, LedgerError> {
    let (name, select) = match kind {
        Kind::Job => (
            "begin.find.jobs",
            "j.id, j.org, j.gen, j.run, j.state, j.made, j.attempts, j.max_attempts, j.cancel_at, j.start_before,
             j.started_at, j.error_code, j.error_message, j.error_retryable, j.job_type,
             COALESCE(j.input, (SELECT i.input FROM job_inputs i WHERE i.job = j.id), 'null'),
             j.timeout, j.provider_wish, j.traceparent",
        ),
        Kind::Delivery => (
            "begin.find.deliveries",
            "j.id, j.org, j.gen, j.run, j.state, j.made, j.attempts, j.max_attempts, j.cancel_at, j.start_before,
             j.started_at, j.error_code, j.error_message, j.error_retryable, j.event, j.event_type, j.endpoint, j.url,
             (SELECT e.data FROM events e WHERE e.id = j.event), (SELECT e.at FROM events e WHERE e.id = j.event)",
        ),
    };
    let gather = Gather { select, table: kind.table() };
    let read = |row: &mut Row| read_found(kind, row).map(|found| (found.id.clone(), found));
    tx.by_id(name, gather, starts.iter().map(|start| start.id.as_str()), read).await
}

fn read_found(kind: Kind, row: &mut Row) -> Result<Found, LedgerError> {
    Ok(Found {
        id: row.text()?,
        org: row.text()?,
        generation: row.int()?,
        run: row.int()?,
        state: JobState::read(&row.text()?)?,
        made: row.int()?,
        attempts: row.int()?,
        max_attempts: row.int()?,
        cancel_at: row.opt_int()?,
        start_before: row.opt_int()?,
        started_at: row.opt_int()?,
        error: read_error(row)?,
        work: Some(match kind {
            Kind::Job => Work::Job(JobWork {
                job_type: row.text()?,
                input: row.text()?,
                timeout: row.opt_int()?,
                provider: row.opt_text()?,
                traceparent: row.opt_text()?,
            }),
            Kind::Delivery => Work::Delivery(DeliveryWork {
                event: row.text()?,
                event_type: row.text()?,
                endpoint: row.opt_text()?,
                url: row.opt_text()?,
                data: row.opt_text()?.unwrap_or_else(|| "null".to_owned()),
                at: row.opt_int()?.unwrap_or(0),
            }),
        }),
    })
}

/// Writes the runs among the answers. The rows are locked; the guards are there all the same, as in every step.
async fn write_runs(tx: &mut Tx<'_>, kind: Kind, answers: &[Begun], holder: &str, now: i64) -> Result<(), LedgerError> {
    let rows: Vec<Vec<Arg>> = answers
        .iter()
        .filter_map(|answer| match answer {
            Begun::Run(run) => Some(vec![Arg::from(&run.id), run.generation.into(), run.run.into()]),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let count = rows.len();
    let (name, table) = match kind {
        Kind::Job => ("begin.write.jobs", "jobs"),
        Kind::Delivery => ("begin.write.deliveries", "deliveries"),
    };
    let text = format!(
        "WITH {{v}} UPDATE {table} SET state = 'PROCESSING', run = v.k_run, queued_gen = gen, next_at = NULL,
            holder = ?, started_at = COALESCE(started_at, ?), updated_at = ?
         FROM v WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.run = v.k_run - 1
            AND {table}.state IN ('QUEUED', 'PROCESSING') AND {table}.cancel_at IS NULL"
    );
    let sql = Sql::batch(name, text, &["k_id", "k_gen", "k_run"], rows).bind(holder).bind(now).bind(now);
    tx.run_all(sql, count).await
}

/// Queues a row again because somebody retried its dead queue job by hand; not when its texts were erased or the plan's limit
/// would be passed.
async fn adopt(tx: &mut Tx<'_>, kind: Kind, row: &Found, now: i64) -> Result<Begun, LedgerError> {
    match kind {
        Kind::Job => {
            let Some(tokens) = super::cancel::retriable(tx, &row.id).await? else {
                return Ok(row.mirror());
            };
            let hold = Hold { org: &row.org, jobs: 1, tokens, created: 0 };
            if !matches!(periods::reserve(tx, &hold, now).await?, Held::Yes) {
                return Ok(row.mirror());
            }
            super::cancel::requeue_job(tx, &row.id, row.generation, now).await?;
        }
        Kind::Delivery => {
            let sql = Sql::new(
                "begin.adopt.delivery",
                "UPDATE deliveries SET state = 'QUEUED', gen = gen + 1, made = 0, attempts = 0, lost = 0,
                    cancel_at = NULL, next_at = NULL, completed_at = NULL, updated_at = $3
                 WHERE id = $1 AND gen = $2 AND state IN ('FAILED', 'CANCELED')",
            );
            tx.run(sql.bind(&row.id).bind(row.generation).bind(now)).await?;
        }
    }
    Ok(Begun::Adopted { generation: row.generation + 1 })
}
