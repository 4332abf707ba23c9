//! Steps 3 and 4 of the protocol: a worker holds queue jobs and asks which of them it may run.

use std::collections::HashMap;

use super::db::{Row, Tx};
use super::jobs::read_error;
use super::periods::{self, Held, Hold};
use super::settle::{Closing, Guard, lock_rows};
use super::sql::{Arg, Sql};
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

/// A row that could not be begun.
struct Missed {
    org: String,
    generation: i64,
    run: i64,
    state: JobState,
    made: i64,
    cancel_at: Option<i64>,
    start_before: Option<i64>,
    started_at: Option<i64>,
    error: Option<JobError>,
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
        LedgerError::bound(starts.len(), MOST)?;
        if starts.is_empty() {
            return Ok(Vec::new());
        }
        // A row is begun once in a call; a second start of the same row would only outdate the first.
        let mut sorted: Vec<&Start> = starts.iter().collect();
        sorted.sort_unstable_by_key(|start| (&start.id, start.generation));
        sorted.dedup_by_key(|start| (&start.id, start.generation));
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, kind, sorted.iter().map(|start| start.id.as_str())).await?;
        let mut runs = begin_rows(&mut tx, kind, &sorted, holder, now).await?;
        let mut answers = Vec::with_capacity(starts.len());
        let missed = if runs.len() < sorted.len() {
            read_missed(&mut tx, kind, &sorted, &runs).await?
        } else {
            HashMap::new()
        };
        let begun: Vec<(String, i64)> = runs.keys().cloned().collect();
        for start in starts {
            let key = (start.id.clone(), start.generation);
            let answer = match (runs.remove(&key), missed.get(&start.id)) {
                (Some(run), _) => Begun::Run(run),
                (None, _) if begun.contains(&key) => Begun::Superseded,
                (None, None) => Begun::Unknown,
                (None, Some(row)) => self.answer_missed(&mut tx, kind, start, row, now).await?,
            };
            answers.push(answer);
        }
        tx.commit().await?;
        Ok(answers)
    }

    /// Step 4 for one row.
    async fn answer_missed(
        &self,
        tx: &mut Tx<'_>,
        kind: Kind,
        start: &Start,
        row: &Missed,
        now: i64,
    ) -> Result<Begun, LedgerError> {
        if row.generation != start.generation {
            return Ok(Begun::Superseded);
        }
        if row.state.is_final() {
            // Equal counts mean that the queue has settled our ending: somebody has put the job back by hand since.
            let by_hand = row.state != JobState::Succeeded && row.made == start.made;
            if by_hand && adopt(tx, kind, &start.id, row, now).await? {
                return Ok(Begun::Adopted {
                    generation: row.generation + 1,
                });
            }
            return Ok(Begun::Skip(Mirror {
                state: row.state,
                error: row.error.clone(),
            }));
        }
        let late = row.started_at.is_none() && row.start_before.is_some_and(|at| at < now);
        let closing = match (row.cancel_at, late) {
            (Some(_), _) => Closing::Canceled,
            (None, true) => Closing::Expired,
            (None, false) => return Ok(Begun::Unknown),
        };
        let guard = Guard {
            id: &start.id,
            generation: row.generation,
            run: row.run,
        };
        if !self.close_row(tx, kind, guard, closing, now).await? {
            return Ok(Begun::Unknown);
        }
        Ok(Begun::Skip(Mirror {
            state: closing.state(),
            error: closing.error().map(|(code, message)| JobError {
                code: code.to_owned(),
                message: message.to_owned(),
                retryable: false,
            }),
        }))
    }
}

async fn begin_rows(
    tx: &mut Tx<'_>,
    kind: Kind,
    starts: &[&Start],
    holder: &str,
    now: i64,
) -> Result<HashMap<(String, i64), Run>, LedgerError> {
    let rows = starts
        .iter()
        .map(|start| vec![Arg::from(&start.id), start.generation.into()])
        .collect();
    let (name, returning) = match kind {
        Kind::Job => (
            "begin.jobs",
            "jobs.job_type, COALESCE(jobs.input, (SELECT i.input FROM job_inputs i WHERE i.job = jobs.id), 'null'),
             jobs.timeout, jobs.provider_wish, jobs.traceparent",
        ),
        Kind::Delivery => (
            "begin.deliveries",
            "deliveries.event, deliveries.event_type, deliveries.endpoint, deliveries.url,
             (SELECT e.data FROM events e WHERE e.id = deliveries.event),
             (SELECT e.at FROM events e WHERE e.id = deliveries.event)",
        ),
    };
    let table = kind.table();
    let text = format!(
        "WITH {{v}} UPDATE {table} SET state = 'PROCESSING', run = run + 1, queued_gen = gen, next_at = NULL,
            holder = ?, started_at = COALESCE(started_at, ?), updated_at = ?
         FROM v WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen
            AND {table}.state IN ('QUEUED', 'PROCESSING') AND {table}.cancel_at IS NULL
            AND ({table}.start_before IS NULL OR {table}.started_at IS NOT NULL OR {table}.start_before >= ?)
         RETURNING {table}.id, {table}.gen, {table}.run, {table}.org, {table}.attempts, {table}.max_attempts, {returning}"
    );
    let sql = Sql::batch(name, text, &["k_id", "k_gen"], rows)
        .bind(holder)
        .bind(now)
        .bind(now)
        .bind(now);
    let mut runs = HashMap::with_capacity(starts.len());
    for mut row in tx.rows(sql).await? {
        let run = read_run(kind, &mut row)?;
        runs.insert((run.id.clone(), run.generation), run);
    }
    Ok(runs)
}

fn read_run(kind: Kind, row: &mut Row) -> Result<Run, LedgerError> {
    Ok(Run {
        id: row.text()?,
        generation: row.int()?,
        run: row.int()?,
        org: row.text()?,
        attempt: row.int()? + 1,
        max_attempts: row.int()?,
        work: match kind {
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
        },
    })
}

async fn read_missed(
    tx: &mut Tx<'_>,
    kind: Kind,
    starts: &[&Start],
    runs: &HashMap<(String, i64), Run>,
) -> Result<HashMap<String, Missed>, LedgerError> {
    let rows = starts
        .iter()
        .filter(|start| !runs.contains_key(&(start.id.clone(), start.generation)))
        .map(|start| vec![Arg::from(&start.id)])
        .collect();
    let (name, table) = match kind {
        Kind::Job => ("begin.missed.jobs", "jobs"),
        Kind::Delivery => ("begin.missed.deliveries", "deliveries"),
    };
    let text = format!(
        "WITH {{v}} SELECT j.id, j.org, j.gen, j.run, j.state, j.made, j.cancel_at, j.start_before, j.started_at,
            j.error_code, j.error_message, j.error_retryable FROM v JOIN {table} j ON j.id = v.k_id"
    );
    let mut missed = HashMap::new();
    for mut row in tx.rows(Sql::batch(name, text, &["k_id"], rows)).await? {
        let id = row.text()?;
        let found = Missed {
            org: row.text()?,
            generation: row.int()?,
            run: row.int()?,
            state: JobState::read(&row.text()?)?,
            made: row.int()?,
            cancel_at: row.opt_int()?,
            start_before: row.opt_int()?,
            started_at: row.opt_int()?,
            error: read_error(&mut row)?,
        };
        missed.insert(id, found);
    }
    Ok(missed)
}

/// Queues a row again because somebody retried its dead queue job by hand; not when its texts were erased or the plan's limit
/// would be passed.
async fn adopt(
    tx: &mut Tx<'_>,
    kind: Kind,
    id: &str,
    row: &Missed,
    now: i64,
) -> Result<bool, LedgerError> {
    match kind {
        Kind::Job => {
            let Some(tokens) = super::cancel::retriable(tx, id).await? else {
                return Ok(false);
            };
            let hold = Hold {
                org: &row.org,
                jobs: 1,
                tokens,
                created: 0,
            };
            if !matches!(periods::reserve(tx, &hold, now).await?, Held::Yes) {
                return Ok(false);
            }
            super::cancel::requeue_job(tx, id, row.generation, now).await?;
        }
        Kind::Delivery => {
            let sql = Sql::new(
                "begin.adopt.delivery",
                "UPDATE deliveries SET state = 'QUEUED', gen = gen + 1, made = 0, attempts = 0, lost = 0,
                    cancel_at = NULL, next_at = NULL, completed_at = NULL, updated_at = $3
                 WHERE id = $1 AND gen = $2 AND state IN ('FAILED', 'CANCELED')",
            );
            tx.run(sql.bind(id).bind(row.generation).bind(now)).await?;
        }
    }
    Ok(true)
}
