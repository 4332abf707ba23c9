//! Job schedulers as users see them, and the steps that workers take for them.

use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use crate::backend::{Advance, Edit, EditAll, Edited, Put, Repeats, Scheduled};
use crate::error::{ScheduleError, StoreError};
use crate::job::JobId;
use crate::repeat::Repeat;
use crate::time::Timestamp;

/// Slots that are tried one after the other when jobs of an earlier definition stand in them (BullMQ: 32).
const TRIES: usize = 32;
/// A slot that lies back this far and has no live job is nobody's business any more: the scheduler is moved on.
const STUCK: Duration = Duration::from_secs(60);
/// Schedulers looked at in one step of mending.
const STEP: u32 = 200;

impl Queue {
    /// Puts a job scheduler in place, or another definition in the place of the one with its id, in one step. Answers when
    /// its next job is due; `None` when its limit has been reached.
    ///
    /// As BullMQ's `upsertJobScheduler`: at any time one job of it waits, under the id `repeat:<id>:<milliseconds>`; the next
    /// one is made when a worker starts it. Calling this again, at each start of a program for instance, doubles nothing: with
    /// the same schedule, start and end the waiting job keeps its time and takes on the new name, data and options; with
    /// others it is removed and the scheduler begins anew. A job that was taken already runs on.
    ///
    /// Putting the very same definition again changes nothing at all. Once nothing more is due, it is refused as ended, also
    /// while a last job still waits.
    ///
    /// Slots that pass while no worker is there are left out but for the one that waits. A scheduler whose waiting job is
    /// removed leaves that run out: a worker moves it on about a minute after its time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use launchkit_queue::{Queue, Repeat, Schedule, Store};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = Queue::new(&Store::memory(), "reports")?;
    /// let nightly = Schedule::cron_in("30 2 * * *", "Europe/Berlin");
    /// let due = queue.schedule(Repeat::named("nightly", nightly, "report", &7)?).await?;
    /// assert_eq!(queue.scheduled("nightly").await?.and_then(|found| found.slot), due);
    ///
    /// let pulse = Repeat::named("pulse", Schedule::Every(Duration::from_secs(60)), "pulse", &())?;
    /// queue.schedule(Repeat { limit: Some(10), ..pulse }).await?;
    /// assert_eq!(queue.schedules(None, 100).await?.len(), 2);
    /// assert!(queue.unschedule("nightly").await?);
    /// # Ok(()) }
    /// ```
    pub async fn schedule(&self, repeat: Repeat) -> Result<Option<Timestamp>, ScheduleError> {
        repeat.check()?;
        let repeat = Arc::new(repeat);
        let mut first = repeat.first(self.clock().now()).ok_or(ScheduleError::Ended)?;
        for _ in 0..TRIES {
            match self.edit_one(Edit::Schedule(Put { repeat: repeat.clone(), first })).await? {
                Some(Edited::Due(slot)) => return Ok(Some(slot)),
                Some(Edited::WrongState(_)) => first = repeat.next(first, first).ok_or(ScheduleError::Ended)?,
                _ => return Ok(None),
            }
        }
        Err(ScheduleError::Taken)
    }

    /// Removes a scheduler and its delayed job; answers whether it was there. A job that is ready or active stays, as in
    /// BullMQ.
    pub async fn unschedule(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.edit_one(Edit::Unschedule(id.into())).await? == Some(Edited::Done))
    }

    /// One page of the schedulers, by id, after the one given; at most 1,000.
    pub async fn schedules(&self, after: Option<&str>, most: u32) -> Result<Vec<Scheduled>, StoreError> {
        let wanted = Repeats::After(after.map(Into::into));
        Ok(self.backend().repeats(self.name(), &wanted, most).await?.found)
    }

    /// Reads one scheduler.
    pub async fn scheduled(&self, id: &str) -> Result<Option<Scheduled>, StoreError> {
        let wanted = Repeats::Ids(vec![id.into()]);
        Ok(self.backend().repeats(self.name(), &wanted, 1).await?.found.pop())
    }

    /// Makes the next jobs of the schedulers whose jobs were taken. Any number of times for the same job.
    pub(crate) async fn advance(&self, taken: &[&JobId]) -> Result<(), StoreError> {
        let taken: Vec<(&str, Timestamp)> = taken.iter().filter_map(|id| id.iteration()).collect();
        if taken.is_empty() {
            return Ok(());
        }
        let ids = taken.iter().map(|(id, _)| Arc::from(*id)).collect();
        let found = self.backend().repeats(self.name(), &Repeats::Ids(ids), taken.len() as u32).await?.found;
        let current =
            |one: &Scheduled| taken.iter().any(|(id, slot)| **id == *one.repeat.id && one.slot == Some(*slot));
        self.move_on(found.into_iter().filter(current).collect()).await
    }

    /// Moves on schedulers that have no live job, one bounded step from a place on; answers where to go on.
    pub(crate) async fn mend(
        &self,
        after: Option<(Timestamp, Arc<str>)>,
    ) -> Result<Option<(Timestamp, Arc<str>)>, StoreError> {
        let before = self.clock().now().minus(STUCK);
        let page = self.backend().repeats(self.name(), &Repeats::Stuck { before, after }, STEP).await?;
        self.move_on(page.found).await?;
        Ok(page.next)
    }

    async fn move_on(&self, found: Vec<Scheduled>) -> Result<(), StoreError> {
        let now = self.clock().now();
        let step = |one: &Scheduled, slot: Timestamp| Advance {
            id: one.repeat.id.clone(),
            slot,
            next: one.repeat.next(slot, now),
        };
        let mut steps: Vec<(Scheduled, Advance)> =
            found.into_iter().filter_map(|one| one.slot.map(|slot| step(&one, slot)).map(|step| (one, step))).collect();
        for _ in 0..TRIES {
            if steps.is_empty() {
                return Ok(());
            }
            let edits = steps.iter().map(|(_, step)| Edit::Advance(step.clone())).collect();
            let edits = EditAll { queue: self.name().clone(), edits };
            let edited = self.backend().edit(edits, now).await.map_err(|failed| failed.why)?;
            let taken = steps.into_iter().zip(edited);
            let taken = taken.filter(|(_, edited)| matches!(edited, Edited::WrongState(_)));
            let further = |((one, step), _): ((Scheduled, Advance), Edited)| {
                let next = step.next.and_then(|next| one.repeat.next(next, next));
                (one, Advance { next, ..step })
            };
            steps = taken.map(further).collect();
        }
        Ok(())
    }
}
