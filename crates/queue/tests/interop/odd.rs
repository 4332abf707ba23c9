//! What peers do differently, each with the reason: from BullMQ's wire facts, or from what these cells observed. A cell asks a
//! row and asserts what the row says, so that a row that is true no longer fails.

use crate::side::Who;

/// A way in which some peers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// No worker's name is written to the jobs that it takes. Python 3.4.4, observed.
    NoWorkerName,
    /// An attempt that will be repeated leaves no failedReason. The crate, wire facts 13.1.
    SilentRetry,
    /// The owner keeps its time whatever `reschedule` says. The crate does not know it (wire facts 13.1); Python 3.4.4 stores
    /// it and does nothing, observed.
    NoReschedule,
    /// After a limit its worker looks again only when its wait for jobs times out (`drainDelay`, 5 s), also on a queue that
    /// nobody else uses. Python 3.4.4, observed.
    WaitsAtLimits,
    /// Its reader leaves out `prev` of an end, which is always `active`. Ours.
    NoPrevOfEnds,
}

impl Odd {
    pub(crate) fn is(self, who: Who) -> bool {
        let peers: &[Who] = match self {
            Self::NoWorkerName | Self::WaitsAtLimits => &[Who::Python],
            Self::NoReschedule => &[Who::Official, Who::Python],
            Self::SilentRetry => &[Who::Official],
            Self::NoPrevOfEnds => &[Who::Ours],
        };
        peers.contains(&who)
    }
}
