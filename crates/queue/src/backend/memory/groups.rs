//! Groups in memory: heads in the order of takes, lines behind them. The rules are in `backend/groups.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::lane::{Job, Key, Lane};
use crate::backend::groups::{BEHIND, Entry, Fair, Move, Standing};
use crate::backend::*;
use crate::job::JobId;
use crate::options::{GROUPED_CLASS, Group};
use crate::state::Place;
use crate::time::Timestamp;

/// The groups of one queue.
#[derive(Debug, Default)]
pub(super) struct Groups {
    fair: Fair,
    all: BTreeMap<Group, Standing>,
    numbers: BTreeMap<u32, Group>,
    /// Those that are to be looked at again; of idle ones nothing else is to be known then.
    dues: BTreeSet<(bool, Timestamp, u32)>,
}

impl Groups {
    /// A group as it stands, made when it is not there. For each that is made two are forgotten whose time is over.
    fn open(&mut self, id: &Group, now: Timestamp) -> Standing {
        if let Some(standing) = self.all.get(id) {
            return *standing;
        }
        for _ in 0..MAX_EVICT {
            let over = self.dues.range((true, Timestamp::from_millis(i64::MIN), 0)..=(true, now, u32::MAX)).next();
            let Some(over) = over.and_then(|(_, _, number)| self.numbers.get(number)).cloned() else { break };
            self.forget(&over);
        }
        let mut number = self.fair.next_number();
        while self.numbers.contains_key(&number) {
            number = self.fair.next_number();
        }
        let standing = Standing::new(number);
        self.numbers.insert(number, id.clone());
        self.all.insert(id.clone(), standing);
        self.fair.groups += 1;
        standing
    }

    fn put(&mut self, id: &Group, standing: Standing) {
        let due = |of: &Standing| of.due.map(|due| (of.idle(), due, of.number));
        if let Some(old) = self.all.insert(id.clone(), standing).and_then(|old| due(&old)) {
            self.dues.remove(&old);
        }
        self.dues.extend(due(&standing));
        if standing.forgettable() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: &Group) {
        let Some(old) = self.all.remove(id) else { return };
        self.numbers.remove(&old.number);
        if let Some(due) = old.due {
            self.dues.remove(&(old.idle(), due, old.number));
        }
        self.fair.groups = self.fair.groups.saturating_sub(1);
    }

    pub(super) fn info(&self, id: &Group) -> Option<GroupInfo> {
        self.all.get(id).map(|standing| standing.info(id.clone(), &self.fair.defaults))
    }

    pub(super) fn read(&self, wanted: &GroupsWanted, most: u32) -> Vec<GroupInfo> {
        let most = most as usize;
        match wanted {
            GroupsWanted::Ids(ids) => ids.iter().filter_map(|id| self.info(id)).take(most).collect(),
            GroupsWanted::After(after) => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let found = self.all.range((from, Bound::Unbounded)).take(most);
                found.map(|(id, standing)| standing.info(id.clone(), &self.fair.defaults)).collect()
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.fair.groups
    }

    pub(super) fn defaults(&self) -> GroupDefaults {
        self.fair.defaults
    }
}

impl Lane {
    /// Puts a job among the ready ones, to the front or the back of its class or group.
    pub(super) fn put_ready(&mut self, id: &JobId, front: bool, now: Timestamp) {
        let Some(job) = self.jobs.get(id) else { return };
        let (options, was_active) = (job.options.clone(), job.place == Place::Active);
        let turn = if front { self.front() } else { self.back() };
        let Some(group) = &options.group else {
            return self.place(id, Place::Ready, (i64::from(options.priority), turn), now);
        };
        let mut standing = self.groups.open(group, now);
        if was_active {
            self.groups.fair.ended(&mut standing);
        }
        let key = self.enter(&mut standing, front, turn, now);
        self.place(id, Place::Ready, key, now);
        self.settle_group(group, standing, now);
    }

    /// The key of a new ready job of a group. [`Lane::settle_group`] is not needed after it.
    pub(super) fn key_of_new(&mut self, group: &Group, front: bool, now: Timestamp) -> Key {
        let mut standing = self.groups.open(group, now);
        let turn = if front { self.front() } else { self.back() };
        let key = self.enter(&mut standing, front, turn, now);
        // One that goes into the line finds there what keeps it, so that this moves nothing.
        self.settle_group(group, standing, now);
        key
    }

    fn enter(&mut self, standing: &mut Standing, front: bool, turn: i64, now: Timestamp) -> Key {
        match self.groups.fair.enter(standing, front, now) {
            Entry::Head(key) => key,
            Entry::Before(key) => {
                self.lower(key, standing, now);
                key
            }
            Entry::Line => (standing.line(), turn),
        }
    }

    fn settle_group(&mut self, group: &Group, mut standing: Standing, now: Timestamp) {
        match self.groups.fair.settle(&mut standing, now) {
            Move::Stay => {}
            Move::Raise(key) => {
                let line = standing.line();
                let first = self.walk_after(Place::Ready, (line, i64::MIN)).next();
                if let Some(id) = first.filter(|((of, _), _)| *of == line).map(|(_, id)| id.clone()) {
                    self.place(&id, Place::Ready, key, now);
                }
            }
            Move::Lower(key) => self.lower(key, &standing, now),
        }
        self.groups.put(group, standing);
    }

    fn lower(&mut self, key: Key, standing: &Standing, now: Timestamp) {
        let turn = self.front();
        if let Some(head) = self.at(Place::Ready, key) {
            self.place(&head, Place::Ready, (standing.line(), turn), now);
        }
    }

    /// A job of a group has left `active`, but not for the ready ones.
    pub(super) fn ended_in_group(&mut self, group: &Group, now: Timestamp) {
        let mut standing = self.groups.open(group, now);
        self.groups.fair.ended(&mut standing);
        self.settle_group(group, standing, now);
    }

    /// A job that was removed from where it was.
    pub(super) fn removed_from_group(&mut self, job: &Job, now: Timestamp) {
        let Some(group) = &job.options.group else { return };
        match job.place {
            Place::Active => self.ended_in_group(group, now),
            Place::Ready => {
                let mut standing = self.groups.open(group, now);
                self.groups.fair.removed(&mut standing, job.key.0 < BEHIND);
                self.settle_group(group, standing, now);
            }
            _ => {}
        }
    }

    /// The head of a group has become active.
    pub(super) fn taken_from_group(&mut self, held: &Held, now: Timestamp) {
        let Some(group) = &held.options.group else { return };
        let mut standing = self.groups.open(group, now);
        self.groups.fair.taken(&mut standing, held.failed_already.is_none(), now);
        self.settle_group(group, standing, now);
    }

    /// The job that is to be taken next. Heads of groups that may start nothing leave the order.
    pub(super) fn next_to_take(&mut self, now: Timestamp) -> Option<JobId> {
        loop {
            let ((class, _), id) = self.first(Place::Ready)?;
            if class < i64::from(GROUPED_CLASS) {
                return Some(id);
            }
            let group = self.jobs.get(&id)?.options.group.clone()?;
            let standing = self.groups.open(&group, now);
            if !standing.head || class >= BEHIND {
                return None;
            }
            if standing.status(&self.groups.fair.defaults, now) == GroupStatus::Open {
                return Some(id);
            }
            self.settle_group(&group, standing, now);
        }
    }

    /// Gives groups their heads whose time has come; answers how many were looked at.
    pub(super) fn wake_groups(&mut self, now: Timestamp) -> usize {
        let due = self.groups.dues.range(..=(false, now, u32::MAX)).take(MAX_PROMOTE);
        let due: Vec<Group> = due.filter_map(|(_, _, number)| self.groups.numbers.get(number)).cloned().collect();
        for group in &due {
            let standing = self.groups.open(group, now);
            self.settle_group(group, standing, now);
        }
        due.len()
    }

    /// Whether any job stands in the order of takes.
    pub(super) fn takeable(&self) -> bool {
        self.first(Place::Ready).is_some_and(|((class, _), _)| class < BEHIND)
    }

    /// When the next group may start something that has jobs and may start none now.
    pub(super) fn next_group(&self) -> Option<Timestamp> {
        self.groups.dues.first().filter(|(idle, _, _)| !idle).map(|(_, due, _)| *due)
    }

    pub(super) fn order_group(&mut self, group: &Group, what: GroupControl, now: Timestamp) {
        let mut standing = self.groups.open(group, now);
        if let Move::Lower(key) = self.groups.fair.order(&mut standing, what) {
            self.lower(key, &standing, now);
        }
        self.settle_group(group, standing, now);
        self.bell.work.notify_one();
    }

    pub(super) fn group_defaults(&mut self, defaults: GroupDefaults, now: Timestamp) {
        self.groups.fair.defaults = defaults;
        for group in self.groups.numbers.values().cloned().collect::<Vec<_>>() {
            let standing = self.groups.open(&group, now);
            self.settle_group(&group, standing, now);
        }
    }

    /// Ready jobs of its group in front of a job, counted up to a bound.
    pub(super) fn ahead_in_group(&self, group: &Group, key: Key) -> u32 {
        let Some(standing) = self.groups.all.get(group).filter(|_| key.0 >= BEHIND) else { return 0 };
        let line = self.walk_after(Place::Ready, (standing.line(), i64::MIN)).take_while(|(other, _)| *other < key);
        u32::from(standing.head) + line.take(MAX_AHEAD as usize + 1 - usize::from(standing.head)).count() as u32
    }
}
