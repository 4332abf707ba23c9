//! Who waits for news of which queue, and the blocking lines on which news from Redis comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::listen::{events, work};
use self::seat::Seat;
use super::link::Link;
use crate::error::StoreError;
use crate::event::Position;
use crate::job::QueueName;

mod listen;
mod seat;
#[cfg(test)]
mod tests;

/// The bells of all queues that anybody here waits for.
pub(super) struct Bells {
    inner: Arc<Inner>,
    /// Without a handle nobody waits.
    _guard: DropGuard,
}

struct Inner {
    link: Arc<Link>,
    prefix: String,
    bells: Mutex<HashMap<QueueName, Arc<Bell>>>,
    /// The lines: at most two for each queue.
    listeners: TaskTracker,
    closed: CancellationToken,
}

/// What waiters of one queue share.
struct Bell {
    queue: QueueName,
    work: Notify,
    workers: Seat,
    /// The worker whose name the line bears.
    name: Mutex<Option<String>>,
    newest: watch::Sender<Position>,
    readers: Seat,
}

impl Bells {
    /// No line is made before somebody waits.
    pub(super) fn new(link: Arc<Link>, prefix: &str) -> Self {
        let closed = CancellationToken::new();
        let inner = Inner {
            link,
            prefix: prefix.to_owned(),
            bells: Mutex::default(),
            listeners: TaskTracker::new(),
            closed: closed.clone(),
        };
        Self { inner: Arc::new(inner), _guard: closed.drop_guard() }
    }

    /// A worker of this queue lives; its line bears its name.
    pub(super) fn called(&self, queue: &QueueName, worker: &str) {
        let bell = self.inner.bell(queue);
        let mut name = bell.name.lock().unwrap_or_else(PoisonError::into_inner);
        if name.as_deref() != Some(worker) {
            *name = Some(worker.to_owned());
        }
        drop(name);
        bell.workers.stir();
    }

    /// Returns when work may have come, or after `at_most`; with an error when there was no line to hear of it.
    pub(super) async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        let inner = &self.inner;
        let bell = inner.bell(queue);
        let _seat = bell.workers.sit(|| inner.listeners.spawn(work(inner.clone(), bell.clone())));
        tokio::select! {
            biased;
            () = inner.closed.cancelled() => Err(StoreError::Closed),
            () = bell.work.notified() => Ok(()),
            () = sleep(at_most) => bell.workers.fault(),
        }
    }

    /// Returns when there are events after `after`, or after `at_most`; with an error when there was no line to hear of
    /// them.
    pub(super) async fn wait_events(
        &self,
        queue: &QueueName,
        after: Position,
        at_most: Duration,
    ) -> Result<(), StoreError> {
        let inner = &self.inner;
        let bell = inner.bell(queue);
        let mut newest = bell.newest.subscribe();
        let _seat = bell.readers.sit(|| inner.listeners.spawn(events(inner.clone(), bell.clone())));
        tokio::select! {
            biased;
            () = inner.closed.cancelled() => Err(StoreError::Closed),
            _ = newest.wait_for(|newest| *newest > after) => Ok(()),
            () = sleep(at_most) => bell.readers.fault(),
        }
    }

    /// Lets go of all lines; who waits is told that the store is closed. To be called before the link is closed, through
    /// which markers are put back.
    pub(super) async fn close(&self) {
        self.inner.closed.cancel();
        self.inner.listeners.close();
        let _ = timeout(self.inner.link.times().answer, self.inner.listeners.wait()).await;
    }
}

impl Inner {
    fn bell(&self, queue: &QueueName) -> Arc<Bell> {
        let mut bells = self.bells();
        if let Some(bell) = bells.get(queue) {
            return bell.clone();
        }
        let bell = Arc::new(Bell {
            queue: queue.clone(),
            work: Notify::new(),
            workers: Seat::default(),
            name: Mutex::default(),
            newest: watch::channel(Position::START).0,
            readers: Seat::default(),
        });
        bells.entry(queue.clone()).or_insert(bell).clone()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<QueueName, Arc<Bell>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
