//! What peers do differently, each with the reason: from BullMQ's wire facts, or from what these cells observed. A cell asks a
//! row and asserts what the row says, so that a row that is true no longer fails.

use crate::side::Who;

/// A way in which some peers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// No worker's name is written to the jobs that it takes. Python 3.4.4, observed.
    NoWorkerName,
    /// An attempt that will be repeated leaves no failedReason. The crate, wire facts 13.1.
    SilentRetry,
    /// `reschedule` is not known: the owner keeps its time. The crate, wire facts 13.1.
    NoReschedule,
    /// Putting a scheduler again begins a new slot.
    OwnSlot,
    /// Its reader leaves out where a parent came from.
    NoPrevOfChildren,
}

impl Odd {
    pub fn is(self, who: Who) -> bool {
        let peers: &[Who] = match self {
            Self::NoWorkerName => &[Who::Python],
            Self::SilentRetry | Self::NoReschedule | Self::NoPrevOfChildren => &[Who::Official],
            Self::OwnSlot => &[],
        };
        peers.contains(&who)
    }
}
