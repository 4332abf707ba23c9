//! The ledger of a scheduler: what became of its slots.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Misfire, Overlap, Repeat};
use crate::exit::FailureKind;
use crate::time::Timestamp;

/// A job that is started later than this after its slot is late.
pub const LATE_AFTER: Duration = Duration::from_secs(10);
/// Ticks kept for each scheduler: the newest.
pub const MAX_TICKS: usize = 100;
/// Slots of a cron pattern that are counted one by one in a tick; a count of this many means "or more".
pub const MAX_COUNTED: u64 = 1_000;

/// What became of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// Its job was started within 10 s ([`LATE_AFTER`]).
    Run,
    /// Its job was started later than that.
    Late,
    /// It was left out as the definition says: its job was not started within the time of [`Misfire::Skip`], or the slot
    /// passed under that policy or under [`Overlap::Skip`].
    Skipped,
    /// It was left out though the definition asks for nothing of the kind: its job was removed, or canceled before it was
    /// started; or the slot passed while no worker started the job before it, as [`Misfire::One`] puts up with; or it lay
    /// further back than [`MAX_CATCH_UP`](super::MAX_CATCH_UP).
    Missed,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Fate; 4] = [Fate::Run, Fate::Late, Fate::Skipped, Fate::Missed];

    /// Its word, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Run => "run",
            Fate::Late => "late",
            Fate::Skipped => "skipped",
            Fate::Missed => "missed",
        }
    }

    /// The fate of a slot whose job was taken at `taken`; `unrun` says why its handler was not called.
    pub(crate) fn of(slot: Timestamp, taken: Timestamp, unrun: Option<FailureKind>) -> Fate {
        match unrun {
            Some(FailureKind::Expired) => Fate::Skipped,
            Some(FailureKind::Canceled | FailureKind::Damaged) => Fate::Missed,
            _ if taken.since(slot) <= LATE_AFTER => Fate::Run,
            _ => Fate::Late,
        }
    }
}

/// What became of one slot, or of several that were left out one after the other. See [`crate::Queue::ticks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// What became of it.
    pub fate: Fate,
    /// The slot, or the first of several.
    pub first: Timestamp,
    /// The last of several; else the same.
    pub last: Timestamp,
    /// How many; of a cron pattern, [`MAX_COUNTED`] means that many or more.
    pub count: u64,
    /// When its job was taken; when it was found out, for slots without one.
    pub at: Timestamp,
}

impl Tick {
    /// What became of a single slot.
    pub fn one(fate: Fate, slot: Timestamp, at: Timestamp) -> Self {
        Self { fate, first: slot, last: slot, count: 1, at }
    }
}

impl Repeat {
    /// The slots that are left out when the next job after the one of `slot` is due at `next`, or never, as one tick.
    pub(crate) fn left_out(&self, slot: Timestamp, next: Option<Timestamp>, now: Timestamp) -> Option<Tick> {
        let ended = self.end.map_or(now, |end| now.min(end.plus(Duration::from_millis(1))));
        let (first, last, count) = self.between(slot, next.unwrap_or(ended))?;
        let asked = matches!(self.misfire, Misfire::Skip { .. }) || self.overlap == Overlap::Skip;
        let fate = if asked { Fate::Skipped } else { Fate::Missed };
        Some(Tick { fate, first, last, count, at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_late_after_ten_seconds() {
        let at = Timestamp::from_millis;
        assert_eq!(Fate::of(at(0), at(10_000), None), Fate::Run);
        assert_eq!(Fate::of(at(0), at(10_001), None), Fate::Late);
        assert_eq!(Fate::of(at(9), at(5), None), Fate::Run);
        assert_eq!(Fate::of(at(0), at(99_999), Some(FailureKind::Stalled)), Fate::Late);
        assert_eq!(Fate::of(at(0), at(1), Some(FailureKind::Expired)), Fate::Skipped);
        assert_eq!(Fate::of(at(0), at(1), Some(FailureKind::Canceled)), Fate::Missed);
    }

    #[test]
    fn a_fate_is_named_as_it_is_stored() {
        for fate in Fate::ALL {
            assert_eq!(serde_json::to_string(&fate).unwrap(), format!("\"{}\"", fate.name()));
        }
    }
}
