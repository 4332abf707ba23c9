//! Job schedulers as users see them, and the steps that workers take for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use crate::backend::{Advance, Edit, EditAll, Edited, MAX_EDIT, Put, Repeats, Scheduled};
use crate::error::{ScheduleError, StoreError};
use crate::exit::FailureKind;
use crate::job::{JobId, Record};
use crate::repeat::{Fate, Repeat, Tick};
use crate::state::{Doom, State};
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
    /// Slots that pass while no worker is there are left out but for the one that waits, unless its
    /// [`Misfire`](crate::Misfire) says otherwise; [`Overlap`](crate::Overlap) says whether runs may go on side by side;
    /// [`ticks`](Self::ticks) tells what became of each slot. A scheduler whose waiting job is removed leaves that run out: a
    /// worker moves it on about a minute after its time.
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

    /// Removes a scheduler with its ticks and its delayed job; answers whether it was there. A job that is ready, active or
    /// waits for another try stays, as in BullMQ.
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

    /// What became of a scheduler's slots, newest first: at most `most`, which is at most 1,000. The newest 100
    /// ([`MAX_TICKS`](crate::MAX_TICKS)) are kept, until the scheduler is removed; for an unknown one there are none.
    ///
    /// A tick is written in the step that makes the next job; with [`Overlap::Skip`](crate::Overlap::Skip) already when its
    /// job is taken. A job that still waits has none yet. Slots that are left out one after the other are one tick.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use launchkit_queue::{Exit, Fate, Queue, Repeat, Schedule, Store, Worker};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = Queue::new(&Store::memory(), "reports")?;
    /// let hourly = Repeat::named("hourly", Schedule::Every(Duration::from_secs(3600)), "report", &7)?;
    /// let slot = queue.schedule(hourly).await?;
    /// let (ran, mut runs) = tokio::sync::mpsc::channel(1);
    /// let worker = Worker::builder(&queue).on_rest(move |_| {
    ///     let ran = ran.clone();
    ///     async move { ran.send(()).await.map(|()| launchkit_queue::Payload::null()).map_err(Exit::from) }
    /// });
    /// worker.build()?.run_until(async { runs.recv().await.unwrap_or(()) }).await;
    /// let ticks = queue.ticks("hourly", 10).await?;
    /// assert_eq!((ticks.len(), ticks[0].fate, Some(ticks[0].first)), (1, Fate::Run, slot));
    /// # Ok(()) }
    /// ```
    pub async fn ticks(&self, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        self.backend().ticks(self.name(), id, most).await
    }

    /// Makes the next jobs of the schedulers that stand at the slots of these jobs, which were taken or have ended, as far as
    /// their policy allows it yet. Any number of times for the same job.
    pub(crate) async fn advance(&self, passed: &[Passed<'_>]) -> Result<(), StoreError> {
        let now = self.clock().now();
        for passed in passed.chunks(MAX_EDIT) {
            let slots: HashMap<&str, Vec<(Timestamp, &Passed<'_>)>> = by_scheduler(passed);
            if slots.is_empty() {
                continue;
            }
            let ids: Vec<Arc<str>> = slots.keys().map(|id| Arc::from(*id)).collect();
            let most = ids.len() as u32;
            let found = self.backend().repeats(self.name(), &Repeats::Ids(ids), most).await?.found;
            let step = |one: Scheduled| {
                let slot = one.slot?;
                let (_, passed) = slots.get(&*one.repeat.id)?.iter().find(|(of, _)| *of == slot)?;
                let fate = Fate::of(slot, passed.taken, passed.unrun);
                Some(step(one, Tick::one(fate, slot, passed.taken), now))
            };
            self.move_on(found.into_iter().filter_map(step).collect(), now).await?;
        }
        Ok(())
    }

    /// Moves on schedulers that have no live job, one bounded step from a place on; answers where to go on.
    pub(crate) async fn mend(
        &self,
        after: Option<(Timestamp, Arc<str>)>,
    ) -> Result<Option<(Timestamp, Arc<str>)>, StoreError> {
        let now = self.clock().now();
        let before = now.minus(STUCK);
        let page = self.backend().repeats(self.name(), &Repeats::Stuck { before, after }, STEP).await?;
        let stuck: Vec<(Scheduled, Timestamp)> =
            page.found.into_iter().filter_map(|one| one.slot.map(|slot| (one, slot))).collect();
        if stuck.is_empty() {
            return Ok(page.next);
        }
        let ids: Vec<JobId> = stuck.iter().map(|(one, slot)| JobId::of_iteration(&one.repeat.id, *slot)).collect();
        let jobs = self.backend().get(self.name(), &ids).await?;
        let steps = stuck.into_iter().zip(jobs).map(|((one, slot), job)| step(one, found_out(slot, job, now), now));
        self.move_on(steps.collect(), now).await?;
        Ok(page.next)
    }

    async fn move_on(&self, mut steps: Vec<(Scheduled, Advance)>, now: Timestamp) -> Result<(), StoreError> {
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
                let left = one.repeat.left_out(step.slot, next, now);
                (one, Advance { next, left, ..step })
            };
            steps = taken.map(further).collect();
        }
        Ok(())
    }
}

/// A scheduler's job that a worker has taken or ended.
#[derive(Clone, Copy)]
pub(crate) struct Passed<'a> {
    pub(crate) job: &'a JobId,
    /// When it was taken last.
    pub(crate) taken: Timestamp,
    /// Why its handler is not called, or was not.
    pub(crate) unrun: Option<FailureKind>,
}

fn by_scheduler<'a, 'b>(passed: &'b [Passed<'a>]) -> HashMap<&'a str, Vec<(Timestamp, &'b Passed<'a>)>> {
    let mut slots: HashMap<_, Vec<_>> = HashMap::new();
    for one in passed {
        if let Some((id, slot)) = one.job.iteration() {
            slots.entry(id).or_default().push((slot, one));
        }
    }
    slots
}

/// The step of a scheduler from the slot of a tick.
fn step(one: Scheduled, tick: Tick, now: Timestamp) -> (Scheduled, Advance) {
    let slot = tick.first;
    let more = one.repeat.limit.is_none_or(|limit| one.count < limit);
    let next = one.repeat.next(slot, now).filter(|_| more);
    let left = one.repeat.left_out(slot, next, now).filter(|_| more);
    let step = Advance { id: one.repeat.id.clone(), slot, next, tick, left };
    (one, step)
}

/// What a rescuer makes of the slot of a scheduler that stands still. A job that is active may be about to be failed: its
/// taker says so a little later, and the first word is kept.
fn found_out(slot: Timestamp, job: Option<Record>, now: Timestamp) -> Tick {
    let Some((job, taken)) = job.and_then(|job| job.processed_on.map(|taken| (job, taken))) else {
        return Tick::one(Fate::Missed, slot, now);
    };
    let failed = match job.state {
        State::Failed => job.failure,
        State::Active => {
            let start_before = job.options.start_before;
            Doom { start_before, started: job.started > 1, ..Doom::default() }.failure(taken)
        }
        _ => None,
    };
    Tick::one(Fate::of(slot, taken, failed.map(|failed| failed.kind)), slot, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Take, TakeMode, Token, Turn};
    use crate::repeat::{Misfire, Schedule};
    use crate::store::Store;

    /// The rescuer may come between a take and what the taker makes of it: both say the same.
    #[tokio::test]
    async fn a_job_that_is_active_only_to_be_failed_was_skipped() {
        let queue = Queue::new(&Store::memory(), "q").unwrap();
        let now = queue.clock().now();
        let hour = Duration::from_secs(3_600);
        let misfire = Misfire::Skip { after: Duration::from_secs(60) };
        for (id, first, expected) in [("late", now.minus(hour * 2), Fate::Skipped), ("soon", now, Fate::Run)] {
            let repeat = Repeat { misfire, ..Repeat::named(id, Schedule::Every(hour), "n", &1).unwrap() };
            let edits = vec![Edit::Schedule(Put { repeat: Arc::new(repeat), first })];
            queue.backend().edit(EditAll { queue: queue.name().clone(), edits }, now).await.unwrap();
            let take = Take { token: Token::new(id), mode: TakeMode::Fresh, most: 1, lock_for: hour, rate: None };
            let turn = Turn { queue: queue.name().clone(), worker: "w".into(), ends: Vec::new(), take: Some(take) };
            assert_eq!(queue.backend().turn(turn, now).await.unwrap().held.len(), 1);
            let ids = [JobId::of_iteration(id, first)];
            let job = queue.backend().get(queue.name(), &ids).await.unwrap().remove(0);
            assert_eq!(found_out(first, job, now).fate, expected);
        }
    }
}
