//! Webhook endpoints, events and deliveries as rows. Sending is another room's.

use super::db::Row;
use super::sql::Sql;
use super::{JobState, Ledger, LedgerError};

/// How often a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// 10 tries over some days.
    Long,
    /// 5 tries over 30 s.
    Short,
}

/// An endpoint to make.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Whose.
    pub org: String,
    /// Where to.
    pub url: String,
    /// Which events; empty is all.
    pub events: Vec<String>,
    /// What its owner says of it.
    pub description: String,
    /// How often a delivery is tried.
    pub policy: Policy,
    /// The signing secret, encrypted by the caller.
    pub secret: String,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// Where to.
    pub url: String,
    /// Which events; empty is all.
    pub events: Vec<String>,
    /// What its owner says of it.
    pub description: String,
    /// How often a delivery is tried.
    pub policy: Policy,
    /// The signing secret, encrypted by the caller.
    pub secret: String,
    /// Whether events are delivered to it.
    pub enabled: bool,
    /// When it was made.
    pub created_at: i64,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// `job.completed`, …
    pub event_type: String,
    /// The job it is about.
    pub job: Option<String>,
    /// Its data, JSON text.
    pub data: String,
    /// When it happened.
    pub at: i64,
}

/// A delivery of one event to one endpoint; its id is the `webhook-id` for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// The event.
    pub event: String,
    /// The endpoint; `None` for a job's own `webhookUrl`.
    pub endpoint: Option<String>,
    /// Where to, when there is no endpoint.
    pub url: Option<String>,
    /// Its state.
    pub state: JobState,
    /// Tries ended, plus one while PROCESSING.
    pub attempts: i64,
    /// Tries it may have.
    pub max_attempts: i64,
}

/// Endpoints of one organisation, at most: an event makes as many deliveries.
const MOST_ENDPOINTS: usize = 100;

impl Policy {
    /// Tries in all.
    pub fn tries(self) -> i64 {
        match self {
            Policy::Long => 10,
            Policy::Short => 5,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Policy::Long => "long",
            Policy::Short => "short",
        }
    }

    pub(crate) fn read(word: &str) -> Result<Policy, LedgerError> {
        match word {
            "long" => Ok(Policy::Long),
            "short" => Ok(Policy::Short),
            _ => Err(LedgerError::Unreadable(format!("the policy {word:?}"))),
        }
    }
}

/// The id of a job's event: a job ends once in a generation, so it follows from both.
pub(crate) fn event_id(job: &str, generation: i64) -> String {
    format!("evt_{job}_{generation}")
}

/// A list of words as the database holds it.
pub(crate) fn write_list(words: &[String]) -> Result<String, LedgerError> {
    serde_json::to_string(words).map_err(|why| LedgerError::Unreadable(why.to_string()))
}

/// Reads what [`write_list`] wrote.
pub(crate) fn read_list(text: &str) -> Result<Vec<String>, LedgerError> {
    serde_json::from_str(text).map_err(|why| LedgerError::Unreadable(format!("a list: {why}")))
}

fn read_endpoint(mut row: Row) -> Result<Endpoint, LedgerError> {
    Ok(Endpoint {
        id: row.text()?,
        org: row.text()?,
        url: row.text()?,
        events: read_list(&row.text()?)?,
        description: row.text()?,
        policy: Policy::read(&row.text()?)?,
        secret: row.text()?,
        enabled: row.int()? == 1,
        created_at: row.int()?,
    })
}

impl Ledger {
    /// Makes an endpoint; `None` when the organisation does not exist. An organisation has 100 at most.
    pub async fn create_endpoint(&self, endpoint: &NewEndpoint, now: i64) -> Result<Option<Endpoint>, LedgerError> {
        let made = Endpoint {
            id: self.new_id(now),
            org: endpoint.org.clone(),
            url: endpoint.url.clone(),
            events: endpoint.events.clone(),
            description: endpoint.description.clone(),
            policy: endpoint.policy,
            secret: endpoint.secret.clone(),
            enabled: true,
            created_at: now,
        };
        let sql = Sql::new(
            "hooks.endpoint.insert",
            "INSERT INTO endpoints (id, org, url, events, description, policy, secret, enabled, created_at)
             SELECT $1, o.id, $3, $4, $5, $6, $7, 1, $8 FROM orgs o WHERE o.id = $2",
        );
        let sql = sql
            .bind(&made.id)
            .bind(&made.org)
            .bind(&made.url)
            .bind(write_list(&made.events)?)
            .bind(&made.description)
            .bind(made.policy.as_str())
            .bind(&made.secret)
            .bind(now);
        let count = Sql::new("hooks.endpoint.count", "SELECT COUNT(*) FROM endpoints WHERE org = $1");
        let mut tx = self.db().write().await?;
        if tx.run(sql).await? == 0 {
            return Ok(None);
        }
        if let Some(mut row) = tx.row(count.bind(&made.org)).await? {
            LedgerError::bound(row.int()?.unsigned_abs() as usize, MOST_ENDPOINTS)?;
        }
        tx.commit().await?;
        Ok(Some(made))
    }

    /// An organisation's endpoints, oldest first, at most 1,000.
    pub async fn list_endpoints(&self, org: &str) -> Result<Vec<Endpoint>, LedgerError> {
        let sql = Sql::new(
            "hooks.endpoint.list",
            "SELECT id, org, url, events, description, policy, secret, enabled, created_at
             FROM endpoints WHERE org = $1 ORDER BY id LIMIT 1000",
        );
        let rows = self.db().rows(sql.bind(org)).await?;
        rows.into_iter().map(read_endpoint).collect()
    }

    /// The events of one job of this organisation, oldest first: of its last 100 generations.
    pub async fn events(&self, org: &str, job: &str) -> Result<Vec<EventRow>, LedgerError> {
        let Some(job) = self.get(org, job).await? else {
            return Ok(Vec::new());
        };
        let last = job.generation;
        let ids = ((last - 99).max(1)..=last).map(|generation| vec![event_id(&job.id, generation).into()]).collect();
        let sql = Sql::batch(
            "hooks.events",
            "WITH {v} SELECT e.id, e.org, e.event_type, e.job, e.data, e.at FROM v JOIN events e ON e.id = v.k_id
             WHERE e.org = ? ORDER BY e.at, e.id",
            &["k_id"],
            ids,
        );
        let rows = self.db().rows(sql.bind(org)).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(EventRow {
                    id: row.text()?,
                    org: row.text()?,
                    event_type: row.text()?,
                    job: row.opt_text()?,
                    data: row.text()?,
                    at: row.int()?,
                })
            })
            .collect()
    }

    /// The deliveries of one event of this organisation, at most 1,000.
    pub async fn deliveries(&self, org: &str, event: &str) -> Result<Vec<DeliveryRow>, LedgerError> {
        let sql = Sql::new(
            "hooks.deliveries",
            "SELECT id, org, event, endpoint, url, state, attempts, max_attempts FROM deliveries
             WHERE event = $2 AND org = $1 ORDER BY id LIMIT 1000",
        );
        let rows = self.db().rows(sql.bind(org).bind(event)).await?;
        rows.into_iter()
            .map(|mut row| {
                let mut delivery = DeliveryRow {
                    id: row.text()?,
                    org: row.text()?,
                    event: row.text()?,
                    endpoint: row.opt_text()?,
                    url: row.opt_text()?,
                    state: JobState::read(&row.text()?)?,
                    attempts: row.int()?,
                    max_attempts: row.int()?,
                };
                if delivery.state == JobState::Processing {
                    delivery.attempts += 1;
                }
                Ok(delivery)
            })
            .collect()
    }
}
