//! What a job's end tells: one event row, and one delivery row for each endpoint that wants it; in the transaction of the end.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::db::Tx;
use super::hooks::event_id;
use super::settle::{Settled, chunks};
use super::sql::{Arg, Sql};
use super::{JobState, Ledger, LedgerError, Policy};
use crate::when::rfc3339;

impl Ledger {
    /// Writes events and deliveries for jobs that have just ended.
    pub(crate) async fn announce(&self, tx: &mut Tx<'_>, ended: &[&Settled], now: i64) -> Result<(), LedgerError> {
        write_events(tx, ended, now).await?;
        let endpoints = endpoints_of(tx, ended).await?;
        self.write_deliveries(tx, ended, &endpoints, now).await
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
                "announce.deliveries",
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
            "announce.events",
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
        "announce.endpoints",
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
