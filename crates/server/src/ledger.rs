//! Everything the database holds: organisations, keys, jobs, usage, quotas, idempotency, events, deliveries, leases, audit.
//!
//! The database is the record that users and invoices rely on; the queue is transport. Each call here is one committed
//! transaction (or one read), so a crash between two calls leaves nothing half done. Every write that ends or extends a run
//! is guarded by the row's generation and run: a late answer misses, and a miss is an answer, not an error.
//!
//! This room knows no HTTP, no queue and no clock: times are milliseconds since the epoch and come as arguments.
//! SQLite and PostgreSQL run the same SQL text.

mod announce;
mod audit;
mod begin;
mod calendar;
mod cancel;
mod counters;
mod create;
mod db;
mod dispatch;
mod end;
mod error;
mod hooks;
mod id;
mod idempotency;
mod jobs;
mod keys;
mod list;
mod open;
mod orgs;
mod periods;
mod reconcile;
mod settle;
mod sql;

#[cfg(test)]
pub(crate) mod tests;

pub use audit::{AuditEntry, By};
pub use begin::{Begun, DeliveryWork, JobWork, Mirror, Run, Start, Work};
pub use cancel::{Canceled, Erased, Retried};
pub use counters::Repairs;
pub use create::{Create, Created, NewJob, Quota};
pub use dispatch::{Undispatched, parse_queue_id, queue_id};
pub use end::{Decision, Ended, Finish, What};
pub use error::LedgerError;
pub use hooks::{DeliveryRow, Endpoint, EventRow, NewEndpoint, Policy};
pub use idempotency::{Answer, Claim, Idempotency, PURGED};
pub use jobs::{JobError, JobRow, JobState, Usage};
pub use keys::{KeyMode, KeyRow, NewKey, ParsedKey, parse_key, verify_key};
pub use list::{Filter, ListPage, Page};
pub use open::{DatabaseUrl, Migrate, OpenError, OpenOptions};
pub use orgs::{Org, PeriodRow, Plan};
pub use reconcile::{OpenRow, Relived, StalePage};

/// Which of the two record tables a call speaks of; each has its own queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An AI job, on the queue `ai-jobs`.
    Job,
    /// A webhook delivery, on the queue `webhooks`.
    Delivery,
}

/// The handle to the database. Clones share the connections.
#[derive(Clone)]
pub struct Ledger {
    inner: std::sync::Arc<Inner>,
}

struct Inner {
    db: db::Db,
    ids: id::Ids,
    deployment: String,
}

impl Ledger {
    fn db(&self) -> &db::Db {
        &self.inner.db
    }

    fn new_id(&self, now: i64) -> String {
        self.inner.ids.make(now)
    }
}

impl Kind {
    /// The table's name, for statements that are the same for both.
    const fn table(self) -> &'static str {
        match self {
            Kind::Job => "jobs",
            Kind::Delivery => "deliveries",
        }
    }
}
