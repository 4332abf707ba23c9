//! Locks in memory: kept by their holders, taken from those that have gone.

use super::lane::Lane;
use crate::backend::*;
use crate::event::Event;
use crate::job::JobId;
use crate::state::{Place, State};
use crate::time::Timestamp;

impl Lane {
    pub(super) fn beat(&mut self, beat: Beat, now: Timestamp) -> Beaten {
        let mut beaten = Beaten { paused: self.paused, ..Beaten::default() };
        for lock in &beat.locks {
            let holds = self.jobs.get(&lock.id).filter(|job| {
                job.place == Place::Active && job.token.as_ref() == Some(&lock.token) && job.key.0 > now.millis()
            });
            let Some(job) = holds else {
                beaten.lost.push(lock.id.clone());
                continue;
            };
            if job.canceled {
                beaten.cancel.push(lock.id.clone());
            }
            let key = (now.plus(beat.lock_for).millis(), job.key.1);
            self.place(&lock.id, Place::Active, key, now);
        }
        self.workers.retain(|_, (_, seen)| now.since(*seen) < WORKER_GONE);
        self.workers.insert(beat.worker.id.clone(), (beat.worker, now));
        beaten
    }

    pub(super) fn rescue(&mut self, rescue: &Rescue, now: Timestamp) -> Rescued {
        let expired: Vec<JobId> = self
            .walk(Place::Active)
            .take_while(|((until, _), _)| *until <= now.millis())
            .take(rescue.most as usize)
            .map(|(_, id)| id.clone())
            .collect();
        let mut told = Vec::new();
        // Backwards, so that the job that was to expire first ends up in front.
        for id in expired.iter().rev() {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            job.stalls += 1;
            job.stalled_out |= job.stalls > rescue.max_stalled;
            job.token = None;
            self.put_ready(id, true, now);
            told.push(Event::Waiting { id: id.clone(), prev: Some(State::Active) });
            told.push(Event::Stalled { id: id.clone() });
        }
        self.tell(told);
        if !expired.is_empty() {
            self.bell.work.notify_one();
        }
        Rescued { more: expired.len() == rescue.most as usize, jobs: expired }
    }
}
