//! What is done in memory to jobs that nobody holds, and to the queue: edits, sweeps, controls.

use std::sync::Arc;

use super::lane::{Job, Key, Lane};
use crate::backend::flow::News;
use crate::backend::*;
use crate::event::Event;
use crate::job::JobId;
use crate::state::{Place, State};
use crate::time::Timestamp;

impl Lane {
    pub(super) fn edit_one(&mut self, edit: Edit, now: Timestamp, told: &mut Vec<Event>) -> Edited {
        let id = match &edit {
            Edit::Progress(id, _)
            | Edit::Log(id, _)
            | Edit::Data(id, _)
            | Edit::Promote(id)
            | Edit::Retry(id, _)
            | Edit::Remove(id)
            | Edit::Cancel(id)
            | Edit::Detach(id) => id.clone(),
            Edit::FreeDedup(key) if self.dedups.free_by_hand(key, now) => return Edited::Done,
            Edit::FreeDedup(_) => return Edited::Missing,
            Edit::Schedule(put) => return self.put_repeat(put, now, told),
            Edit::Unschedule(id) => return self.drop_repeat(id, now, told),
            Edit::Advance(step) => return self.advance(step, now, told),
        };
        let Some(job) = self.jobs.get_mut(&id) else {
            return Edited::Missing;
        };
        let state = job.state();
        match edit {
            Edit::Progress(_, value) => {
                told.push(Event::progress(id, &value));
                job.progress = Some(value);
            }
            Edit::Log(_, lines) => append(job, lines),
            Edit::Data(_, data) => job.data = data,
            Edit::Promote(_) if state == State::Delayed => {
                self.ready(&id, false, now);
                told.push(Event::Waiting { id, prev: Some(State::Delayed) });
            }
            Edit::Retry(_, made) if state.is_final() => self.revive(&id, made, state, now, told),
            Edit::Promote(_) | Edit::Retry(..) => return Edited::WrongState(state),
            Edit::Remove(_) => {
                if state == State::Active && job.key.0 > now.millis() {
                    return Edited::Locked;
                }
                self.discard(&id, now);
                told.push(Event::Removed { id, prev: state });
            }
            Edit::Cancel(_) if state.is_final() => return Edited::WrongState(state),
            Edit::Cancel(_) => {
                job.canceled = true;
                if state == State::WaitingChildren {
                    self.put_ready(&id, true, now);
                    told.push(Event::Waiting { id, prev: Some(state) });
                }
            }
            // Answered where parents are known: see `flow`.
            Edit::Detach(_) => return Edited::NoParent,
            // Answered above: they are about no job.
            Edit::FreeDedup(_) | Edit::Schedule(_) | Edit::Unschedule(_) | Edit::Advance(_) => {}
        }
        Edited::Done
    }

    fn revive(&mut self, id: &JobId, made: Made, from: State, now: Timestamp, told: &mut Vec<Event>) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        (job.processed_on, job.finished_on, job.result) = (None, None, None);
        job.failure = None;
        self.news.extend(job.link.clone().map(|link| (id.clone(), link, News::Again)));
        if made == Made::Reset {
            (job.made, job.started, job.stalls) = (0, 0, 0);
        }
        let lifo = job.options.lifo;
        self.ready(id, lifo, now);
        told.push(Event::Waiting { id: id.clone(), prev: Some(from) });
    }

    pub(super) fn sweep(&mut self, sweep: &Sweep, now: Timestamp) -> Swept {
        let (place, last) = match sweep.what {
            SweepWhat::Clean(state, before) => (Place::of(state), before.millis()),
            SweepWhat::DrainWaiting => (Place::Ready, i64::MAX),
            SweepWhat::DrainDelayed => (Place::Delayed, i64::MAX),
            SweepWhat::RetryFailed(before) => (Place::Failed, before.millis()),
            SweepWhat::PromoteDelayed => (Place::Delayed, i64::MAX),
        };
        let range = |(Cursor(a, b), last)| self.walk_after(place, (a, b)).take_while(move |(key, _)| key.0 <= last);
        let found: Vec<(Key, JobId)> = groups::ranges(place, sweep.after, last)
            .into_iter()
            .flat_map(range)
            .take(sweep.most as usize)
            .map(|(key, id)| (key, id.clone()))
            .collect();
        let scanned = found.len() as u32;
        let next = found.last().filter(|_| scanned == sweep.most).map(|((a, b), _)| Cursor(*a, *b));
        let chosen = |id: &JobId| {
            let job = self.jobs.get(id)?;
            let failure = job.failure.as_ref().filter(|_| place == Place::Failed);
            sweep.pick.chooses(&job.name, job.options.group.as_ref(), job.since, failure).then(|| id.clone())
        };
        let seen: Vec<JobId> = found.iter().filter_map(|(_, id)| chosen(id)).collect();
        if sweep.dry {
            return Swept { done: seen, scanned, next };
        }
        let mut told = Vec::new();
        for id in &seen {
            match sweep.what {
                SweepWhat::Clean(..) | SweepWhat::DrainWaiting | SweepWhat::DrainDelayed => {
                    self.discard(id, now);
                }
                SweepWhat::RetryFailed(_) => self.revive(id, Made::Keep, State::Failed, now, &mut told),
                SweepWhat::PromoteDelayed => {
                    self.ready(id, false, now);
                    told.push(Event::Waiting { id: id.clone(), prev: Some(State::Delayed) });
                }
            }
        }
        if matches!(sweep.what, SweepWhat::Clean(..)) {
            told.push(Event::Cleaned { count: seen.len() as u64 });
        }
        self.tell(told);
        self.bell.work.notify_one();
        Swept { done: seen, scanned, next }
    }

    pub(super) fn control(&mut self, what: Control, now: Timestamp) {
        match what {
            Control::Pause => self.pause(true),
            Control::Resume => self.pause(false),
            Control::Concurrency(most) => self.limits.concurrency = most,
            Control::Rate(rate) => self.limits.rate = rate,
            Control::HoldUntil(until) => self.limits.hold(until),
            Control::ClearRate => self.limits.clear(),
            Control::GroupDefaults(defaults) => self.group_defaults(defaults, now),
        }
        self.bell.work.notify_one();
    }

    fn pause(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.tell(vec![if paused { Event::Paused } else { Event::Resumed }]);
        }
    }
}

fn append(job: &mut Job, lines: Vec<Arc<str>>) {
    let keep = job.options.keep_logs.unwrap_or(MAX_LOGS).min(MAX_LOGS) as usize;
    job.logs.extend(lines.iter().map(|line| cut_line(line).into()));
    while job.logs.len() > keep {
        job.logs.pop_front();
    }
}
