//! What a scheduler does about slots that nobody could serve in time, and about runs that take longer than the time between
//! two slots.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MIN_EVERY;
use crate::backoff::millis;
use crate::error::BadRepeat;
use crate::options::MAX_DELAY;

/// How far back [`Misfire::All`] catches up: 365 days. Slots that lie further back are left out.
pub const MAX_CATCH_UP: Duration = MAX_DELAY;

/// What becomes of slots that pass while no worker is there.
///
/// At any time at most one job of a scheduler waits, whatever the policy: no outage, however long, floods a queue.
///
/// ```
/// # use std::time::Duration;
/// # use launchkit_queue::{Misfire, Repeat, Schedule};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pulse = Repeat::named("pulse", Schedule::Every(Duration::from_secs(60)), "pulse", &())?;
/// // A reading that is five minutes old is worth nothing.
/// let fresh = Repeat { misfire: Misfire::Skip { after: Duration::from_secs(300) }, ..pulse.clone() };
/// // An invoice run is made up for, each of them.
/// let each = Repeat { misfire: Misfire::All, ..pulse };
/// assert!(fresh.check().is_ok() && each.check().is_ok());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Misfire {
    /// The job that waits runs once, late; the slots that passed meanwhile are left out. As in BullMQ.
    #[default]
    One,
    /// A job that no worker has started within a time after its slot is not run: its taker fails it as expired
    /// ([`FailureKind::Expired`](crate::FailureKind::Expired)). The next one is due at the first slot that lies ahead. What a
    /// worker took and did not end, since it died, counts as started: the next one runs it.
    Skip {
        /// The time: whole milliseconds, a second to 365 days. A job that was started within it keeps its further tries.
        #[serde(with = "millis")]
        after: Duration,
    },
    /// Each slot gets its job, one after the other: as soon as one is started (with [`Overlap::Skip`]: has ended), the next
    /// one is ready, until the present is reached. Slots further back than [`MAX_CATCH_UP`] are left out.
    All,
}

/// Whether a run may begin while the one before it goes on.
///
/// ```
/// # use std::time::Duration;
/// # use launchkit_queue::{Overlap, Repeat, Schedule};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sync = Repeat::named("sync", Schedule::Every(Duration::from_secs(10)), "sync", &())?;
/// let alone = Repeat { overlap: Overlap::Skip, ..sync };
/// assert!(alone.check().is_ok());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// The next job is made when the one before it is started, and may run beside it. As in BullMQ.
    #[default]
    Allow,
    /// The next job is made when the one before it has ended for good: completed, or failed without a try left; waiting for
    /// another try is no end. Slots that pass meanwhile are left out; with [`Misfire::All`] they are caught up, one after the
    /// other.
    ///
    /// What counts is the scheduler's current job. A definition with other times begins anew, also beside a job that still
    /// runs, and a job that is retried by hand after its end holds up nothing.
    Skip,
}

impl Misfire {
    /// Refuses a tolerance that no store may hold.
    pub(super) fn check(self) -> Result<(), BadRepeat> {
        match self {
            Misfire::Skip { after }
                if after < MIN_EVERY || after > MAX_DELAY || after.subsec_nanos() % 1_000_000 > 0 =>
            {
                Err(BadRepeat::Tolerance(after))
            }
            Misfire::One | Misfire::Skip { .. } | Misfire::All => Ok(()),
        }
    }
}
