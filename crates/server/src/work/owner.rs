//! Step 15 of the protocol while a process runs: whose the queue is. A store that was emptied has forgotten it, and belongs
//! to whoever claims it first; as long as that is another deployment, nothing is put there or taken from it.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::{BadWorker, Store, StoreError, Worker};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answered;

/// How often to ask. A new job that only another deployment knows is put off twice before it is failed, which takes longer.
const EVERY: Duration = Duration::from_secs(2);

/// Whose the queue was when that was last asked: ours, as it is at a start, or another deployment's.
#[derive(Debug)]
pub struct Owner {
    store: Store,
    deployment: String,
    ours: watch::Sender<bool>,
}

impl Owner {
    /// Of a store that this deployment has claimed.
    pub fn new(store: &Store, deployment: &str) -> Self {
        Self { store: store.clone(), deployment: deployment.to_owned(), ours: watch::Sender::new(true) }
    }

    /// Whether the queue is ours.
    pub fn is_us(&self) -> bool {
        *self.ours.borrow()
    }

    /// Asks the store, and claims what nobody has.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let ours = *self.store.claim(&self.deployment).await? == *self.deployment;
        if self.ours.send_replace(ours) == ours {
            return Ok(ours);
        }
        if ours {
            tracing::info!("the queue belongs to this deployment again: work goes on");
        } else {
            tracing::error!(
                "another deployment has claimed the queue: nothing is put there or taken from it any more. Stop one of the \
                 two, or give it another prefix"
            );
        }
        Ok(ours)
    }

    /// Ends when the queue is ours, or is not.
    async fn becomes(&self, ours: bool) {
        // Fails only without its sender, which is ourselves.
        let _ = self.ours.subscribe().wait_for(|now| *now == ours).await;
    }
}

/// Asks whose the queue is until `stop`; for stores that others can empty. What a store that does not answer was, it is still taken to be.
pub async fn watch_owner(owner: Arc<Owner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(EVERY) => {}
        }
        match stop.run_until_cancelled(answered(owner.look())).await {
            None => return,
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::debug!(%error, "the store was not asked whose it is"),
        }
    }
}

/// Works until `stop`, as long as the queue is ours: when it becomes another's the worker stops as at the end, and what it
/// holds ends or is given back; a new one begins when it is ours again.
pub async fn work_while_ours(
    first: Worker,
    next: impl Fn() -> Result<Worker, BadWorker>,
    owner: Arc<Owner>,
    stop: CancellationToken,
) -> Result<(), BadWorker> {
    let mut worker = first;
    loop {
        let taken = async {
            tokio::select! {
                biased;
                _ = stop.cancelled() => {}
                _ = owner.becomes(false) => {}
            }
        };
        let report = worker.run_until(taken).await;
        tracing::info!(?report, "the worker has stopped");
        tokio::select! {
            biased;
            _ = stop.cancelled() => return Ok(()),
            _ = owner.becomes(true) => {}
        }
        worker = next()?;
    }
}
