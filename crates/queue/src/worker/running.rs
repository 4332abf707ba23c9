//! A worker that works in the background.

use std::panic::resume_unwind;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Report, Worker};

/// A worker at work in a task of its own; see [`Worker::start`]. Dropped, it is told to stop, and nobody waits for it.
#[derive(Debug)]
pub struct Running {
    stop: DropGuard,
    work: JoinHandle<Report>,
}

impl Running {
    pub(super) fn start(worker: Worker) -> Self {
        let told = CancellationToken::new();
        let work = tokio::spawn(worker.run_until(told.clone().cancelled_owned()));
        Self { stop: told.drop_guard(), work }
    }

    /// Tells it to stop, as [`Worker::run_until`] does, and waits until it has; answers what it did.
    pub async fn stop(self) -> Report {
        drop(self.stop);
        match self.work.await {
            Ok(report) => report,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is going down, and takes the worker along.
            Err(_) => Report::default(),
        }
    }
}
