//! Adding jobs in memory.

use super::lane::{Job, Key, Lane};
use crate::backend::{Added, NewJob};
use crate::event::Event;
use crate::job::JobId;
use crate::state::Place;
use crate::time::Timestamp;

impl Lane {
    pub(super) fn add(&mut self, jobs: Vec<NewJob>, now: Timestamp) -> Vec<Added> {
        let mut told = Vec::with_capacity(2 * jobs.len());
        let added = jobs.into_iter().map(|job| self.add_one(job, now, &mut told)).collect();
        self.tell(told);
        self.bell.work.notify_one();
        added
    }

    fn add_one(&mut self, new: NewJob, now: Timestamp, told: &mut Vec<Event>) -> Added {
        let counted = self.next_id();
        let id = new.id.clone().unwrap_or_else(|| JobId::stored(counted.to_string()));
        if self.jobs.contains_key(&id) {
            told.push(Event::Duplicated { id: id.clone() });
            return Added::Existing(id);
        }
        if let Some(dedup) = &new.options.deduplication
            && let Some(owner) = self.claim(dedup, &id, &new, now, told)
        {
            return Added::Deduplicated(owner);
        }
        self.store(id.clone(), new, now, told);
        Added::New(id)
    }

    pub(super) fn store(&mut self, id: JobId, new: NewJob, now: Timestamp, told: &mut Vec<Event>) {
        told.push(Event::Added { id: id.clone(), name: new.name.clone() });
        let options = &new.options;
        let (place, key) = if !options.delay.is_zero() {
            let due = now.plus(options.delay);
            told.push(Event::Delayed { id: id.clone(), due });
            (Place::Delayed, (due.millis(), self.back()))
        } else {
            told.push(Event::Waiting { id: id.clone(), prev: None });
            let front = options.lifo && options.priority == 0;
            let key = match &options.group {
                Some(group) => self.key_of_new(group, front, now),
                None => (i64::from(options.priority), if front { self.front() } else { self.back() }),
            };
            (Place::Ready, key)
        };
        self.insert_new(id, new, (place, key), now);
    }

    /// A new job gets its place.
    pub(super) fn insert_new(&mut self, id: JobId, new: NewJob, (place, key): (Place, Key), now: Timestamp) {
        let job = Job {
            name: new.name,
            data: new.data,
            options: new.options,
            timestamp: now,
            place,
            key,
            since: now,
            made: 0,
            started: 0,
            stalls: 0,
            stalled_out: false,
            canceled: false,
            token: None,
            settled: None,
            processed_on: None,
            processed_by: None,
            finished_on: None,
            progress: None,
            result: None,
            failure: None,
            logs: Default::default(),
            link: None,
            family: None,
        };
        self.insert(id, job);
    }
}
