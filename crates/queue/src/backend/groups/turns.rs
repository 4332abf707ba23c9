//! Whose turn it is among groups: the rules that stores share, pure. What a store does with them: `memory/groups.rs`,
//! `sqlite/groups.rs`; over again in Lua: `redis/scripts/groups.lua`.
//!
//! Of each group that may start something, the first job alone, its *head*, stands in the order that takes read; the others
//! stand in the group's own line. A group that is paused, full or over its rate has no head. So a take reads a range, and
//! what is set for a group moves one job, however many wait behind it.
//!
//! Heads are ordered by start-time fair queueing. The queue's virtual time is the key of the head that was taken last; a new
//! head's key is the later of that and the group's last key, and a step more: the larger the weight, the smaller the step.

use super::{GroupControl, GroupDefaults, GroupInfo, GroupSettings, GroupStatus, MAX_WEIGHT, status};
use crate::backend::limits::Limits;
use crate::backend::verbs::{Cursor, Next};
use crate::options::{GROUPED_CLASS, Group};
use crate::state::Place;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// The step of a group of weight 1.
const STEP: i64 = 1_000_000;
/// Where virtual time ends: some 9 million million turns of a group of weight 1.
const END_OF_TIME: i64 = i64::MAX - (1 << 53);
/// Bits of virtual time in the second order number; the rest is in the first.
const LOW: u32 = 31;
/// The first order numbers of jobs behind their heads begin here.
pub(crate) const BEHIND: i64 = 1 << 32;

/// Order numbers of a ready job.
pub(crate) type Key = (i64, i64);

/// What a store keeps of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its number within the queue, while it is there.
    pub(crate) number: u32,
    pub(crate) weight: u32,
    pub(crate) paused: bool,
    /// Its own, with its window.
    pub(crate) limits: Limits,
    /// The virtual time of its head, or of the one before.
    pub(crate) last: i64,
    pub(crate) waiting: u64,
    pub(crate) active: u64,
    pub(crate) head: bool,
    /// When it is to be looked at again: it may start something then, or be forgotten.
    pub(crate) due: Option<Timestamp>,
}

/// What a store keeps of all groups of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fair {
    /// Virtual time.
    pub(crate) time: i64,
    /// The number that was given last.
    pub(crate) number: u32,
    pub(crate) defaults: GroupDefaults,
    /// Groups that are there.
    pub(crate) groups: u64,
    /// Ready jobs that are not heads.
    pub(crate) behind: u64,
    /// No group with waiting jobs is due before.
    pub(crate) due: Option<Timestamp>,
    /// Groups with a larger number have not been looked at since the defaults changed.
    pub(crate) unseen: Option<u32>,
}

/// Where a job goes that has become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is the head of its group.
    Head(Key),
    /// The same; the head there is goes to the front of the line.
    Before(Key),
    /// Into the line.
    Line,
}

/// What follows a change to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Stay,
    /// The first of the line becomes its head.
    Raise(Key),
    /// The head goes back to the front of the line.
    Lower(Key),
}

impl Standing {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            weight: 1,
            paused: false,
            limits: Limits::default(),
            last: 0,
            waiting: 0,
            active: 0,
            head: false,
            due: None,
        }
    }

    /// The first order number of its jobs behind the head.
    pub(crate) fn line(&self) -> i64 {
        BEHIND + i64::from(self.number)
    }

    /// The order numbers of its head: no two groups have the same.
    pub(crate) fn key(&self) -> Key {
        let low = self.last & ((1 << LOW) - 1);
        (i64::from(GROUPED_CLASS) + (self.last >> LOW), (low << 32) | i64::from(self.number))
    }

    pub(crate) fn idle(&self) -> bool {
        self.waiting == 0 && self.active == 0
    }

    /// Whether nothing of it is worth remembering.
    pub(crate) fn forgettable(&self) -> bool {
        self.plain() && self.idle() && self.due.is_none()
    }

    pub(crate) fn info(&self, id: Group, defaults: &GroupDefaults) -> GroupInfo {
        let Limits { concurrency, rate, .. } = self.limits;
        GroupInfo {
            id,
            settings: GroupSettings { weight: self.weight, concurrency, rate },
            paused: self.paused,
            limits: self.holding(defaults),
            waiting: self.waiting,
            active: self.active,
            in_turn: self.head,
        }
    }

    /// Whether it may start something.
    pub(crate) fn status(&self, defaults: &GroupDefaults, now: Timestamp) -> GroupStatus {
        status(self.paused, &self.holding(defaults), self.active, now)
    }

    fn plain(&self) -> bool {
        !self.paused && self.weight == 1 && self.limits.concurrency.is_none() && self.limits.rate.is_none()
    }

    fn holding(&self, defaults: &GroupDefaults) -> Limits {
        let (concurrency, rate) = (self.limits.concurrency, self.limits.rate);
        Limits { concurrency: concurrency.or(defaults.concurrency), rate: rate.or(defaults.rate), ..self.limits }
    }

    /// Until when its window or a hold matters.
    fn remembered(&self, defaults: &GroupDefaults, now: Timestamp) -> Option<Timestamp> {
        let window = self.limits.rate.or(defaults.rate).filter(|_| self.limits.used > 0);
        let window = window.and_then(|rate| rate.window_end(self.limits.window_start, now));
        window.max(Some(self.limits.until).filter(|until| *until > now))
    }

    fn step(&self) -> i64 {
        STEP / i64::from(self.weight.clamp(1, MAX_WEIGHT))
    }

    /// Its head goes without having been taken: the turn is not used up.
    fn refund(&mut self) {
        self.head = false;
        self.last = (self.last - self.step()).max(0);
    }
}

impl Fair {
    /// A number for a new group; the store asks again while it is taken.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// A job becomes ready.
    pub(crate) fn enter(&mut self, group: &mut Standing, front: bool, now: Timestamp) -> Entry {
        group.waiting += 1;
        if group.head {
            self.behind += 1;
            return if front { Entry::Before(group.key()) } else { Entry::Line };
        }
        let first = front || group.waiting == 1;
        if first && group.status(&self.defaults, now) == GroupStatus::Open {
            return Entry::Head(self.raise(group));
        }
        self.behind += 1;
        Entry::Line
    }

    /// Its head has become active; `starts` when it is to run.
    pub(crate) fn taken(&mut self, group: &mut Standing, starts: bool, now: Timestamp) {
        self.time = self.time.max(group.last);
        group.head = false;
        group.waiting = group.waiting.saturating_sub(1);
        group.active += 1;
        group.limits.started(u32::from(starts), self.defaults.rate, now);
    }

    /// A ready job is removed.
    pub(crate) fn removed(&mut self, group: &mut Standing, head: bool) {
        group.waiting = group.waiting.saturating_sub(1);
        if head {
            group.refund();
        } else {
            self.behind = self.behind.saturating_sub(1);
        }
    }

    /// One of its active jobs is active no longer.
    pub(crate) fn ended(&mut self, group: &mut Standing) {
        group.active = group.active.saturating_sub(1);
    }

    /// Carries out an order; [`Fair::settle`] is to follow, which raises a head again that another weight has lowered.
    pub(crate) fn order(&mut self, group: &mut Standing, what: GroupControl) -> Move {
        let mut moved = Move::Stay;
        match what {
            GroupControl::Set(GroupSettings { weight, concurrency, rate }) => {
                if group.head && weight != group.weight {
                    moved = self.lower(group);
                }
                group.weight = weight;
                (group.limits.concurrency, group.limits.rate) = (concurrency, rate);
            }
            GroupControl::Pause => group.paused = true,
            GroupControl::Resume => group.paused = false,
            GroupControl::HoldUntil(until) => group.limits.hold(until),
            GroupControl::ClearRate => group.limits.clear(),
        }
        moved
    }

    /// After any change: whether the group gets a head or loses it, and when it is to be looked at again.
    pub(crate) fn settle(&mut self, group: &mut Standing, now: Timestamp) -> Move {
        let status = group.status(&self.defaults, now);
        let moved = match (group.head, group.waiting > 0 && status == GroupStatus::Open) {
            (false, true) => {
                self.behind = self.behind.saturating_sub(1);
                Move::Raise(self.raise(group))
            }
            (true, false) => self.lower(group),
            _ => Move::Stay,
        };
        group.due = match status {
            GroupStatus::Limited(until) if group.waiting > 0 => Some(until),
            _ if group.idle() && group.plain() => group.remembered(&self.defaults, now),
            _ => None,
        };
        if let Some(due) = group.due.filter(|_| group.waiting > 0) {
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
        }
        moved
    }

    fn lower(&mut self, group: &mut Standing) -> Move {
        let key = group.key();
        group.refund();
        self.behind += 1;
        Move::Lower(key)
    }

    fn raise(&self, group: &mut Standing) -> Key {
        group.last = self.time.max(group.last).saturating_add(group.step()).min(END_OF_TIME);
        group.head = true;
        group.key()
    }
}

/// What comes next when no job stands in the order of takes: whether any is ready all the same, when a delayed job is due,
/// when a group may start something.
pub(crate) fn next(ready: bool, due: Option<Timestamp>, group: Option<Timestamp>) -> Next {
    match (due, group) {
        (due, Some(group)) => Next::Limited(due.map_or(group, |due| due.min(group))),
        (Some(due), None) => Next::At(due),
        (None, None) if ready => Next::Full,
        (None, None) => Next::Empty,
    }
}

/// The ranges of order numbers, ends included, that a sweep up to `last` walks one after the other. Jobs behind heads come
/// first: those of which one becomes a head because another is removed have been looked at then.
pub(crate) fn ranges(place: Place, after: Option<Cursor>, last: i64) -> Vec<(Cursor, i64)> {
    let start = after.unwrap_or(Cursor(i64::MIN, i64::MIN));
    if place != Place::Ready {
        return vec![(start, last)];
    }
    match after {
        Some(Cursor(class, _)) if class < BEHIND => vec![(start, last.min(BEHIND - 1))],
        _ => {
            let heads = (Cursor(i64::MIN, i64::MIN), last.min(BEHIND - 1));
            vec![(start.max(Cursor(BEHIND, i64::MIN)), last), heads]
        }
    }
}
