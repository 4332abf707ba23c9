//! Bounds of the seam, and the checks that every store makes before anything else.

use std::time::Duration;

use super::groups::{GroupDefaults, GroupsWanted};
use super::repeat::Repeats;
use super::sweep::*;
use super::verbs::*;
use crate::error::StoreError;

/// The most jobs in one add.
pub const MAX_ADD: usize = 10_000;
/// The most children of one job, those that have ended included.
pub const MAX_CHILDREN: usize = 10_000;
/// The most verdicts, and the most jobs taken, in one turn.
pub const MAX_TURN: usize = 1_000;
/// The most locks in one beat.
pub const MAX_BEAT: usize = 10_000;
/// The most changes in one edit.
pub const MAX_EDIT: usize = 1_000;
/// The most items in one read, rescue or sweep step.
pub const MAX_READ: u32 = 1_000;
/// Due delayed jobs that one turn makes ready at the most.
pub const MAX_PROMOTE: usize = 200;
/// Finished jobs that retention removes at the most for each job that finishes.
pub const MAX_EVICT: usize = 2;
/// Log lines of one job that are kept at the most.
pub const MAX_LOGS: u32 = 1_000;
/// The longest log line in bytes; the rest is cut.
pub const MAX_LOG_LINE: usize = 8 * 1024;
/// Events kept per queue, about.
pub const MAX_EVENTS: u64 = 10_000;
/// A worker that has not been heard of for this long is no longer listed.
pub const WORKER_GONE: Duration = Duration::from_secs(60);
/// How long callers of this crate wait for a store, or a journal, before they give a call up and ask again. Stores say much sooner that
/// they cannot answer: this is for what hangs. What was given up may be carried out all the same.
pub const ANSWER: Duration = Duration::from_secs(60);

/// Refuses a request that is larger than allowed; `what` is the whole sentence.
pub(crate) fn within(count: usize, most: usize, what: &'static str) -> Result<(), StoreError> {
    if count > most { Err(StoreError::OutOfBounds(what)) } else { Ok(()) }
}

/// A log line, cut to [`MAX_LOG_LINE`] bytes at a character.
pub(crate) fn cut_line(line: &str) -> &str {
    &line[..line.floor_char_boundary(MAX_LOG_LINE)]
}

impl Add {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.jobs.len(), MAX_ADD, "more than 10,000 jobs in one add")
    }
}

impl Turn {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.ends.len(), MAX_TURN, "more than 1,000 verdicts in one turn")?;
        within(self.take.as_ref().map_or(0, |take| take.most), MAX_TURN, "more than 1,000 jobs in one take")
    }
}

impl Beat {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.locks.len(), MAX_BEAT, "more than 10,000 locks in one beat")
    }
}

impl Rescue {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.most as usize, MAX_READ as usize, "more than 1,000 jobs in one rescue")
    }
}

impl EditAll {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.edits.len(), MAX_EDIT, "more than 1,000 changes in one edit")
    }
}

impl Repeats {
    pub(crate) fn check(&self, most: u32) -> Result<(), StoreError> {
        let ids = if let Repeats::Ids(ids) = self { ids.len() } else { 0 };
        within(ids.max(most as usize), MAX_READ as usize, "more than 1,000 schedulers in one read")
    }
}

impl GroupsWanted {
    pub(crate) fn check(&self, most: u32) -> Result<(), StoreError> {
        let ids = if let GroupsWanted::Ids(ids) = self { ids.len() } else { 0 };
        within(ids.max(most as usize), MAX_READ as usize, "more than 1,000 groups in one read")
    }
}

impl Sweep {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if matches!(self.what, SweepWhat::Clean(state, _) if !state.is_final()) {
            return Err(StoreError::OutOfBounds("only completed and failed jobs can be cleaned"));
        }
        within(self.most as usize, MAX_READ as usize, "more than 1,000 jobs in one sweep step")
    }
}

/// A step that removes nothing would go on for ever.
pub(crate) fn obliterate_step(most: u32) -> Result<(), StoreError> {
    if most == 0 {
        return Err(StoreError::OutOfBounds("a step of removing a queue removes at least one job"));
    }
    within(most as usize, MAX_READ as usize, "more than 1,000 jobs in one step of removing a queue")
}

impl Control {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self {
            Control::Rate(Some(rate)) => rate.check(),
            Control::GroupDefaults(GroupDefaults { rate: Some(rate), .. }) => rate.check(),
            _ => Ok(()),
        }
    }
}

impl List {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.most as usize, MAX_READ as usize, "more than 1,000 jobs in one page")
    }
}
