//! Deduplication in memory: who owns which id, and what is to run after an owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lane::{Job, Lane};
use crate::backend::dedup::{Owner, Ruling, live, rule};
use crate::backend::*;
use crate::event::Event;
use crate::job::JobId;
use crate::options::Dedup;
use crate::state::{Place, State};
use crate::time::Timestamp;

/// The deduplication ids of one queue.
#[derive(Debug, Default)]
pub(super) struct Dedups {
    owners: BTreeMap<Arc<str>, Owned>,
    /// Those that are owned for a time, by its end.
    ends: BTreeSet<(Timestamp, Arc<str>)>,
    /// The last job that came while an owner was active, by that owner.
    lasts: BTreeMap<JobId, NewJob>,
}

#[derive(Debug)]
struct Owned {
    job: JobId,
    until: Option<Timestamp>,
}

impl Dedups {
    fn own(&mut self, id: &Arc<str>, job: JobId, until: Option<Timestamp>) {
        self.free(id);
        self.ends.extend(until.map(|until| (until, id.clone())));
        self.owners.insert(id.clone(), Owned { job, until });
    }

    fn free(&mut self, id: &Arc<str>) -> Option<Owned> {
        let owned = self.owners.remove(id)?;
        if let Some(until) = owned.until {
            self.ends.remove(&(until, id.clone()));
        }
        Some(owned)
    }

    fn forget_ended(&mut self, now: Timestamp) {
        for _ in 0..MAX_EVICT {
            match self.ends.first().cloned() {
                Some((until, id)) if until <= now => self.free(&id),
                _ => return,
            };
        }
    }

    /// A job is removed: its id is free, nothing runs after it.
    pub(super) fn removed(&mut self, id: &Arc<str>, job: &JobId) {
        if self.owners.get(id).is_some_and(|owned| owned.job == *job) {
            self.free(id);
        }
        self.lasts.remove(job);
    }

    /// The owner at whose end a job is to be added.
    pub(super) fn owner_before(&self, job: &JobId) -> Option<&JobId> {
        self.lasts.iter().find(|(_, last)| last.id.as_ref() == Some(job)).map(|(owner, _)| owner)
    }

    /// Frees an id by hand; answers whether somebody owned it.
    pub(super) fn free_by_hand(&mut self, id: &Arc<str>, now: Timestamp) -> bool {
        self.free(id).is_some_and(|owned| live(owned.until, now))
    }
}

impl Lane {
    /// Claims its deduplication id for a new job. Answers the owner when the job is not to be added.
    pub(super) fn claim(
        &mut self,
        dedup: &Dedup,
        id: &JobId,
        new: &NewJob,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Option<JobId> {
        let key = &dedup.id;
        let carries = |job: &Job| job.options.deduplication.as_ref().is_some_and(|dedup| dedup.id == *key);
        let owner = self.dedups.owners.get(key).map(|owned| Owner {
            job: owned.job.clone(),
            until: owned.until,
            place: self.jobs.get(&owned.job).filter(|owner| carries(owner)).map(|owner| owner.place),
        });
        let says = |survivor: &JobId, lost: &JobId| Event::Deduplicated {
            id: survivor.clone(),
            dedup: key.clone(),
            lost: lost.clone(),
        };
        match rule(dedup, new.options.delay, owner, now) {
            Ruling::Own(until) => self.own(key, id, until, now),
            Ruling::Inherit(old, until) => {
                self.dedups.lasts.remove(&old.job);
                self.own(key, id, until, now);
            }
            Ruling::Replace(old, until) => {
                self.discard(&old.job, now);
                self.dedups.lasts.remove(&old.job);
                told.push(Event::Removed { id: old.job.clone(), prev: State::Delayed });
                told.push(says(id, &old.job));
                self.own(key, id, until, now);
            }
            Ruling::Remember(owner) => {
                told.push(says(&owner.job, id));
                self.dedups.own(key, owner.job.clone(), None);
                let last = NewJob { id: Some(id.clone()), ..new.clone() };
                self.dedups.lasts.insert(owner.job.clone(), last);
                return Some(owner.job);
            }
            Ruling::Ignore(owner) => return Some(owner.job),
            Ruling::Drop { owner, until, due } => {
                told.push(says(&owner.job, id));
                if until != owner.until {
                    self.dedups.own(key, owner.job.clone(), until);
                }
                if let Some(due) = due {
                    let order = (due.millis(), self.back());
                    self.place(&owner.job, Place::Delayed, order, now);
                    told.push(Event::Delayed { id: owner.job.clone(), due });
                }
                return Some(owner.job);
            }
        }
        None
    }

    fn own(&mut self, key: &Arc<str>, id: &JobId, until: Option<Timestamp>, now: Timestamp) {
        self.dedups.own(key, id.clone(), until);
        if until.is_some() {
            self.dedups.forget_ended(now);
        }
    }

    /// A job has ended for good: it gives its id up unless that is owned for longer, and what waited for it is added.
    pub(super) fn ended(&mut self, key: &Arc<str>, id: &JobId, now: Timestamp, told: &mut Vec<Event>) {
        let owned = self.dedups.owners.get(key);
        if owned.is_some_and(|owned| owned.job == *id && owned.until.is_none_or(|until| until <= now)) {
            self.dedups.free(key);
        }
        let Some(last) = self.dedups.lasts.remove(id) else {
            return;
        };
        let counted = self.next_id();
        let next = last.id.clone().unwrap_or_else(|| JobId::stored(counted.to_string()));
        if self.jobs.contains_key(&next) {
            told.push(Event::Duplicated { id: next });
            return;
        }
        // Freed by hand, the id may have come to be another's meanwhile.
        if self.dedups.owners.get(key).is_none_or(|other| !live(other.until, now)) {
            self.dedups.own(key, next.clone(), None);
        }
        self.store(next, last, now, told);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::Payload;
    use crate::options::JobOptions;

    #[test]
    fn ids_whose_time_is_over_do_not_pile_up() {
        let mut lane = Lane::new(Default::default());
        for n in 0..100 {
            let dedup = Dedup::throttle(format!("id {n}"), Duration::from_secs(5));
            let options = Arc::new(JobOptions { deduplication: Some(dedup), ..JobOptions::default() });
            let job = NewJob { id: None, name: "n".into(), data: Payload::null(), options };
            lane.add(vec![job], Timestamp::from_millis(n * 1_000));
        }
        assert_eq!((lane.dedups.owners.len(), lane.dedups.ends.len()), (5, 5));
    }
}
