//! Webhook endpoints, events and deliveries as rows. Sending is another room's.

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

impl Ledger {
    /// Makes an endpoint; `None` when the organisation does not exist.
    pub async fn create_endpoint(
        &self,
        endpoint: &NewEndpoint,
        now: i64,
    ) -> Result<Option<Endpoint>, LedgerError> {
        todo!("{endpoint:?} {now}")
    }

    /// An organisation's endpoints, oldest first, at most 1,000.
    pub async fn list_endpoints(&self, org: &str) -> Result<Vec<Endpoint>, LedgerError> {
        todo!("{org}")
    }

    /// The events of one job of this organisation, oldest first, at most 100.
    pub async fn events(&self, org: &str, job: &str) -> Result<Vec<EventRow>, LedgerError> {
        todo!("{org} {job}")
    }

    /// The deliveries of one event of this organisation, at most 1,000.
    pub async fn deliveries(
        &self,
        org: &str,
        event: &str,
    ) -> Result<Vec<DeliveryRow>, LedgerError> {
        todo!("{org} {event}")
    }
}
