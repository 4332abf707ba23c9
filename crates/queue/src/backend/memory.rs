//! The store that lives in this process: the executable specification of the seam, and what tests of users run on.
//!
//! One mutex, ordered maps, no clock, no tasks: the same calls give the same answers. It keeps nothing over a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::{Failed, StoreError};
use crate::event::Position;
use crate::job::{JobId, QueueName, Record};
use crate::options::Group;
use crate::repeat::Tick;
use crate::state::Counts;
use crate::time::Timestamp;

mod add;
mod beat;
mod dedup;
mod edit;
mod flow;
mod groups;
mod lane;
mod obliterate;
mod reads;
mod repeat;
mod spend;
mod turn;

use lane::Lane;
use spend::Budgets;

/// A store in memory. Cheap to create; dropped with the last handle.
#[derive(Debug, Default)]
pub struct Memory {
    world: Mutex<World>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct World {
    lanes: BTreeMap<QueueName, Lane>,
    /// Of all queues that anybody has waited for, whether or not anything was ever written to them.
    bells: BTreeMap<QueueName, Bell>,
    deployment: Option<Arc<str>>,
    budgets: Budgets,
}

/// What waiters of one queue hold on to.
#[derive(Clone, Debug, Default)]
struct Bell {
    work: Arc<Notify>,
    events: watch::Sender<Position>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<(), StoreError> {
        if self.closed.is_cancelled() { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn world(&self) -> Result<MutexGuard<'_, World>, StoreError> {
        self.open()?;
        // A panic inside a verb would be a bug; the data is still the best there is.
        Ok(self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bell(&self, queue: &QueueName) -> Result<Bell, StoreError> {
        let mut world = self.world()?;
        Ok(world.bells.entry(queue.clone()).or_default().clone())
    }

    /// Runs a write on a queue; input that breaks a bound, or a closed store, is handed back untouched.
    fn write<I: std::fmt::Debug, O>(
        &self,
        queue: &QueueName,
        input: I,
        check: impl FnOnce(&I) -> Result<(), StoreError>,
        run: impl FnOnce(&mut Lane, I) -> O,
    ) -> Result<O, Failed<I>> {
        self.write_any(input, check, |world, input| run(world.lane(queue), input))
    }

    /// Runs a write that may touch several queues.
    fn write_any<I: std::fmt::Debug, O>(
        &self,
        input: I,
        check: impl FnOnce(&I) -> Result<(), StoreError>,
        run: impl FnOnce(&mut World, I) -> O,
    ) -> Result<O, Failed<I>> {
        if let Err(why) = check(&input) {
            return Err(Failed::before(why, input));
        }
        match self.world() {
            Ok(mut world) => Ok(run(&mut world, input)),
            Err(why) => Err(Failed::before(why, input)),
        }
    }
}

impl World {
    /// A queue to read from; one that was never written to is empty and stays unknown.
    fn look<O: Default>(&self, queue: &QueueName, read: impl FnOnce(&Lane) -> O) -> O {
        self.lanes.get(queue).map(read).unwrap_or_default()
    }

    fn turn(&mut self, turn: Turn, now: Timestamp) -> Turned {
        let lane = self.lane(&turn.queue);
        let ended = lane.settle_all(turn.ends, now);
        self.pass_on(&turn.queue, now);
        self.lane(&turn.queue).take_all(turn.take, &turn.worker, ended, now)
    }

    fn lane(&mut self, queue: &QueueName) -> &mut Lane {
        let bells = &mut self.bells;
        let new = || Lane::new(bells.entry(queue.clone()).or_default().clone());
        let lane = self.lanes.entry(queue.clone()).or_insert_with(new);
        lane.gone = false;
        lane
    }
}

#[async_trait]
impl Backend for Memory {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        let queue = add.queue.clone();
        self.write(&queue, add, Add::check, |lane, add| lane.add(add.jobs, now))
    }

    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        self.write_any(flow, AddFlow::check, |world, flow| world.add_flow(flow, now))
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        self.write_any(turn, Turn::check, |world, turn| world.turn(turn, now))
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        let queue = beat.queue.clone();
        self.write(&queue, beat, Beat::check, |lane, beat| lane.beat(beat, now))
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        rescue.check()?;
        let mut world = self.world()?;
        if !world.look(&rescue.queue, |_| true) {
            return Ok(Rescued::default());
        }
        Ok(world.lane(&rescue.queue).rescue(&rescue, now))
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        let bell = self.bell(queue)?;
        // Running out of time is as good an answer as being woken: both mean "look again".
        let _ = tokio::time::timeout(at_most, self.closed.run_until_cancelled(bell.work.notified())).await;
        self.open()
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        let mut newest = self.bell(queue)?.events.subscribe();
        let news = newest.wait_for(|position| *position > after);
        let _ = tokio::time::timeout(at_most, self.closed.run_until_cancelled(news)).await;
        self.open()
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        self.write_any(edit, EditAll::check, |world, edit| world.edit(edit, now))
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        self.write_any(sweep, Sweep::check, |world, sweep| {
            let swept = world.lane(&sweep.queue).sweep(&sweep, now);
            world.pass_on(&sweep.queue, now);
            swept
        })
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        obliterate_step(most)?;
        Ok(self.world()?.obliterate(queue, held, most, now))
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        super::spend::check(&spends)?;
        Ok(self.world()?.budgets.spend(&spends, now))
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        what.check()?;
        self.world()?.lane(queue).control(what, now);
        Ok(())
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        what.check(group)?;
        self.world()?.lane(queue).order_group(group, what, now);
        Ok(())
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        within(ids.len(), MAX_READ as usize, "more than 1,000 ids in one read")?;
        let found = self.world()?.look(queue, |lane| ids.iter().map(|id| lane.record(id)).collect::<Vec<_>>());
        Ok(if found.is_empty() { ids.iter().map(|_| None).collect() } else { found })
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        list.check()?;
        Ok(self.world()?.look(queue, |lane| lane.list(list)))
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        Ok(self.world()?.look(queue, Lane::counts))
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 log lines in one read")?;
        Ok(self.world()?.look(queue, |lane| lane.logs(id, skip, most)))
    }

    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 children in one read")?;
        Ok(self.world()?.look(queue, |lane| lane.children(id, after, most)))
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 events in one read")?;
        let read = self.world()?.look(queue, |lane| Some(lane.events(after, most)));
        Ok(read.unwrap_or(Events { next: after, ..Events::default() }))
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        Ok(self.world()?.look(queue, |lane| lane.info(now)))
    }

    async fn metrics(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 minutes in one read")?;
        Ok(self.world()?.look(queue, |lane| lane.metrics(before, most)))
    }

    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> {
        wanted.check(most)?;
        Ok(self.world()?.look(queue, |lane| lane.repeats(wanted, most)))
    }

    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 ticks in one read")?;
        Ok(self.world()?.look(queue, |lane| lane.ticks(id, most)))
    }

    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        wanted.check(most)?;
        Ok(self.world()?.look(queue, |lane| lane.groups.read(wanted, most)))
    }

    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        Ok(self.world()?.look(queue, |lane| lane.facts(id, now)))
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        let world = self.world()?;
        Ok(world.lanes.iter().filter(|(_, lane)| !lane.gone).map(|(name, _)| name.clone()).collect())
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        let mut world = self.world()?;
        Ok(world.deployment.get_or_insert_with(|| deployment.into()).clone())
    }

    fn promises(&self) -> Promises {
        Promises { durable: Durable::Process, shared: Shared::Process }
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Payload;

    /// A reader of events that falls asleep while a writer tells some.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn readers_and_writers_on_two_threads_do_not_lock_each_other_out() {
        const JOBS: usize = 20_000;
        let store = Arc::new(Memory::new());
        let queue = QueueName::new("q").unwrap();
        let read = {
            let (store, queue) = (store.clone(), queue.clone());
            async move {
                let mut after = Position::START;
                while store.counts(&queue).await.unwrap().waiting < JOBS as u64 {
                    store.wait_events(&queue, after, Duration::from_millis(50)).await.unwrap();
                    after = store.info(&queue, Timestamp::default()).await.unwrap().newest_event;
                }
            }
        };
        let reading = tokio::spawn(tokio::time::timeout(Duration::from_secs(60), read));
        let adding = tokio::spawn(async move {
            for _ in 0..JOBS {
                let job = NewJob { id: None, name: "n".into(), data: Payload::null(), options: Arc::default() };
                store.add(Add { queue: queue.clone(), jobs: vec![job] }, Timestamp::default()).await.unwrap();
            }
        });
        reading.await.unwrap().expect("the reader sees all of them");
        adding.await.unwrap();
    }
}
