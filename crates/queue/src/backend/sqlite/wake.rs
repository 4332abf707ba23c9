//! Who waits for news of which queue, and how news from other processes is heard.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};

use crate::event::Position;
use crate::job::QueueName;

/// What waiters of one queue hold on to. A ring without a waiter is kept for the next one.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    pub(super) work: Arc<Notify>,
    pub(super) events: watch::Sender<Position>,
}

/// The bells of all queues that anybody here has waited for.
#[derive(Debug, Default)]
pub(super) struct Bells {
    bells: Mutex<HashMap<QueueName, Bell>>,
}

impl Bells {
    pub(super) fn of(&self, queue: &QueueName) -> Bell {
        let mut bells = self.bells();
        let bell = bells.entry(queue.clone());
        bell.or_insert_with(|| Bell { work: Arc::new(Notify::new()), events: watch::channel(Position::START).0 })
            .clone()
    }

    /// Work may have come.
    pub(super) fn work(&self, queue: &QueueName) {
        if let Some(bell) = self.bells().get(queue) {
            bell.work.notify_one();
        }
    }

    /// Events go up to here.
    pub(super) fn events(&self, queue: &QueueName, newest: Position) {
        if let Some(bell) = self.bells().get(queue) {
            bell.events.send_if_modified(|known| {
                let newer = newest > *known;
                *known = newest.max(*known);
                newer
            });
        }
    }

    /// Everybody looks again, for the last time or because another process wrote.
    pub(super) fn all(&self) {
        for bell in self.bells().values() {
            bell.work.notify_one();
        }
    }

    pub(super) fn queues(&self) -> Vec<QueueName> {
        self.bells().keys().cloned().collect()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<QueueName, Bell>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls `heard` whenever anybody, this process included, has written to the log of the file.
pub(super) fn listen(path: &Path, heard: impl Fn() + Send + 'static) -> Result<RecommendedWatcher, notify::Error> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let mut watcher = notify::recommended_watcher(move |news: Result<notify::Event, notify::Error>| {
        if news.is_ok_and(|event| event.kind.is_modify()) {
            heard();
        }
    })?;
    watcher.watch(Path::new(&log), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
