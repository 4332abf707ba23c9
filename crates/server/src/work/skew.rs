//! Step 14 of the protocol: this machine's clock beside the database's. No correctness rests on it; locks and retries come
//! at the wrong time when it is far off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use launchkit_queue::Clock;

use crate::ledger::{Ledger, LedgerError};

/// Clocks further apart than this are warned about.
const WARNED: Duration = Duration::from_secs(5);
/// A process whose clock is further off than this is not ready.
const UNREADY: Duration = Duration::from_secs(30);

/// How far this machine's clock was from the database's when it was last looked at; zero for an embedded database.
#[derive(Debug, Default)]
pub struct Skew(AtomicI64);

impl Skew {
    /// Compares the clocks, and warns.
    pub async fn measure(&self, ledger: &Ledger, clock: &Clock) -> Result<(), LedgerError> {
        let asked = clock.now();
        let Some(theirs) = ledger.server_time().await? else { return Ok(()) };
        // The answer was given in between.
        let ours = asked.millis() + (clock.now().millis() - asked.millis()) / 2;
        self.note(theirs - ours);
        if self.apart() > WARNED {
            tracing::warn!(ours, theirs, "this machine's clock and the database's are more than 5 s apart");
        }
        Ok(())
    }

    /// The database's clock is so many milliseconds ahead of ours, or behind it.
    pub fn note(&self, ahead: i64) {
        self.0.store(ahead, Ordering::Relaxed);
    }

    /// The distance, when it is too far to be trusted with work.
    pub fn too_far(&self) -> Option<Duration> {
        Some(self.apart()).filter(|apart| *apart > UNREADY)
    }

    fn apart(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}
