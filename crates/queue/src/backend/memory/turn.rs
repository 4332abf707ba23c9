//! Turns in memory: jobs end, and others are handed out. `docs/states.md` is the table that this follows.

use std::sync::Arc;

use super::lane::Lane;
use crate::backend::flow::CHILDLESS;
use crate::backend::flow::News;
use crate::backend::*;
use crate::event::Event;
use crate::exit::Outcome;
use crate::job::JobId;
use crate::options::Keep;
use crate::state::{Doom, Place, State};
use crate::time::Timestamp;

impl Lane {
    /// Ends the jobs of a turn. Answers also whether any of them has ended for good.
    pub(super) fn settle_all(&mut self, ends: Vec<Verdict>, now: Timestamp) -> (Vec<End>, bool) {
        let mut told = Vec::new();
        // How many jobs finished where, under which rule of retention.
        let mut finished: Vec<(Place, Keep, usize)> = Vec::new();
        let mut answers = Vec::with_capacity(ends.len());
        for verdict in ends {
            let place = match verdict.outcome {
                Outcome::Done(_) => Some(Place::Completed),
                Outcome::Dead(_) => Some(Place::Failed),
                _ => None,
            };
            let keep = verdict.keep;
            let mut minute = Minute::default();
            minute.ended(&verdict);
            let end = self.settle(verdict, now, &mut told);
            if end == End::Applied {
                self.minute(now).merge(&minute);
                match finished.iter_mut().find(|(to, rule, _)| Some(*to) == place && *rule == keep) {
                    Some((_, _, times)) => *times += 1,
                    None => finished.extend(place.map(|place| (place, keep, 1))),
                }
            }
            answers.push(end);
        }
        let any = !finished.is_empty();
        for (place, keep, times) in finished.into_iter().filter(|(_, keep, _)| keep.count != Some(0)) {
            self.evict(place, keep, times * MAX_EVICT, now);
        }
        self.tell(told);
        (answers, any)
    }

    /// Hands out jobs, once those of the turn have ended.
    pub(super) fn take_all(
        &mut self,
        take: Option<Take>,
        worker: &Arc<str>,
        (ends, finished): (Vec<End>, bool),
        now: Timestamp,
    ) -> Turned {
        let mut told = Vec::new();
        let own = take.as_ref().and_then(|take| take.rate);
        let (held, next) = match take {
            Some(take) => self.take(&take, worker, now, &mut told),
            None => (Vec::new(), Next::More),
        };
        if finished && self.first(Place::Ready).is_none() && self.first(Place::Active).is_none() {
            told.push(Event::Drained);
        }
        self.tell(told);
        let changed = !(ends.is_empty() && held.is_empty());
        if self.takeable() && !self.paused && self.limits.calls(own, self.counts().active, now, changed) {
            self.bell.work.notify_one();
        } else if changed && !self.paused && self.next_group().is_some() {
            // Others are to know when a group may start something.
            self.bell.work.notify_one();
        }
        Turned { ends, held, next }
    }

    fn settle(&mut self, verdict: Verdict, now: Timestamp, told: &mut Vec<Event>) -> End {
        let id = &verdict.lock.id;
        let Some(job) = self.jobs.get_mut(id) else {
            return End::Gone;
        };
        let ours = job.token.as_ref() == Some(&verdict.lock.token);
        if job.place != Place::Active || !ours || job.key.0 <= now.millis() {
            let repeated = job.settled.as_ref() == Some(&verdict.lock.token);
            return if repeated { End::AlreadyApplied } else { End::LockLost };
        }
        job.settled = job.token.take();
        let dedup = job.options.deduplication.as_ref().map(|dedup| dedup.id.clone());
        match verdict.outcome {
            Outcome::Done(result) => {
                let completed = Event::completed(id.clone(), &result);
                let news = job.link.clone().map(|link| (id.clone(), link, News::Completed(result.clone())));
                self.news.extend(news);
                job.result = (!result.is_null()).then_some(result);
                if let Some(dedup) = dedup {
                    self.ended(&dedup, id, now, told);
                }
                told.push(completed);
                self.finish(id, Place::Completed, verdict.keep, now);
            }
            Outcome::Dead(failure) => {
                let made = job.made + 1;
                let exhausted = made >= job.options.attempts;
                job.failure = Some(failure.clone());
                let gone = verdict.keep.count == Some(0);
                let news = News::Failed { reason: failure.message.clone(), gone };
                self.news.extend(job.link.clone().map(|link| (id.clone(), link, news)));
                if let Some(dedup) = dedup {
                    self.ended(&dedup, id, now, told);
                }
                told.push(Event::Failed { id: id.clone(), failure });
                if exhausted {
                    told.push(Event::RetriesExhausted { id: id.clone(), made });
                }
                self.finish(id, Place::Failed, verdict.keep, now);
            }
            Outcome::Retry { at, failure } => {
                job.made += 1;
                job.failure = Some(failure);
                self.again(id, at, now, told);
            }
            Outcome::Later(at) => self.again(id, at, now, told),
            Outcome::AwaitChildren if job.must_wait() => self.await_children(id, now, told),
            Outcome::AwaitChildren if job.family.is_none() => self.again(id, now.plus(CHILDLESS), now, told),
            Outcome::Back | Outcome::SlowDown(_) | Outcome::SlowDownGroup(_) | Outcome::AwaitChildren => {
                match (verdict.outcome, job.options.group.clone()) {
                    (Outcome::SlowDown(until), _) => self.limits.hold(until),
                    (Outcome::SlowDownGroup(until), Some(group)) => {
                        self.order_group(&group, GroupControl::HoldUntil(until), now)
                    }
                    _ => {}
                }
                self.put_ready(id, true, now);
                told.push(Event::Waiting { id: id.clone(), prev: Some(State::Active) });
            }
        }
        End::Applied
    }

    /// From active to delayed, or to the back of its class when `at` has come.
    fn again(&mut self, id: &JobId, at: Timestamp, now: Timestamp, told: &mut Vec<Event>) {
        let Some(options) = self.jobs.get(id).map(|job| job.options.clone()) else {
            return;
        };
        if at > now {
            let key = (at.millis(), self.back());
            self.place(id, Place::Delayed, key, now);
            told.push(Event::Delayed { id: id.clone(), due: at });
        } else {
            self.ready(id, options.lifo, now);
            told.push(Event::Waiting { id: id.clone(), prev: Some(State::Active) });
        }
    }

    /// To the back of its class, or to the front when it asks for LIFO and has no priority.
    pub(super) fn ready(&mut self, id: &JobId, lifo: bool, now: Timestamp) {
        let Some(priority) = self.jobs.get(id).map(|job| job.options.priority) else {
            return;
        };
        self.put_ready(id, lifo && priority == 0, now);
    }

    fn finish(&mut self, id: &JobId, place: Place, keep: Keep, now: Timestamp) {
        if keep.count == Some(0) {
            self.remove(id, now);
            return;
        }
        let key = (now.millis(), self.back());
        if let Some(job) = self.jobs.get_mut(id) {
            job.made += 1;
            job.finished_on = Some(now);
            (job.stalled_out, job.canceled) = (false, false);
            job.family.iter_mut().for_each(|family| family.doom = None);
        }
        self.place(id, place, key, now);
    }

    fn evict(&mut self, place: Place, keep: Keep, most: usize, now: Timestamp) {
        for _ in 0..most {
            let Some(((finished, _), id)) = self.first(place) else {
                return;
            };
            let old = keep.age.is_some_and(|age| finished <= now.minus(age).millis());
            let many = keep.count.is_some_and(|count| self.counts().of(place.state(0)) > count);
            if !old && !many {
                return;
            }
            self.remove(&id, now);
        }
    }

    fn take(&mut self, take: &Take, worker: &Arc<str>, now: Timestamp, told: &mut Vec<Event>) -> (Vec<Held>, Next) {
        if take.mode == TakeMode::Resume {
            let mine: Vec<JobId> = self.walk(Place::Active).map(|(_, id)| id.clone()).collect();
            let held: Vec<Held> = mine.iter().filter_map(|id| self.held(id, &take.token, now)).collect();
            if !held.is_empty() {
                return (held, Next::More);
            }
        }
        let promoted = self.promote_due(now, told);
        if self.paused {
            return (Vec::new(), Next::Paused);
        }
        let woken = self.wake_groups(now);
        let most = take.most.min(self.limits.room(take.rate, self.counts().active, now).most);
        let mut held: Vec<Held> = Vec::new();
        while held.len() < most {
            let Some(id) = self.next_to_take(now) else {
                break;
            };
            held.extend(self.activate(&id, take, worker, now, told));
        }
        let started = held.iter().filter(|held| held.failed_already.is_none()).count();
        self.limits.started(started as u32, take.rate, now);
        (held, self.next(promoted.max(woken), take.rate, now))
    }

    fn next(&self, promoted: usize, own: Option<Rate>, now: Timestamp) -> Next {
        if promoted == MAX_PROMOTE {
            return Next::More;
        }
        if self.takeable() {
            return self.limits.room(own, self.counts().active, now).next;
        }
        let due = self.first(Place::Delayed).map(|((due, _), _)| Timestamp::from_millis(due));
        groups::next(self.first(Place::Ready).is_some(), due, self.next_group())
    }

    fn promote_due(&mut self, now: Timestamp, told: &mut Vec<Event>) -> usize {
        let mut promoted = 0;
        while promoted < MAX_PROMOTE {
            match self.first(Place::Delayed) {
                Some(((due, _), id)) if due <= now.millis() => {
                    self.ready(&id, false, now);
                    told.push(Event::Waiting { id, prev: Some(State::Delayed) });
                    promoted += 1;
                }
                _ => break,
            }
        }
        promoted
    }

    fn activate(
        &mut self,
        id: &JobId,
        take: &Take,
        worker: &Arc<str>,
        now: Timestamp,
        told: &mut Vec<Event>,
    ) -> Option<Held> {
        let key = (now.plus(take.lock_for).millis(), self.back());
        let job = self.jobs.get(id)?;
        let (prev, waited) = (job.state(), now.since(job.since));
        self.minute(now).wait.add(waited);
        told.push(Event::Active { id: id.clone(), prev });
        self.place(id, Place::Active, key, now);
        let job = self.jobs.get_mut(id)?;
        job.started += 1;
        job.token = Some(take.token.clone());
        job.processed_on = Some(now);
        job.processed_by = Some(worker.clone());
        let held = self.held(id, &take.token, now)?;
        self.taken_from_group(&held, now);
        Some(held)
    }

    /// The job as its holder sees it, if it is active under this token.
    fn held(&self, id: &JobId, token: &Token, now: Timestamp) -> Option<Held> {
        let job = self.jobs.get(id)?;
        if job.place != Place::Active || job.token.as_ref() != Some(token) || job.key.0 <= now.millis() {
            return None;
        }
        let doom = Doom {
            stalled_out: job.stalled_out,
            canceled: job.canceled,
            start_before: job.options.start_before,
            started: job.started > 1,
        };
        Some(Held {
            lock: Lock { id: id.clone(), token: token.clone(), row: 0 },
            name: job.name.clone(),
            data: job.data.clone(),
            options: job.options.clone(),
            made: job.made,
            started: job.started,
            stalls: job.stalls,
            timestamp: job.timestamp,
            failed_already: doom.failure(job.processed_on.unwrap_or(now)).or_else(|| job.failed_child()),
        })
    }
}
