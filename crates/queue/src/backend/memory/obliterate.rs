//! A whole queue is removed.

use super::World;
use crate::backend::{HeldJobs, Obliterated};
use crate::job::{JobId, QueueName};
use crate::time::Timestamp;

impl World {
    pub(super) fn obliterate(&mut self, queue: &QueueName, held: HeldJobs, most: u32, now: Timestamp) -> Obliterated {
        let Some(lane) = self.lanes.get_mut(queue).filter(|lane| !lane.gone) else { return Obliterated::All(0) };
        if !lane.paused {
            return Obliterated::NotPaused;
        }
        if held == HeldJobs::Refuse && lane.counts().active > 0 {
            return Obliterated::Held;
        }
        let ids: Vec<JobId> = lane.jobs.keys().take(most as usize).cloned().collect();
        for id in &ids {
            lane.discard(id, now);
        }
        self.pass_on(queue, now);
        let gone = ids.len() as u32;
        match self.lanes.get_mut(queue).filter(|lane| lane.jobs.is_empty()) {
            Some(lane) => {
                lane.wipe();
                Obliterated::All(gone)
            }
            None => Obliterated::More(gone),
        }
    }
}
