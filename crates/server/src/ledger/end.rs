//! Steps 5 and 6 of the protocol: runs end in the database before the queue is settled, and the row decides what follows.

use std::collections::HashMap;

use super::db::{Row, Tx};
use super::settle::{Settled, lock_rows};
use super::sql::{Arg, Gather, Sql};
use super::{JobError, JobState, Kind, Ledger, LedgerError, Usage};

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
    /// It is committed; also when it was already (the answer to the first call was lost): then nothing is billed again.
    Applied(Decision),
    /// The run is not the row's current one: nothing was changed or billed. Count it; settle nothing.
    Stale,
}

/// Endings in one call, at most.
const MOST: usize = 500;
/// The wait before the second try, ms; it doubles with each try.
const FIRST_WAIT: i64 = 2_000;

/// A row as it was found and locked.
struct Found {
    id: String,
    generation: i64,
    run: i64,
    state: JobState,
    attempts: i64,
    max_attempts: i64,
    cancel_at: Option<i64>,
    next_at: Option<i64>,
    /// Only of a job, which is billed and told of.
    bill: Option<Bill>,
}

/// What is needed to bill a job.
struct Bill {
    org: String,
    job_type: String,
    period: String,
    reserved: i64,
    webhook_url: Option<String>,
}

impl Found {
    /// What the row makes of an ending of its current run: pure.
    ///
    /// A run that does not succeed after a cancel request ends as canceled, so that nothing is tried again that somebody asked
    /// to stop.
    fn decide(&self, what: &What, now: i64) -> Decision {
        match what {
            What::Succeeded { .. } => Decision::Done,
            _ if self.cancel_at.is_some() => Decision::Canceled,
            What::Canceled => Decision::Canceled,
            What::GiveBack { until } => Decision::GivenBack { until: *until },
            What::Failed { error, retry_at, .. } => {
                if !error.retryable || self.attempts + 1 >= self.max_attempts {
                    return Decision::Dead;
                }
                let doublings = self.attempts.clamp(0, 30) as u32;
                let wait = FIRST_WAIT.saturating_mul(2_i64.pow(doublings));
                Decision::Retry { at: retry_at.unwrap_or(now.saturating_add(wait)) }
            }
        }
    }

    /// What the row decided when this very ending was committed before, and its answer was lost: the run is still the current
    /// one, and not PROCESSING any more.
    fn decided(&self, what: &What, now: i64) -> Decision {
        match (self.state, what) {
            (JobState::Succeeded, _) => Decision::Done,
            (JobState::Failed, _) => Decision::Dead,
            (JobState::Canceled, _) => Decision::Canceled,
            (_, What::GiveBack { .. }) => Decision::GivenBack { until: self.next_at },
            (_, _) => Decision::Retry { at: self.next_at.unwrap_or(now) },
        }
    }
}

impl Decision {
    fn state(&self) -> JobState {
        match self {
            Decision::Done => JobState::Succeeded,
            Decision::Dead => JobState::Failed,
            Decision::Canceled => JobState::Canceled,
            Decision::Retry { .. } | Decision::GivenBack { .. } => JobState::Queued,
        }
    }
}

impl Ledger {
    /// Ends runs, at most 500 in one commit; answers in the order given.
    pub async fn end(&self, kind: Kind, ends: Vec<Finish>, now: i64) -> Result<Vec<Ended>, LedgerError> {
        LedgerError::bound(ends.len(), MOST)?;
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db().write().await?;
        let mut found = find(&mut tx, kind, &ends).await?;
        let mut answers = Vec::with_capacity(ends.len());
        let mut writes = Vec::with_capacity(ends.len());
        let mut settled = Vec::with_capacity(ends.len());
        for end in &ends {
            let current = found.get_mut(&end.id).filter(|row| row.generation == end.generation && row.run == end.run);
            let Some(row) = current else {
                answers.push(Ended::Stale);
                continue;
            };
            if row.state != JobState::Processing {
                answers.push(Ended::Applied(row.decided(&end.what, now)));
                continue;
            }
            let decision = row.decide(&end.what, now);
            writes.push(write(end, &decision, now));
            // What a second ending of the run in this call finds.
            row.state = decision.state();
            row.next_at = next_at(&decision);
            settled.extend(row.bill.take().map(|bill| bill.settled(end, row.state)));
            answers.push(Ended::Applied(decision));
        }
        write_ends(&mut tx, kind, writes, now).await?;
        if !settled.is_empty() {
            self.settle(&mut tx, settled, now).await?;
        }
        tx.commit().await?;
        Ok(answers)
    }

    /// Notes progress (0–100) of runs given as (id, generation, run, progress), at most 500 in one commit; stale runs are left
    /// alone.
    pub async fn progress(&self, kind: Kind, runs: &[(String, i64, i64, i64)]) -> Result<(), LedgerError> {
        LedgerError::bound(runs.len(), MOST)?;
        if runs.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<&(String, i64, i64, i64)> = runs.iter().collect();
        sorted.sort_unstable();
        let rows = sorted
            .iter()
            .map(|(id, generation, run, progress)| {
                vec![Arg::from(id), (*generation).into(), (*run).into(), (*progress).clamp(0, 100).into()]
            })
            .collect();
        let (name, table) = match kind {
            Kind::Job => ("end.progress.jobs", "jobs"),
            Kind::Delivery => ("end.progress.deliveries", "deliveries"),
        };
        let text = format!(
            "WITH {{v}} UPDATE {table} SET progress = v.k_progress FROM v
             WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.run = v.k_run
                AND {table}.state = 'PROCESSING'"
        );
        let sql = Sql::batch(name, text, &["k_id", "k_gen", "k_run", "k_progress"], rows);
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, kind, sorted.iter().map(|(id, ..)| id.as_str())).await?;
        tx.run(sql).await?;
        tx.commit().await
    }
}

impl Bill {
    fn settled(self, end: &Finish, state: JobState) -> Settled {
        let usage = match &end.what {
            What::Succeeded { usage, .. } | What::Failed { usage, .. } => usage.clone(),
            What::GiveBack { .. } | What::Canceled => None,
        };
        Settled {
            id: end.id.clone(),
            generation: end.generation,
            run: end.run,
            org: self.org,
            job_type: self.job_type,
            state,
            period: self.period,
            reserved: self.reserved,
            webhook_url: self.webhook_url,
            usage,
        }
    }
}

/// Reads and locks the rows of these endings.
async fn find(tx: &mut Tx<'_>, kind: Kind, ends: &[Finish]) -> Result<HashMap<String, Found>, LedgerError> {
    let (name, select) = match kind {
        Kind::Job => (
            "end.find.jobs",
            "j.id, j.gen, j.run, j.state, j.attempts, j.max_attempts, j.cancel_at, j.next_at,
             j.org, j.job_type, j.period, j.reserved, j.webhook_url",
        ),
        Kind::Delivery => {
            ("end.find.deliveries", "j.id, j.gen, j.run, j.state, j.attempts, j.max_attempts, j.cancel_at, j.next_at")
        }
    };
    let gather = Gather { select, table: kind.table() };
    let read = |row: &mut Row| read_found(kind, row).map(|found| (found.id.clone(), found));
    tx.by_id(name, gather, ends.iter().map(|end| end.id.as_str()), read).await
}

fn read_found(kind: Kind, row: &mut Row) -> Result<Found, LedgerError> {
    Ok(Found {
        id: row.text()?,
        generation: row.int()?,
        run: row.int()?,
        state: JobState::read(&row.text()?)?,
        attempts: row.int()?,
        max_attempts: row.int()?,
        cancel_at: row.opt_int()?,
        next_at: row.opt_int()?,
        bill: match kind {
            Kind::Job => Some(Bill {
                org: row.text()?,
                job_type: row.text()?,
                period: row.text()?,
                reserved: row.int()?,
                webhook_url: row.opt_text()?,
            }),
            Kind::Delivery => None,
        },
    })
}

fn next_at(decision: &Decision) -> Option<i64> {
    match decision {
        Decision::Retry { at } => Some(*at),
        Decision::GivenBack { until } => *until,
        Decision::Done | Decision::Dead | Decision::Canceled => None,
    }
}

const COLUMNS: [&str; 17] = [
    "k_id",
    "k_gen",
    "k_run",
    "k_state",
    "k_made",
    "k_tried",
    "k_next_at",
    "k_completed_at",
    "k_output",
    "k_code",
    "k_message",
    "k_retryable",
    "k_input_tokens",
    "k_output_tokens",
    "k_provider",
    "k_model",
    "k_cost",
];

/// One row of the update, in the order of [`COLUMNS`]. `made` moves as the queue's count will when it is settled, `attempts`
/// by one for each try; only a give-back is none.
fn write(end: &Finish, decision: &Decision, now: i64) -> Vec<Arg> {
    let state = decision.state();
    let (output, error, usage) = match &end.what {
        What::Succeeded { output, usage } => (Some(output), None, usage.as_ref()),
        What::Failed { error, usage, .. } => (None, Some(error), usage.as_ref()),
        What::GiveBack { .. } | What::Canceled => (None, None, None),
    };
    let given_back = matches!(decision, Decision::GivenBack { .. });
    let tried = !matches!(end.what, What::GiveBack { .. });
    vec![
        (&end.id).into(),
        end.generation.into(),
        end.run.into(),
        state.as_str().into(),
        i64::from(!given_back).into(),
        i64::from(tried).into(),
        next_at(decision).into(),
        state.is_final().then_some(now).into(),
        output.cloned().into(),
        error.map(|error| error.code.clone()).into(),
        error.map(|error| error.message.clone()).into(),
        error.map(|error| i64::from(error.retryable)).into(),
        usage.map(|usage| usage.input_tokens).into(),
        usage.map(|usage| usage.output_tokens).into(),
        usage.map(|usage| usage.provider.clone()).into(),
        usage.map(|usage| usage.model.clone()).into(),
        usage.map(|usage| usage.cost_micros).into(),
    ]
}

/// Writes endings. The rows are locked; the guards are there all the same, as in every step.
async fn write_ends(tx: &mut Tx<'_>, kind: Kind, mut rows: Vec<Vec<Arg>>, now: i64) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    let count = rows.len();
    let (name, more, columns) = match kind {
        Kind::Job => (
            "end.write.jobs",
            ", input_tokens = v.k_input_tokens, output_tokens = v.k_output_tokens,
             provider = v.k_provider, model = v.k_model, cost_micros = v.k_cost",
            &COLUMNS[..],
        ),
        Kind::Delivery => {
            for row in &mut rows {
                row.truncate(COLUMNS.len() - 5);
            }
            ("end.write.deliveries", "", &COLUMNS[..COLUMNS.len() - 5])
        }
    };
    let table = kind.table();
    let text = format!(
        "WITH {{v}} UPDATE {table} SET state = v.k_state, made = made + v.k_made, attempts = attempts + v.k_tried,
            next_at = v.k_next_at, completed_at = v.k_completed_at, output = v.k_output,
            error_code = CASE WHEN v.k_state = 'SUCCEEDED' THEN NULL ELSE COALESCE(v.k_code, error_code) END,
            error_message = CASE WHEN v.k_state = 'SUCCEEDED' THEN NULL ELSE COALESCE(v.k_message, error_message) END,
            error_retryable = CASE WHEN v.k_state = 'SUCCEEDED' THEN NULL
                ELSE COALESCE(v.k_retryable, error_retryable) END,
            progress = CASE WHEN v.k_state = 'SUCCEEDED' THEN 100 ELSE progress END,
            holder = NULL, updated_at = ?{more}
         FROM v WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.run = v.k_run
            AND {table}.state = 'PROCESSING'"
    );
    let sql = Sql::batch(name, text, columns, rows).bind(now);
    tx.run_all(sql, count).await
}
