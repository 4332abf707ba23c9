//! The HTTP API: every route stands in [`router`], a resource per file beside it.
//!
//! A handler authenticates, reads, checks, calls the ledger or the queue, and answers; it holds no
//! SQL and no key names. Refusals are [`Problem`]s, rendered by `guard` at the very outside.

pub mod create;
pub mod guard;
pub mod listen;

mod admin;
mod body;
mod explain;
mod health;
mod job;
mod jobs;
mod json;
mod once;
mod options;
mod query;
mod queues;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use launchkit_queue::{Clock, Queue, Store};
use tokio::sync::Notify;

use crate::ai::JobType;
use crate::auth::Auth;
use crate::ledger::{Ledger, LedgerError};
use crate::problem::{Code, Problem};
use crate::work::{Owner, Skew};

/// Whether the process's own loops turn; the text says which does not.
pub type Pulse = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the API needs; filled by `app`.
pub struct Api {
    /// The database.
    pub ledger: Ledger,
    /// The store of both queues.
    pub store: Store,
    /// The queue `ai-jobs`.
    pub ai_jobs: Queue,
    /// The queue `webhooks`.
    pub webhooks: Queue,
    /// Tells the time.
    pub clock: Clock,
    /// Checks credentials.
    pub auth: Auth,
    /// Takes jobs to be created; its doer must be running.
    pub creates: create::Creates,
    /// Told when a row waits to be put into its queue.
    pub wake: Arc<Notify>,
    /// Whose the queues are.
    pub owner: Arc<Owner>,
    /// For `/readyz`: whether this machine's clock can be trusted.
    pub skew: Arc<Skew>,
    /// For `/healthz`.
    pub pulse: Pulse,
}

impl Api {
    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

/// The caller's address, for the audit.
fn address(request: &Request) -> String {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or_else(|| "unknown".to_owned(), |info| info.0.ip().to_string())
}

/// Every route of the service.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/jobs", post(jobs::create_any).get(jobs::list))
        .route("/v1/jobs/summarize", post(|s, r| jobs::create(s, r, JobType::Summarize)))
        .route("/v1/jobs/classify", post(|s, r| jobs::create(s, r, JobType::Classify)))
        .route("/v1/jobs/sentiment", post(|s, r| jobs::create(s, r, JobType::Sentiment)))
        .route("/v1/jobs/translate", post(|s, r| jobs::create(s, r, JobType::Translate)))
        .route("/v1/jobs/extract", post(|s, r| jobs::create(s, r, JobType::Extract)))
        .route("/v1/jobs/{jobId}", get(jobs::read))
        .route("/v1/jobs/{jobId}/explain", get(jobs::explain))
        .route("/v1/jobs/{jobId}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{jobId}/retry", post(jobs::retry))
        .route("/v1/admin/queue/metrics", get(admin::metrics))
        .route("/v1/admin/queue/metrics/all", get(admin::metrics_all))
        .route("/v1/admin/queue/pause", post(admin::pause))
        .route("/v1/admin/queue/resume", post(admin::resume))
        .route("/v1/admin/queue/clean", post(admin::clean))
        .route("/v1/admin/queue/limits", get(admin::limits).post(admin::limit))
        .route("/v1/admin/queue/retry-failed", post(admin::retry_failed))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/problems/{code}", get(health::problem))
        .fallback(health::unknown_path)
        .method_not_allowed_fallback(health::wrong_method)
        .layer(from_fn(guard::limit_time))
        .layer(guard::catch_panics())
        .layer(from_fn_with_state(api.clone(), guard::outside))
        .with_state(api)
}

/// What a caller is told when the database fails; the cause is logged here, once.
pub(crate) fn ledger_problem(error: &LedgerError) -> Problem {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error {
        LedgerError::Busy(_) => {
            tracing::warn!(%error, source, "the database is busy");
            Problem::new(Code::Unavailable, "The database is busy. Nothing was changed.").retry_after(1)
        }
        LedgerError::Unreachable(_) => {
            tracing::error!(%error, source, "the database cannot be reached");
            let detail = "The database does not answer. Whether the request took effect is not known; repeat it with an Idempotency-Key to be safe.";
            Problem::new(Code::Unavailable, detail).retry_after(2)
        }
        _ => {
            tracing::error!(%error, source, "the ledger failed");
            Problem::internal()
        }
    }
}
