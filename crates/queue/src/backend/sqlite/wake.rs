//! Who waits for news of which queue, and how news from other processes is heard.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
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

/// The bells of all queues that anybody here has waited for or put work into.
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

    /// Work may have come. Rung also when nobody has ever waited: whoever looked a moment ago is about to.
    pub(super) fn work(&self, queue: &QueueName) {
        self.of(queue).work.notify_one();
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
            bell.events.send_modify(|_| {});
        }
    }

    pub(super) fn queues(&self) -> Vec<QueueName> {
        self.bells().keys().cloned().collect()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<QueueName, Bell>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Knocks at the doors of the other processes, by touching a file of its own beside the queue's.
///
/// The log would be the wrong door: SQLite writes a commit to it, waits for the disk, and only then makes it visible, which
/// no watcher sees, so whoever looks at the first sign finds nothing new; and a watcher of it wakes for every page written,
/// its own process's above all.
pub(super) struct Knocker {
    bell: File,
}

impl Knocker {
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        Ok(Self { bell: open_bell(path)? })
    }

    /// There is something new to be seen. Where it cannot be told, others find it at their next look.
    pub(super) fn knock(&self) {
        #[cfg(unix)]
        {
            use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let touched = rustix::fs::futimens(&self.bell, &Timestamps { last_access: now, last_modification: now });
            if let Err(error) = touched {
                tracing::debug!(%error, "the bell beside the queue's file could not be touched");
            }
        }
    }
}

/// Calls `heard` whenever anybody, this process included, has knocked.
pub(super) fn listen(path: &Path, heard: impl Fn() + Send + 'static) -> Result<RecommendedWatcher, notify::Error> {
    let mut watcher = notify::recommended_watcher(move |news: Result<notify::Event, notify::Error>| {
        if news.is_ok_and(|event| event.kind.is_modify()) {
            heard();
        }
    })?;
    open_bell(path)?;
    watcher.watch(&bell_of(path), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Opens the bell, and makes it, as private as the queue's file, when it is not there.
fn open_bell(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        options.mode(std::fs::metadata(path)?.permissions().mode() & 0o777);
    }
    options.open(bell_of(path))
}

fn bell_of(path: &Path) -> PathBuf {
    let mut bell = path.as_os_str().to_owned();
    bell.push("-bell");
    bell.into()
}
