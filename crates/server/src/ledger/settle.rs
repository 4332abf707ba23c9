//! Step 6 of the protocol: what follows, in the same transaction, from a job row that has just ended: usage, the
//! reservation, the event, one delivery for each endpoint. Also the endings that no run makes (canceled, expired, lost).

use std::collections::BTreeMap;

use super::db::Tx;
use super::periods::{self, Change};
use super::sql::{Arg, MOST_ROWS, Sql};
use super::{JobState, Kind, Ledger, LedgerError, Usage};

/// A job row that an update has just hit, and what it is to be billed.
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) generation: i64,
    pub(crate) run: i64,
    pub(crate) org: String,
    pub(crate) job_type: String,
    pub(crate) state: JobState,
    pub(crate) period: String,
    pub(crate) reserved: i64,
    pub(crate) webhook_url: Option<String>,
    pub(crate) usage: Option<Usage>,
}

/// An ending that no run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Canceled,
    Expired,
    Lost,
}

/// A row's identity and guards.
pub(crate) struct Guard<'a> {
    pub(crate) id: &'a str,
    pub(crate) generation: i64,
    pub(crate) run: i64,
}

/// The columns that [`read_settled`] reads, in its order.
pub(crate) const SETTLED: &str =
    "jobs.id, jobs.gen, jobs.run, jobs.org, jobs.job_type, jobs.state, jobs.period, jobs.reserved, jobs.webhook_url";

/// Reads [`SETTLED`].
pub(crate) fn read_settled(row: &mut super::db::Row) -> Result<Settled, LedgerError> {
    Ok(Settled {
        id: row.text()?,
        generation: row.int()?,
        run: row.int()?,
        org: row.text()?,
        job_type: row.text()?,
        state: JobState::read(&row.text()?)?,
        period: row.text()?,
        reserved: row.int()?,
        webhook_url: row.opt_text()?,
        usage: None,
    })
}

impl Closing {
    pub(crate) fn state(self) -> JobState {
        match self {
            Closing::Canceled => JobState::Canceled,
            Closing::Expired | Closing::Lost => JobState::Failed,
        }
    }

    pub(crate) fn error(self) -> Option<(&'static str, &'static str)> {
        match self {
            Closing::Canceled => None,
            Closing::Expired => Some(("expired", "The job was not started before its deadline.")),
            Closing::Lost => Some(("lost", "The queue lost the job more than three times.")),
        }
    }
}

/// Locks rows in the order of their ids, so that two batches never wait for each other.
pub(crate) async fn lock_rows<'i>(
    tx: &mut Tx<'_>,
    kind: Kind,
    ids: impl Iterator<Item = &'i str>,
) -> Result<(), LedgerError> {
    let rows = ids.map(|id| vec![id.into()]).collect::<Vec<Vec<Arg>>>();
    tx.lock(|| {
        Sql::batch(
            match kind {
                Kind::Job => "settle.lock.jobs",
                Kind::Delivery => "settle.lock.deliveries",
            },
            format!(
                "WITH {{v}} SELECT j.id FROM v JOIN {} j ON j.id = v.k_id ORDER BY j.id FOR UPDATE OF j",
                kind.table()
            ),
            &["k_id"],
            rows,
        )
    })
    .await
}

impl Ledger {
    /// Ends a row that is still as `guard` says and has not ended; answers whether it did.
    ///
    /// `made` moves by one, as the queue's own count will when it mirrors the ending: so a row and a queue job that agree on
    /// it always mean that the queue has settled. `run` moves, so that the row's last run, should it still live, is stale.
    pub(crate) async fn close_row(
        &self,
        tx: &mut Tx<'_>,
        kind: Kind,
        guard: Guard<'_>,
        closing: Closing,
        now: i64,
    ) -> Result<bool, LedgerError> {
        let (name, returning) = match kind {
            Kind::Job => ("settle.close.jobs", SETTLED),
            Kind::Delivery => ("settle.close.deliveries", "deliveries.id"),
        };
        let text = format!(
            "UPDATE {} SET state = $4, run = run + 1, made = made + 1, queued_gen = gen, completed_at = $5, updated_at = $5,
                next_at = NULL, holder = NULL,
                error_code = COALESCE($6, error_code), error_message = COALESCE($7, error_message),
                error_retryable = CASE WHEN $6 IS NULL THEN error_retryable ELSE 0 END
             WHERE id = $1 AND gen = $2 AND run = $3 AND state IN ('QUEUED', 'PROCESSING')
             RETURNING {returning}",
            kind.table()
        );
        let error = closing.error();
        let sql = Sql::built(name, text)
            .bind(guard.id)
            .bind(guard.generation)
            .bind(guard.run)
            .bind(closing.state().as_str())
            .bind(now)
            .bind(error.map(|(code, _)| code.to_owned()))
            .bind(error.map(|(_, message)| message.to_owned()));
        let Some(mut row) = tx.row(sql).await? else {
            return Ok(false);
        };
        if kind == Kind::Job {
            let settled = read_settled(&mut row)?;
            self.settle(tx, vec![settled], now).await?;
        }
        Ok(true)
    }

    /// Writes what follows from job rows that were just hit: bills usage, and for those that have ended gives reservations
    /// back and writes events and deliveries.
    pub(crate) async fn settle(&self, tx: &mut Tx<'_>, rows: Vec<Settled>, now: i64) -> Result<(), LedgerError> {
        let mut changes: BTreeMap<(String, String), Change> = BTreeMap::new();
        bill(tx, &rows, &mut changes, now).await?;
        let ended: Vec<&Settled> = rows.iter().filter(|row| row.state.is_final()).collect();
        for row in &ended {
            let change = changes.entry((row.org.clone(), row.period.clone())).or_default();
            change.reserved_jobs -= 1;
            change.reserved_tokens -= row.reserved;
        }
        periods::change(tx, changes).await?;
        if ended.is_empty() {
            return Ok(());
        }
        self.announce(tx, &ended, now).await
    }
}

/// Rows in portions that one statement takes.
pub(crate) fn chunks(rows: Vec<Vec<Arg>>) -> impl Iterator<Item = Vec<Vec<Arg>>> {
    let mut rest = rows.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<_> = rest.by_ref().take(MOST_ROWS).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Writes usage rows, and adds them to what their months have used. A run that has a row already is not billed again; the
/// guards before make that impossible, so a portion in which it happens is left for the reconciler to count.
async fn bill(
    tx: &mut Tx<'_>,
    rows: &[Settled],
    changes: &mut BTreeMap<(String, String), Change>,
    now: i64,
) -> Result<(), LedgerError> {
    let nothing = Usage::default();
    let used: Vec<(&Settled, &Usage)> = rows
        .iter()
        .filter_map(|row| match &row.usage {
            Some(usage) => Some((row, usage)),
            None if row.state == JobState::Succeeded => Some((row, &nothing)),
            None => None,
        })
        .collect();
    for portion in used.chunks(MOST_ROWS) {
        let args = portion.iter().map(|(row, usage)| usage_args(row, usage)).collect();
        let sql = Sql::batch(
            "settle.usage",
            "WITH {v} INSERT INTO usage (job, gen, run, org, period, job_type, jobs, input_tokens, output_tokens,
                cost_micros, provider, model, at)
             SELECT k_job, k_gen, k_run, k_org, k_period, k_job_type, k_jobs, k_input_tokens, k_output_tokens,
                k_cost_micros, k_provider, k_model, ? FROM v WHERE k_job IS NOT NULL
             ON CONFLICT (job, gen, run) DO NOTHING",
            &USAGE_COLUMNS,
            args,
        );
        if tx.run(sql.bind(now)).await? != portion.len() as u64 {
            continue;
        }
        for (row, usage) in portion {
            let month = (row.org.clone(), row.period.clone());
            let change = changes.entry(month).or_default();
            change.used_jobs += i64::from(row.state == JobState::Succeeded);
            change.used_tokens += usage.input_tokens + usage.output_tokens;
        }
    }
    Ok(())
}

const USAGE_COLUMNS: [&str; 12] = [
    "k_job",
    "k_gen",
    "k_run",
    "k_org",
    "k_period",
    "k_job_type",
    "k_jobs",
    "k_input_tokens",
    "k_output_tokens",
    "k_cost_micros",
    "k_provider",
    "k_model",
];

fn usage_args(row: &Settled, usage: &Usage) -> Vec<Arg> {
    vec![
        (&row.id).into(),
        row.generation.into(),
        row.run.into(),
        (&row.org).into(),
        (&row.period).into(),
        (&row.job_type).into(),
        i64::from(row.state == JobState::Succeeded).into(),
        usage.input_tokens.into(),
        usage.output_tokens.into(),
        usage.cost_micros.into(),
        (&usage.provider).into(),
        (&usage.model).into(),
    ]
}
