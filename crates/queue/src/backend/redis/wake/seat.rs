//! How many wait for one line, and whether somebody listens on it for them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::error::StoreError;

/// Where the waiters of one line sit.
#[derive(Default)]
pub(super) struct Seat {
    desk: Mutex<Desk>,
    stirred: Notify,
}

#[derive(Default)]
struct Desk {
    waiting: usize,
    listening: bool,
    fault: Option<StoreError>,
}

/// A waiter, for as long as it is held.
pub(super) struct Sitting<'a>(&'a Seat);

impl Seat {
    /// Sits down; `listen` is called when nobody listens yet.
    pub(super) fn sit<T>(&self, listen: impl FnOnce() -> T) -> Sitting<'_> {
        let mut desk = self.desk();
        desk.waiting += 1;
        let first = !desk.listening;
        desk.listening = true;
        drop(desk);
        self.stirred.notify_one();
        if first {
            listen();
        }
        Sitting(self)
    }

    /// The listener stays on for a while.
    pub(super) fn stir(&self) {
        self.stirred.notify_one();
    }

    pub(super) fn waiting(&self) -> bool {
        self.desk().waiting > 0
    }

    /// Returns with `true` when somebody waits, or with `false` when nobody came for so long that the listener is to end.
    pub(super) async fn wanted(&self, linger: impl Fn() -> Duration) -> bool {
        loop {
            if self.waiting() {
                return true;
            }
            if timeout(linger(), self.stirred.notified()).await.is_err() {
                let mut desk = self.desk();
                desk.listening = desk.waiting > 0;
                return desk.listening;
            }
        }
    }

    /// Notes why there is no line, or that there is one; answers whether there was none before.
    pub(super) fn note(&self, fault: Option<StoreError>) -> bool {
        std::mem::replace(&mut self.desk().fault, fault).is_some()
    }

    pub(super) fn fault(&self) -> Result<(), StoreError> {
        self.desk().fault.clone().map_or(Ok(()), Err)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        self.0.desk().waiting -= 1;
    }
}
