//! One queue in memory: its jobs, their order, its events. Turns are in `turn.rs`, reads in `reads.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::Bell;
use super::dedup::Dedups;
use super::flow::{Family, Link};
use super::groups::Groups;
use super::repeat::Schedulers;
use crate::backend::flow::News;
use crate::backend::{Limits, MAX_EVENTS, MAX_MINUTES, Minute, Token, WorkerInfo};
use crate::event::{Event, Position};
use crate::exit::Failure;
use crate::job::{JobId, Payload};
use crate::options::JobOptions;
use crate::state::{Counts, Place, State};
use crate::time::Timestamp;

/// Order numbers of a job within its place.
pub(super) type Key = (i64, i64);

#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: Arc<str>,
    pub(super) data: Payload,
    pub(super) options: Arc<JobOptions>,
    pub(super) timestamp: Timestamp,
    pub(super) place: Place,
    pub(super) key: Key,
    pub(super) since: Timestamp,
    pub(super) made: u32,
    pub(super) started: u32,
    pub(super) stalls: u32,
    pub(super) stalled_out: bool,
    pub(super) canceled: bool,
    /// The lock, while active.
    pub(super) token: Option<Token>,
    /// The take whose run was ended last, so that a repeated verdict is recognised.
    pub(super) settled: Option<Token>,
    pub(super) processed_on: Option<Timestamp>,
    pub(super) processed_by: Option<Arc<str>>,
    pub(super) finished_on: Option<Timestamp>,
    pub(super) progress: Option<Payload>,
    pub(super) result: Option<Payload>,
    pub(super) failure: Option<Failure>,
    pub(super) logs: VecDeque<Arc<str>>,
    pub(super) link: Option<Link>,
    pub(super) family: Option<Box<Family>>,
}

impl Job {
    pub(super) fn state(&self) -> State {
        self.place.state(self.options.class())
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) bell: Bell,
    pub(super) jobs: BTreeMap<JobId, Job>,
    order: BTreeMap<(Place, Key), JobId>,
    counts: Counts,
    /// It was removed, and nothing was written to it since.
    pub(super) gone: bool,
    pub(super) paused: bool,
    pub(super) dedups: Dedups,
    pub(super) schedulers: Schedulers,
    pub(super) groups: Groups,
    pub(super) limits: Limits,
    pub(super) minutes: BTreeMap<i64, Minute>,
    pub(super) workers: BTreeMap<Arc<str>, (WorkerInfo, Timestamp)>,
    next_id: u64,
    tail: i64,
    head: i64,
    /// What a verb has done to children; passed on to their parents when it is through with this queue.
    pub(super) news: Vec<(JobId, Link, News)>,
    pub(super) events: VecDeque<(Position, Event)>,
    pub(super) trimmed: Position,
    seq: u64,
}

impl Lane {
    pub(super) fn new(bell: Bell) -> Self {
        Self {
            bell,
            jobs: BTreeMap::new(),
            order: BTreeMap::new(),
            counts: Counts::default(),
            gone: false,
            paused: false,
            dedups: Dedups::default(),
            schedulers: Schedulers::default(),
            groups: Groups::default(),
            limits: Limits::default(),
            minutes: BTreeMap::new(),
            workers: BTreeMap::new(),
            next_id: 0,
            tail: 0,
            head: 0,
            news: Vec::new(),
            events: VecDeque::new(),
            trimmed: Position::START,
            seq: 0,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The turn of a job that goes behind everything in its class.
    pub(super) fn back(&mut self) -> i64 {
        self.tail += 1;
        self.tail
    }

    /// The turn of a job that goes in front of everything in its class.
    pub(super) fn front(&mut self) -> i64 {
        self.head -= 1;
        self.head
    }

    pub(super) fn insert(&mut self, id: JobId, job: Job) {
        *self.counts.slot(job.state()) += 1;
        self.order.insert((job.place, job.key), id.clone());
        self.jobs.insert(id, job);
    }

    pub(super) fn remove(&mut self, id: &JobId, now: Timestamp) -> Option<Job> {
        let job = self.jobs.remove(id)?;
        *self.counts.slot(job.state()) -= 1;
        self.order.remove(&(job.place, job.key));
        if let Some(link) = &job.link {
            self.news.push((id.clone(), link.clone(), News::Gone));
        }
        self.removed_from_group(&job, now);
        Some(job)
    }

    /// Removes a job by somebody's wish: its deduplication id is free.
    pub(super) fn discard(&mut self, id: &JobId, now: Timestamp) {
        if let Some(job) = self.remove(id, now)
            && let Some(dedup) = &job.options.deduplication
        {
            self.dedups.removed(&dedup.id, id);
        }
    }

    /// Nothing is left of the queue but where its events ended: whoever reads on from there learns of a gap.
    pub(super) fn wipe(&mut self) {
        let newest = self.events.back().map_or(self.trimmed, |(position, _)| *position);
        *self = Lane { seq: self.seq, trimmed: newest, gone: true, ..Lane::new(self.bell.clone()) };
    }

    /// Moves a job to a place; `since` is left alone when it stays where it is.
    pub(super) fn place(&mut self, id: &JobId, place: Place, key: Key, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        *self.counts.slot(job.state()) -= 1;
        self.order.remove(&(job.place, job.key));
        if job.place != place {
            job.since = now;
        }
        let ends = job.place == Place::Active && !matches!(place, Place::Active | Place::Ready);
        let group = job.options.group.clone().filter(|_| ends);
        (job.place, job.key) = (place, key);
        *self.counts.slot(job.state()) += 1;
        self.order.insert((place, key), id.clone());
        if let Some(group) = group {
            self.ended_in_group(&group, now);
        }
    }

    /// The job with these order numbers.
    pub(super) fn at(&self, place: Place, key: Key) -> Option<JobId> {
        self.order.get(&(place, key)).cloned()
    }

    /// The jobs of a place in order.
    pub(super) fn walk(&self, place: Place) -> impl DoubleEndedIterator<Item = (Key, &JobId)> {
        let all = (place, (i64::MIN, i64::MIN))..=(place, (i64::MAX, i64::MAX));
        self.order.range(all).map(|((_, key), id)| (*key, id))
    }

    /// The jobs of a place behind an order key.
    pub(super) fn walk_after(&self, place: Place, after: Key) -> impl Iterator<Item = (Key, &JobId)> {
        let behind = (Bound::Excluded((place, after)), Bound::Included((place, (i64::MAX, i64::MAX))));
        self.order.range(behind).map(|((_, key), id)| (*key, id))
    }

    pub(super) fn first(&self, place: Place) -> Option<(Key, JobId)> {
        self.walk(place).next().map(|(key, id)| (key, id.clone()))
    }

    /// The minute of now; with it those go that are too old.
    pub(super) fn minute(&mut self, now: Timestamp) -> &mut Minute {
        let number = Minute::number(now);
        let oldest = number.saturating_sub(i64::from(MAX_MINUTES));
        while self.minutes.first_key_value().is_some_and(|(first, _)| *first <= oldest) {
            self.minutes.pop_first();
        }
        self.minutes.entry(number).or_insert_with(|| Minute::of(number))
    }

    /// Stores what one verb tells, as one transaction of events, and wakes their readers.
    pub(super) fn tell(&mut self, told: Vec<Event>) {
        if told.is_empty() {
            return;
        }
        self.seq += 1;
        for (event, index) in told.into_iter().zip(0..) {
            self.events.push_back((Position { seq: self.seq, index }, event));
        }
        while self.events.len() as u64 > MAX_EVENTS {
            if let Some((position, _)) = self.events.pop_front() {
                self.trimmed = position;
            }
        }
        if let Some((newest, _)) = self.events.back() {
            self.bell.events.send_replace(*newest);
        }
    }
}
