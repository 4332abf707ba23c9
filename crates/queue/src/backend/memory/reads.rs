//! What readers see of a queue in memory. Nothing here changes anything.

use super::flow::Link;
use super::lane::{Key, Lane};
use crate::backend::*;
use crate::event::Position;
use crate::job::{JobId, Record};
use crate::state::Place;
use crate::time::Timestamp;

impl Lane {
    pub(super) fn record(&self, id: &JobId) -> Option<Record> {
        let job = self.jobs.get(id)?;
        Some(Record {
            id: id.clone(),
            name: job.name.clone(),
            data: job.data.clone(),
            options: job.options.clone(),
            state: job.state(),
            timestamp: job.timestamp,
            since: job.since,
            due: (job.place == Place::Delayed).then(|| Timestamp::from_millis(job.key.0)),
            made: job.made,
            started: job.started,
            stalls: job.stalls,
            processed_on: job.processed_on,
            processed_by: job.processed_by.clone(),
            finished_on: job.finished_on,
            progress: job.progress.clone(),
            result: job.result.clone(),
            failure: job.failure.clone(),
            parent: job.link.as_ref().and_then(Link::living),
        })
    }

    pub(super) fn list(&self, list: &List) -> Page {
        let most = list.most as usize;
        let (low, high) = Place::keys(list.state);
        let within = |key: &Key| key.0 >= low && key.0 <= high;
        let found: Vec<(Key, JobId)> = if list.state.is_final() {
            let older = |key: &Key| list.after.is_none_or(|Cursor(a, b)| *key < (a, b));
            let all = self.walk(Place::of(list.state)).rev();
            all.filter(|(key, _)| older(key)).take(most).map(|(key, id)| (key, id.clone())).collect()
        } else {
            let later = |key: &Key| list.after.is_none_or(|Cursor(a, b)| *key > (a, b));
            let all = self.walk(Place::of(list.state)).filter(|(key, _)| within(key));
            all.filter(|(key, _)| later(key)).take(most).map(|(key, id)| (key, id.clone())).collect()
        };
        let full = most > 0 && found.len() == most;
        let next = found.last().filter(|_| full).map(|((a, b), _)| Cursor(*a, *b));
        Page { jobs: found.iter().filter_map(|(_, id)| self.record(id)).collect(), next }
    }

    pub(super) fn logs(&self, id: &JobId, skip: u32, most: u32) -> Logs {
        let Some(job) = self.jobs.get(id) else {
            return Logs::default();
        };
        let lines = job.logs.iter().skip(skip as usize).take(most as usize).cloned().collect();
        Logs { lines, total: job.logs.len() as u32 }
    }

    pub(super) fn events(&self, after: Position, most: u32) -> Events {
        let start = self.events.partition_point(|(position, _)| *position <= after);
        let events: Vec<_> = self.events.iter().skip(start).take(most as usize).cloned().collect();
        let gap = after > Position::START && after < self.trimmed;
        let next = events.last().map_or(after, |(position, _)| *position);
        Events { events, gap, next }
    }

    pub(super) fn metrics(&self, before: Option<Timestamp>, most: u32) -> Vec<Minute> {
        let end = before.map_or(i64::MAX, Minute::number);
        self.minutes.range(..end).rev().take(most as usize).map(|(_, minute)| *minute).collect()
    }

    pub(super) fn facts(&self, id: &JobId, now: Timestamp) -> Facts {
        let held = self.jobs.get(id);
        let key = |place| held.filter(|job| job.place == place).map(|job| job.key);
        let group = held.and_then(|job| job.options.group.as_ref());
        let before =
            |end: Key| self.walk(Place::Ready).take_while(|(key, _)| *key < end).take(MAX_AHEAD as usize + 1).count();
        Facts {
            pending: held.map_or(0, |job| job.pending() as u32),
            children: self.pending_children(id),
            job: self.record(id),
            lock_until: key(Place::Active).map(|key| Timestamp::from_millis(key.0)),
            ahead: key(Place::Ready).map_or(0, |key| match group {
                Some(group) => self.ahead_in_group(group, key),
                None => before(key) as u32,
            }),
            group: group.and_then(|group| self.groups.info(group)),
            follows: if held.is_none() { self.dedups.owner_before(id).cloned() } else { None },
            info: self.info(now),
        }
    }

    pub(super) fn info(&self, now: Timestamp) -> Info {
        let oldest = self.first(Place::Ready).and_then(|(_, id)| self.jobs.get(&id).map(|job| job.since));
        let alive = self.workers.values().filter(|(_, seen)| now.since(*seen) < WORKER_GONE);
        Info {
            counts: self.counts(),
            paused: self.paused,
            limits: self.limits,
            groups: self.groups.count(),
            group_defaults: self.groups.defaults(),
            oldest_ready: oldest,
            workers: alive.map(|(worker, _)| worker.clone()).collect(),
            newest_event: self.events.back().map_or(Position::START, |(position, _)| *position),
        }
    }
}
