//! Work on jobs: what a process does beside answering requests. The database is the record, the queue is transport; this
//! room carries rows to the queue (`dispatch`), passes cancel requests on (`cancel`), keeps the books over every run (`books`),
//! does the jobs (`handler`), looks after what went missing (`reconcile`), and keeps away from a queue that became another
//! deployment's (`owner`).

mod books;
mod cancel;
mod dispatch;
mod handler;
mod owner;
mod reconcile;
mod skew;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod sick;

pub use cancel::tell_canceled;
pub use dispatch::{Carried, dispatch};
pub use handler::Processor;
pub use owner::{Owner, watch_owner, work_while_ours};
pub use reconcile::{Pulse, Watched, reconcile};
pub use skew::Skew;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::ANSWER;
use launchkit_queue::{BadWorker, Queue, Worker};

use crate::ledger::Ledger;

/// How often a job's worker may vanish before the job is failed. More than BullMQ's 1: a rolling restart by force must
/// not fail a user's job.
const MAX_STALLED: u32 = 3;

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// How long the queue's store may take over a call of a loop; the tests of these loops wait for it on the real clock.
const PATIENCE: Duration = if cfg!(test) { Duration::from_secs(2) } else { ANSWER };

/// A call of the queue's store; that it hangs is a failure.
async fn answered<O, E: Into<Anything>>(call: impl Future<Output = Result<O, E>>) -> Result<O, Anything> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err("the queue's store did not answer".into()),
    }
}

/// How a process works.
#[derive(Clone, Debug)]
pub struct WorkSettings {
    /// Jobs at once.
    pub concurrency: usize,
    /// How long running jobs may go on after a stop.
    pub grace: Duration,
    /// How long a job stays with a worker that gives no sign of life.
    pub lock_for: Duration,
}

/// The worker of the queue `ai-jobs`: every run is in the books.
pub fn ai_worker(
    queue: &Queue,
    ledger: &Ledger,
    processor: Arc<dyn Processor>,
    name: &str,
    settings: &WorkSettings,
) -> Result<Worker, BadWorker> {
    let books = books::Books::new(ledger.clone(), queue.clone(), name);
    Worker::builder(queue)
        .name(name)
        .concurrency(settings.concurrency)
        .grace(settings.grace)
        .lock_for(settings.lock_for)
        .rescue_every((settings.lock_for / 6).max(Duration::from_millis(500)))
        .max_stalled(MAX_STALLED)
        .journal(Arc::new(books))
        .on_rest(move |job| handler::run(processor.clone(), job))
        .build()
}
