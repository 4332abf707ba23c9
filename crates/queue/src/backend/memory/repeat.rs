//! Job schedulers in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::lane::Lane;
use crate::backend::repeat::{Old, holds_up, is_stuck, iteration, plan, spent, standing};
use crate::backend::*;
use crate::event::Event;
use crate::job::JobId;
use crate::repeat::{MAX_TICKS, Repeat, Tick};
use crate::state::Place;
use crate::time::Timestamp;

/// The schedulers of one queue.
#[derive(Debug, Default)]
pub(super) struct Schedulers {
    all: BTreeMap<Arc<str>, Scheduled>,
    slots: BTreeSet<(Timestamp, Arc<str>)>,
    ticks: BTreeMap<Arc<str>, BTreeMap<Timestamp, Tick>>,
}

impl Schedulers {
    fn store(&mut self, scheduled: Scheduled) {
        let id = scheduled.repeat.id.clone();
        self.remove(&id);
        self.slots.extend(scheduled.slot.map(|slot| (slot, id.clone())));
        self.all.insert(id, scheduled);
    }

    fn remove(&mut self, id: &Arc<str>) -> Option<Scheduled> {
        let old = self.all.remove(id)?;
        if let Some(slot) = old.slot {
            self.slots.remove(&(slot, id.clone()));
        }
        Some(old)
    }

    /// Notes what became of slots; the first word on a slot is kept.
    fn note(&mut self, id: &Arc<str>, ticks: impl IntoIterator<Item = Tick>) {
        let kept = self.ticks.entry(id.clone()).or_default();
        for tick in ticks {
            kept.entry(tick.first).or_insert(tick);
        }
        while kept.len() > MAX_TICKS {
            kept.pop_first();
        }
    }
}

impl Lane {
    /// Puts a definition in place and its job into its slot.
    pub(super) fn put_repeat(&mut self, put: &Put, now: Timestamp, told: &mut Vec<Event>) -> Edited {
        let id = &put.repeat.id;
        let found = self.schedulers.all.get(id);
        let place = found.and_then(|old| old.slot).and_then(|slot| self.standing(&JobId::of_iteration(id, slot)));
        let old = found.map(|old| Old { repeat: &old.repeat, slot: old.slot, count: old.count, place });
        let plan = plan(put, old.as_ref(), now);
        if let Some(slot) = plan.slot.filter(|slot| plan.make && plan.remove != Some(*slot))
            && let Some(taken) = self.jobs.get(&JobId::of_iteration(id, slot))
        {
            return Edited::WrongState(taken.state());
        }
        if let Some(slot) = plan.remove {
            self.withdraw(&JobId::of_iteration(id, slot), now, told);
        }
        if let Some(slot) = plan.slot.filter(|_| plan.make) {
            self.make(&put.repeat, slot, now, told);
        }
        self.schedulers.store(Scheduled { repeat: put.repeat.clone(), slot: plan.slot, count: plan.count });
        self.schedulers.note(id, plan.missed);
        plan.slot.map_or(Edited::Done, Edited::Due)
    }

    /// Removes a definition with its ticks, and its job if that still waits for its slot.
    pub(super) fn drop_repeat(&mut self, id: &Arc<str>, now: Timestamp, told: &mut Vec<Event>) -> Edited {
        let Some(old) = self.schedulers.remove(id) else {
            return Edited::Missing;
        };
        self.schedulers.ticks.remove(id);
        let job = old.slot.map(|slot| JobId::of_iteration(id, slot));
        if let Some(job) = job.filter(|job| self.standing(job) == Some(Place::Delayed)) {
            self.withdraw(&job, now, told);
        }
        Edited::Done
    }

    /// Makes the next job of a scheduler that stands at the given slot.
    pub(super) fn advance(&mut self, step: &Advance, now: Timestamp, told: &mut Vec<Event>) -> Edited {
        let Some(old) = self.schedulers.all.get(&step.id).filter(|old| old.slot == Some(step.slot)).cloned() else {
            return Edited::Missing;
        };
        if holds_up(&old.repeat, self.place_of(&JobId::of_iteration(&step.id, step.slot))) {
            self.schedulers.note(&step.id, [step.tick]);
            return Edited::Locked;
        }
        let Some(next) = step.next.filter(|_| !spent(&old.repeat, old.count)) else {
            self.schedulers.store(Scheduled { slot: None, ..old });
            self.schedulers.note(&step.id, step.ticks());
            return Edited::Done;
        };
        if let Some(taken) = self.jobs.get(&JobId::of_iteration(&step.id, next)) {
            return Edited::WrongState(taken.state());
        }
        self.make(&old.repeat, next, now, told);
        self.schedulers.store(Scheduled { slot: Some(next), count: old.count + 1, ..old });
        self.schedulers.note(&step.id, step.ticks());
        Edited::Due(next)
    }

    fn place_of(&self, id: &JobId) -> Option<Place> {
        self.jobs.get(id).map(|job| job.place)
    }

    fn standing(&self, id: &JobId) -> Option<Place> {
        self.jobs.get(id).map(|job| standing(job.place, job.started))
    }

    fn make(&mut self, repeat: &Repeat, slot: Timestamp, now: Timestamp, told: &mut Vec<Event>) {
        self.next_id();
        let (id, job) = iteration(repeat, slot, now);
        self.store(id, job, now, told);
    }

    fn withdraw(&mut self, id: &JobId, now: Timestamp, told: &mut Vec<Event>) {
        if let Some(job) = self.remove(id, now) {
            told.push(Event::Removed { id: id.clone(), prev: job.state() });
        }
    }

    pub(super) fn repeats(&self, wanted: &Repeats, most: u32) -> RepeatPage {
        let (all, most) = (&self.schedulers.all, most as usize);
        let (before, after) = match wanted {
            Repeats::Ids(ids) => {
                let found = ids.iter().filter_map(|id| all.get(id)).take(most).cloned().collect();
                return RepeatPage { found, next: None };
            }
            Repeats::After(after) => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let found = all.range((from, Bound::Unbounded)).take(most).map(|(_, found)| found.clone()).collect();
                return RepeatPage { found, next: None };
            }
            Repeats::Stuck { before, after } => (before, after),
        };
        let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let overdue = self.schedulers.slots.range((from, Bound::Unbounded));
        let overdue: Vec<_> = overdue.take_while(|(slot, _)| slot < before).take(most).collect();
        let next = overdue.last().filter(|_| overdue.len() == most).map(|(slot, id)| (*slot, id.clone()));
        let stuck = |(slot, id): &(Timestamp, Arc<str>)| {
            let place = self.place_of(&JobId::of_iteration(id, *slot));
            all.get(id).filter(|one| is_stuck(&one.repeat, place)).cloned()
        };
        RepeatPage { found: overdue.into_iter().filter_map(stuck).collect(), next }
    }

    pub(super) fn ticks(&self, id: &str, most: u32) -> Vec<Tick> {
        let kept = self.schedulers.ticks.get(id).into_iter().flat_map(|kept| kept.values().rev());
        kept.take(most as usize).copied().collect()
    }
}
