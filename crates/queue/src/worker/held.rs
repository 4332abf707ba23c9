//! The jobs that a worker holds, from the take's answer until the store has answered their end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use super::active::Cause;
use crate::backend::{Edit, Lock, MAX_LOGS, cut_line};
use crate::job::{JobId, Payload};
use crate::time::Timestamp;

/// One held job, shared between its handler, the keeper and the pump.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) lock: Lock,
    /// When its lock was asked for.
    pub(super) taken: Timestamp,
    told: CancellationToken,
    lost: CancellationToken,
    cause: OnceLock<Cause>,
    ending: AtomicBool,
    /// When its handler was called, if it was.
    begun: OnceLock<Timestamp>,
    notes: Mutex<Notes>,
    /// Held while its notes are on their way to the store.
    pub(super) sending: tokio::sync::Mutex<()>,
}

/// What a handler said since the last trip.
#[derive(Debug, Default)]
struct Notes {
    progress: Option<Payload>,
    lines: Vec<Arc<str>>,
}

impl Run {
    pub(super) fn new(lock: Lock, taken: Timestamp) -> Self {
        Self {
            lock,
            taken,
            told: CancellationToken::new(),
            lost: CancellationToken::new(),
            cause: OnceLock::new(),
            ending: AtomicBool::new(false),
            begun: OnceLock::new(),
            notes: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    /// Tells the handler to stop, unless it has ended already; the first cause is the one that it sees.
    pub(super) fn cancel(&self, cause: Cause) {
        if self.ending.load(Ordering::Relaxed) {
            return;
        }
        let _ = self.cause.set(cause);
        self.told.cancel();
        if cause == Cause::LockLost {
            self.lost.cancel();
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }

    /// Ends when the handler is told to stop.
    pub(super) async fn told(&self) -> Cause {
        self.told.cancelled().await;
        self.cause().unwrap_or(Cause::LockLost)
    }

    /// Ends when the lock is lost, whatever the handler was told before.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Its handler is called now.
    pub(super) fn set_begun(&self, now: Timestamp) {
        let _ = self.begun.set(now);
    }

    /// How long its handler has run; `None` when it was not called.
    pub(super) fn ran(&self, now: Timestamp) -> Option<std::time::Duration> {
        self.begun.get().map(|begun| now.since(*begun))
    }

    /// From here on the handler has ended, and only the lock is still needed.
    pub(super) fn set_ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_progress(&self, value: Payload) {
        self.notes().progress = Some(value);
    }

    /// Keeps a log line until the next trip; beyond the number of lines that a job can keep, the oldest go.
    pub(super) fn note_line(&self, line: &str) {
        let line = cut_line(line).into();
        let mut notes = self.notes();
        if notes.lines.len() >= MAX_LOGS as usize {
            notes.lines.remove(0);
        }
        notes.lines.push(line);
    }

    /// Takes what was noted, as changes to be sent; answers whether there was anything.
    pub(super) fn take_notes(&self, edits: &mut Vec<Edit>) -> bool {
        let before = edits.len();
        let notes = std::mem::take(&mut *self.notes());
        edits.extend(notes.progress.map(|value| Edit::Progress(self.lock.id.clone(), value)));
        if !notes.lines.is_empty() {
            edits.push(Edit::Log(self.lock.id.clone(), notes.lines));
        }
        edits.len() > before
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All held jobs of a worker.
#[derive(Debug, Default)]
pub(super) struct HeldSet {
    runs: Mutex<BTreeMap<JobId, Arc<Run>>>,
}

impl HeldSet {
    /// Holds a run. An older one of the same job has lost its lock, or the job could not have been taken again.
    pub(super) fn insert(&self, lock: &Lock, taken: Timestamp) {
        let run = Arc::new(Run::new(lock.clone(), taken));
        if let Some(older) = self.runs().insert(lock.id.clone(), run)
            && older.lock != *lock
        {
            older.cancel(Cause::LockLost);
        }
    }

    /// The run under this lock; a fresh one, as of `now`, when it has been let go of in the meantime.
    pub(super) fn get(&self, lock: &Lock, now: Timestamp) -> Arc<Run> {
        let held = self.runs().get(&lock.id).filter(|run| run.lock == *lock).cloned();
        held.unwrap_or_else(|| Arc::new(Run::new(lock.clone(), now)))
    }

    /// Lets go of a run; a newer run of the same job stays.
    pub(super) fn remove(&self, run: &Run) {
        let mut runs = self.runs();
        if runs.get(&run.lock.id).is_some_and(|held| held.lock == run.lock) {
            runs.remove(&run.lock.id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs().is_empty()
    }

    pub(super) fn all(&self) -> Vec<Arc<Run>> {
        self.runs().values().cloned().collect()
    }

    pub(super) fn cancel_all(&self, cause: Cause) {
        for run in self.all() {
            run.cancel(cause);
        }
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
