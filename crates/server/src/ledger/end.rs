//! Steps 5 and 6 of the protocol: runs end in the database before the queue is settled, and the row decides what follows.

use std::collections::HashMap;

use super::db::{Row, Tx};
use super::settle::{SETTLED, Settled, lock_rows, read_settled};
use super::sql::{Arg, Sql};
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

const COLUMNS: [&str; 14] = [
    "k_id",
    "k_gen",
    "k_run",
    "k_what",
    "k_output",
    "k_code",
    "k_message",
    "k_retryable",
    "k_at",
    "k_input_tokens",
    "k_output_tokens",
    "k_provider",
    "k_model",
    "k_cost",
];

/// What every ending writes. A run that does not succeed after a cancel request ends as canceled, so that nothing is tried
/// again that somebody asked to stop. The waits are 2 s, 4 s, 8 s, … by the tries that had ended before.
const DECIDE: &str = "
    state = CASE
        WHEN v.k_what = 'done' THEN 'SUCCEEDED'
        WHEN v.k_what = 'stop' OR cancel_at IS NOT NULL THEN 'CANCELED'
        WHEN v.k_what = 'back' THEN 'QUEUED'
        WHEN v.k_retryable = 1 AND attempts + 1 < max_attempts THEN 'QUEUED'
        ELSE 'FAILED' END,
    made = made + CASE WHEN v.k_what = 'back' AND cancel_at IS NULL THEN 0 ELSE 1 END,
    attempts = attempts + CASE WHEN v.k_what = 'back' THEN 0 ELSE 1 END,
    next_at = CASE
        WHEN v.k_what = 'back' AND cancel_at IS NULL THEN v.k_at
        WHEN v.k_what = 'fail' AND cancel_at IS NULL AND v.k_retryable = 1 AND attempts + 1 < max_attempts
            THEN COALESCE(v.k_at, ? + 2000 * (1 << CAST(attempts AS INTEGER)))
        ELSE NULL END,
    completed_at = CASE
        WHEN v.k_what IN ('done', 'stop') OR cancel_at IS NOT NULL THEN ?
        WHEN v.k_what = 'fail' AND NOT (v.k_retryable = 1 AND attempts + 1 < max_attempts) THEN ?
        ELSE NULL END,
    error_code = CASE WHEN v.k_what = 'done' THEN NULL ELSE COALESCE(v.k_code, error_code) END,
    error_message = CASE WHEN v.k_what = 'done' THEN NULL ELSE COALESCE(v.k_message, error_message) END,
    error_retryable = CASE WHEN v.k_what = 'done' THEN NULL
        WHEN v.k_code IS NULL THEN error_retryable ELSE v.k_retryable END,
    output = v.k_output,
    progress = CASE WHEN v.k_what = 'done' THEN 100 ELSE progress END,
    holder = NULL,
    updated_at = ?";

impl Ledger {
    /// Ends runs, at most 500 in one commit; answers in the order given.
    pub async fn end(
        &self,
        kind: Kind,
        ends: Vec<Finish>,
        now: i64,
    ) -> Result<Vec<Ended>, LedgerError> {
        LedgerError::bound(ends.len(), MOST)?;
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let mut sorted: Vec<&Finish> = ends.iter().collect();
        // Stable: of two endings of one run the first counts.
        sorted.sort_by_key(|end| (&end.id, end.generation, end.run));
        sorted.dedup_by_key(|end| (&end.id, end.generation, end.run));
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, kind, sorted.iter().map(|end| end.id.as_str())).await?;
        let hits = apply(&mut tx, kind, &sorted, now).await?;
        let mut decided: HashMap<(String, i64, i64), (JobState, Option<i64>)> = HashMap::new();
        let mut settled = Vec::with_capacity(hits.len());
        for hit in hits {
            decided.insert(hit.key(), (hit.state, hit.next_at));
            settled.extend(hit.settled);
        }
        if decided.len() < sorted.len() {
            for (key, found) in read_missed(&mut tx, kind, &sorted, &decided).await? {
                decided.insert(key, found);
            }
        }
        attach_usage(&mut settled, &sorted);
        if !settled.is_empty() {
            self.settle(&mut tx, settled, now).await?;
        }
        tx.commit().await?;
        Ok(ends
            .iter()
            .map(|end| {
                let key = (end.id.clone(), end.generation, end.run);
                match decided.get(&key) {
                    Some((state, next_at)) => decision(end, *state, *next_at, now),
                    None => Ended::Stale,
                }
            })
            .collect())
    }

    /// Notes progress (0–100) of runs given as (id, generation, run, progress), at most 500 in one commit; stale runs are left
    /// alone.
    pub async fn progress(
        &self,
        kind: Kind,
        runs: &[(String, i64, i64, i64)],
    ) -> Result<(), LedgerError> {
        LedgerError::bound(runs.len(), MOST)?;
        if runs.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<&(String, i64, i64, i64)> = runs.iter().collect();
        sorted.sort_unstable();
        let rows = sorted
            .iter()
            .map(|(id, generation, run, progress)| {
                vec![
                    Arg::from(id),
                    (*generation).into(),
                    (*run).into(),
                    (*progress).clamp(0, 100).into(),
                ]
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

/// A row that an ending hit.
struct Hit {
    id: String,
    generation: i64,
    run: i64,
    state: JobState,
    next_at: Option<i64>,
    /// Only a job is billed and told of.
    settled: Option<Settled>,
}

impl Hit {
    fn key(&self) -> (String, i64, i64) {
        (self.id.clone(), self.generation, self.run)
    }
}

async fn apply(
    tx: &mut Tx<'_>,
    kind: Kind,
    ends: &[&Finish],
    now: i64,
) -> Result<Vec<Hit>, LedgerError> {
    let rows = ends.iter().map(|end| args(end)).collect();
    let (name, more, returning) = match kind {
        Kind::Job => (
            "end.jobs",
            ", input_tokens = v.k_input_tokens, output_tokens = v.k_output_tokens,
             provider = v.k_provider, model = v.k_model, cost_micros = v.k_cost",
            SETTLED,
        ),
        Kind::Delivery => (
            "end.deliveries",
            "",
            "deliveries.id, deliveries.gen, deliveries.run, deliveries.state",
        ),
    };
    let table = kind.table();
    let text = format!(
        "WITH {{v}} UPDATE {table} SET {DECIDE}{more} FROM v
         WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.run = v.k_run
            AND {table}.state = 'PROCESSING'
         RETURNING {table}.next_at, {returning}"
    );
    let sql = Sql::batch(name, text, &COLUMNS, rows)
        .bind(now)
        .bind(now)
        .bind(now)
        .bind(now);
    let rows = tx.rows(sql).await?;
    rows.into_iter().map(|row| read_hit(kind, row)).collect()
}

fn args(end: &Finish) -> Vec<Arg> {
    let (what, output, error, at, usage) = match &end.what {
        What::Succeeded { output, usage } => ("done", Some(output), None, None, usage.as_ref()),
        What::Failed {
            error,
            usage,
            retry_at,
        } => ("fail", None, Some(error), *retry_at, usage.as_ref()),
        What::GiveBack { until } => ("back", None, None, *until, None),
        What::Canceled => ("stop", None, None, None, None),
    };
    vec![
        (&end.id).into(),
        end.generation.into(),
        end.run.into(),
        what.into(),
        output.cloned().into(),
        error.map(|error| error.code.clone()).into(),
        error.map(|error| error.message.clone()).into(),
        i64::from(error.is_some_and(|error| error.retryable)).into(),
        at.into(),
        usage.map(|usage| usage.input_tokens).into(),
        usage.map(|usage| usage.output_tokens).into(),
        usage.map(|usage| usage.provider.clone()).into(),
        usage.map(|usage| usage.model.clone()).into(),
        usage.map(|usage| usage.cost_micros).into(),
    ]
}

fn read_hit(kind: Kind, mut row: Row) -> Result<Hit, LedgerError> {
    let next_at = row.opt_int()?;
    Ok(match kind {
        Kind::Job => {
            let settled = read_settled(&mut row)?;
            Hit {
                id: settled.id.clone(),
                generation: settled.generation,
                run: settled.run,
                state: settled.state,
                next_at,
                settled: Some(settled),
            }
        }
        Kind::Delivery => Hit {
            id: row.text()?,
            generation: row.int()?,
            run: row.int()?,
            state: JobState::read(&row.text()?)?,
            next_at,
            settled: None,
        },
    })
}

/// Rows whose current run is the one that ends but which are not PROCESSING any more: this very ending was committed before
/// and its answer was lost.
async fn read_missed(
    tx: &mut Tx<'_>,
    kind: Kind,
    ends: &[&Finish],
    hit: &HashMap<(String, i64, i64), (JobState, Option<i64>)>,
) -> Result<Vec<((String, i64, i64), (JobState, Option<i64>))>, LedgerError> {
    let rows = ends
        .iter()
        .filter(|end| !hit.contains_key(&(end.id.clone(), end.generation, end.run)))
        .map(|end| vec![Arg::from(&end.id), end.generation.into(), end.run.into()])
        .collect();
    let (name, table) = match kind {
        Kind::Job => ("end.missed.jobs", "jobs"),
        Kind::Delivery => ("end.missed.deliveries", "deliveries"),
    };
    let text = format!(
        "WITH {{v}} SELECT j.id, j.gen, j.run, j.state, j.next_at FROM v JOIN {table} j ON j.id = v.k_id
         WHERE j.gen = v.k_gen AND j.run = v.k_run AND j.state <> 'PROCESSING'"
    );
    let sql = Sql::batch(name, text, &["k_id", "k_gen", "k_run"], rows);
    let rows = tx.rows(sql).await?;
    rows.into_iter()
        .map(|mut row| {
            let key = (row.text()?, row.int()?, row.int()?);
            Ok((key, (JobState::read(&row.text()?)?, row.opt_int()?)))
        })
        .collect()
}

fn attach_usage(settled: &mut [Settled], ends: &[&Finish]) {
    let used: HashMap<(&str, i64), &Usage> = ends
        .iter()
        .filter_map(|end| match &end.what {
            What::Succeeded { usage, .. } | What::Failed { usage, .. } => {
                Some(((end.id.as_str(), end.run), usage.as_ref()?))
            }
            What::GiveBack { .. } | What::Canceled => None,
        })
        .collect();
    for row in settled {
        row.usage = used
            .get(&(row.id.as_str(), row.run))
            .map(|usage| (*usage).clone());
    }
}

fn decision(end: &Finish, state: JobState, next_at: Option<i64>, now: i64) -> Ended {
    Ended::Applied(match (state, &end.what) {
        (JobState::Succeeded, _) => Decision::Done,
        (JobState::Failed, _) => Decision::Dead,
        (JobState::Canceled, _) => Decision::Canceled,
        (_, What::GiveBack { .. }) => Decision::GivenBack { until: next_at },
        (_, _) => Decision::Retry {
            at: next_at.unwrap_or(now),
        },
    })
}
