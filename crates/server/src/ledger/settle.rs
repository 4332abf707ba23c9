//! Step 6 of the protocol: what follows, in the same transaction, from a job row that has just ended: usage, the
//! reservation, the event, one delivery for each endpoint. Also the endings that no run makes (canceled, expired, lost).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::calendar::rfc3339;
use super::db::{Arg, MOST_ROWS, Sql, Tx};
use super::hooks::event_id;
use super::periods::{self, Change};
use super::{JobState, Kind, Ledger, LedgerError, Policy, Usage};

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
        for billed in bill(tx, &rows, now).await? {
            let change = changes.entry((billed.org, billed.period)).or_default();
            change.used_jobs += billed.jobs;
            change.used_tokens += billed.tokens;
        }
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
        write_events(tx, &ended, now).await?;
        let endpoints = endpoints_of(tx, &ended).await?;
        self.write_deliveries(tx, &ended, &endpoints, now).await
    }

    async fn write_deliveries(
        &self,
        tx: &mut Tx<'_>,
        ended: &[&Settled],
        endpoints: &BTreeMap<String, Vec<Wanting>>,
        now: i64,
    ) -> Result<(), LedgerError> {
        let mut rows = Vec::new();
        for job in ended {
            let event_type = event_type(job.state);
            let wanting = endpoints.get(&job.org).into_iter().flatten();
            let mut add = |endpoint: Option<&str>, url: Option<&String>, policy: Policy| {
                rows.push(vec![
                    self.new_id(now).into(),
                    job.org.as_str().into(),
                    event_id(&job.id, job.generation).into(),
                    event_type.into(),
                    Arg::Text(endpoint.map(str::to_owned)),
                    Arg::Text(url.cloned()),
                    policy.tries().into(),
                ]);
            };
            for endpoint in wanting.filter(|endpoint| endpoint.wants(event_type)) {
                add(Some(&endpoint.id), None, endpoint.policy);
            }
            if job.webhook_url.is_some() {
                add(None, job.webhook_url.as_ref(), Policy::Long);
            }
        }
        for rows in chunks(rows) {
            let sql = Sql::batch(
                "settle.deliveries",
                "WITH {v} INSERT INTO deliveries (id, org, event, event_type, endpoint, url, max_attempts,
                    state, gen, run, made, attempts, queued_gen, lost, progress, updated_at, created_at)
                 SELECT k_id, k_org, k_event, k_event_type, k_endpoint, k_url, k_max_attempts,
                    'QUEUED', 1, 0, 0, 0, 0, 0, 0, ?, ? FROM v WHERE k_id IS NOT NULL",
                &["k_id", "k_org", "k_event", "k_event_type", "k_endpoint", "k_url", "k_max_attempts"],
                rows,
            );
            tx.run(sql.bind(now).bind(now)).await?;
        }
        Ok(())
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

/// What was billed for one run.
struct Billed {
    org: String,
    period: String,
    jobs: i64,
    tokens: i64,
}

/// Writes usage rows; a run that has one already is not billed again.
async fn bill(tx: &mut Tx<'_>, rows: &[Settled], now: i64) -> Result<Vec<Billed>, LedgerError> {
    let used: Vec<Vec<Arg>> = rows
        .iter()
        .filter_map(|row| {
            let done = row.state == JobState::Succeeded;
            let usage = match &row.usage {
                Some(usage) => usage.clone(),
                None if done => Usage::default(),
                None => return None,
            };
            Some(vec![
                row.id.as_str().into(),
                row.generation.into(),
                row.run.into(),
                row.org.as_str().into(),
                row.period.as_str().into(),
                row.job_type.as_str().into(),
                i64::from(done).into(),
                usage.input_tokens.into(),
                usage.output_tokens.into(),
                usage.cost_micros.into(),
                usage.provider.into(),
                usage.model.into(),
            ])
        })
        .collect();
    let mut billed = Vec::with_capacity(used.len());
    for used in chunks(used) {
        let sql = Sql::batch(
            "settle.usage",
            "WITH {v} INSERT INTO usage (job, gen, run, org, period, job_type, jobs, input_tokens, output_tokens,
                cost_micros, provider, model, at)
             SELECT k_job, k_gen, k_run, k_org, k_period, k_job_type, k_jobs, k_input_tokens, k_output_tokens,
                k_cost_micros, k_provider, k_model, ? FROM v WHERE k_job IS NOT NULL
             ON CONFLICT (job, gen, run) DO NOTHING
             RETURNING org, period, jobs, input_tokens + output_tokens",
            &[
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
            ],
            used,
        );
        for mut row in tx.rows(sql.bind(now)).await? {
            billed.push(Billed { org: row.text()?, period: row.text()?, jobs: row.int()?, tokens: row.int()? });
        }
    }
    Ok(billed)
}

/// What an event tells of its job: thin, without texts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    job_id: &'a str,
    r#type: &'a str,
    status: &'a str,
    token_used: i64,
    cost_cents: i64,
    completed_at: String,
}

fn event_type(state: JobState) -> &'static str {
    match state {
        JobState::Succeeded => "job.completed",
        JobState::Canceled => "job.canceled",
        _ => "job.failed",
    }
}

async fn write_events(tx: &mut Tx<'_>, ended: &[&Settled], now: i64) -> Result<(), LedgerError> {
    let completed_at = rfc3339(now);
    let mut rows: Vec<Vec<Arg>> = Vec::with_capacity(ended.len());
    for job in ended {
        let usage = job.usage.as_ref();
        let data = EventData {
            job_id: &job.id,
            r#type: &job.job_type,
            status: job.state.as_str(),
            token_used: usage.map_or(0, |usage| usage.input_tokens + usage.output_tokens),
            cost_cents: usage.map_or(0, |usage| usage.cost_micros.div_euclid(10_000)),
            completed_at: completed_at.clone(),
        };
        let data = serde_json::to_string(&data).map_err(|why| LedgerError::Unreadable(why.to_string()))?;
        rows.push(vec![
            event_id(&job.id, job.generation).into(),
            job.org.as_str().into(),
            event_type(job.state).into(),
            job.id.as_str().into(),
            data.into(),
        ]);
    }
    for rows in chunks(rows) {
        let sql = Sql::batch(
            "settle.events",
            "WITH {v} INSERT INTO events (id, org, event_type, job, data, at)
             SELECT k_id, k_org, k_event_type, k_job, k_data, ? FROM v WHERE k_id IS NOT NULL",
            &["k_id", "k_org", "k_event_type", "k_job", "k_data"],
            rows,
        );
        tx.run(sql.bind(now)).await?;
    }
    Ok(())
}

/// An enabled endpoint.
struct Wanting {
    id: String,
    events: Vec<String>,
    policy: Policy,
}

impl Wanting {
    fn wants(&self, event_type: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|event| event == event_type)
    }
}

async fn endpoints_of(tx: &mut Tx<'_>, ended: &[&Settled]) -> Result<BTreeMap<String, Vec<Wanting>>, LedgerError> {
    let orgs: BTreeSet<&str> = ended.iter().map(|job| job.org.as_str()).collect();
    let sql = Sql::batch(
        "settle.endpoints",
        "WITH {v} SELECT e.org, e.id, e.events, e.policy FROM v JOIN endpoints e ON e.org = v.k_org
         WHERE e.enabled = 1 ORDER BY e.org, e.id",
        &["k_org"],
        orgs.into_iter().map(|org| vec![org.into()]).collect(),
    );
    let mut found: BTreeMap<String, Vec<Wanting>> = BTreeMap::new();
    for mut row in tx.rows(sql).await? {
        let org = row.text()?;
        let endpoint = Wanting {
            id: row.text()?,
            events: super::hooks::read_list(&row.text()?)?,
            policy: Policy::read(&row.text()?)?,
        };
        found.entry(org).or_default().push(endpoint);
    }
    Ok(found)
}
