//! Groups at the seam: what can be said about one, and what it answers. Whose turn it is: `groups/turns.rs`.

use std::num::NonZeroU32;

use super::limits::{Limits, Rate};
use crate::error::StoreError;
use crate::options::Group;
use crate::time::Timestamp;

mod turns;

pub(crate) use turns::*;

/// The largest weight of a group.
pub const MAX_WEIGHT: u32 = 1_000;

/// What an operator sets for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its share: 1 to [`MAX_WEIGHT`], 1 by default. A group of weight 10 has ten turns for one of a group of weight 1.
    pub weight: u32,
    /// At most so many active jobs, over all workers; `None`: as [`GroupDefaults`] says.
    pub concurrency: Option<NonZeroU32>,
    /// At most so many starts in a time; `None`: as [`GroupDefaults`] says.
    pub rate: Option<Rate>,
}

/// What holds for the groups of a queue that have no setting of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupDefaults {
    /// At most so many active jobs of each group.
    pub concurrency: Option<NonZeroU32>,
    /// At most so many starts of each group in a time.
    pub rate: Option<Rate>,
}

/// An order to one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupControl {
    /// Replaces its settings; the defaults make it forget them.
    Set(GroupSettings),
    /// Give out none of its jobs.
    Pause,
    /// Give out its jobs again.
    Resume,
    /// Give out none of its jobs before this time; never shortens what is said already.
    HoldUntil(Timestamp),
    /// Forget the starts of its running window, and any hold.
    ClearRate,
}

/// Which groups of a queue to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupsWanted {
    /// These, as far as they are there, in the order asked; at most [`super::MAX_READ`].
    Ids(Vec<Group>),
    /// By id, after this one or from the beginning.
    After(Option<Group>),
}

/// A group as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its id.
    pub id: Group,
    /// What is set for it.
    pub settings: GroupSettings,
    /// Whether it gives out no jobs.
    pub paused: bool,
    /// What holds for it, by its own settings or the queue's defaults, and where its window stands.
    pub limits: Limits,
    /// Its ready jobs.
    pub waiting: u64,
    /// Its active jobs.
    pub active: u64,
    /// Whether its first job stands in the order of takes. A group whose time has come gets there by the next take.
    pub in_turn: bool,
}

/// Whether a group may start something (BullMQ Pro's `getGroupStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStatus {
    /// It may.
    Open,
    /// It is paused.
    Paused,
    /// As many of its jobs are active as may be.
    Full,
    /// As many have started as may in a time, or it has been told to wait.
    Limited(Timestamp),
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self { weight: 1, concurrency: None, rate: None }
    }
}

impl GroupSettings {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return Err(StoreError::OutOfBounds("a group's weight is 1 to 1,000"));
        }
        self.rate.map_or(Ok(()), |rate| rate.check())
    }
}

impl GroupControl {
    pub(crate) fn check(&self, group: &Group) -> Result<(), StoreError> {
        group
            .check()
            .map_err(|_| StoreError::OutOfBounds("a group's id is 1 to 255 bytes without control characters"))?;
        if let GroupControl::Set(settings) = self { settings.check() } else { Ok(()) }
    }
}

impl GroupInfo {
    /// Whether it may start something at `now`.
    pub fn status(&self, now: Timestamp) -> GroupStatus {
        status(self.paused, &self.limits, self.active, now)
    }
}

fn status(paused: bool, limits: &Limits, active: u64, now: Timestamp) -> GroupStatus {
    if paused {
        return GroupStatus::Paused;
    }
    if limits.is_full(active) {
        return GroupStatus::Full;
    }
    limits.limited_until(None, now).map_or(GroupStatus::Open, GroupStatus::Limited)
}
