//! The store that lives in this process: the executable specification of the seam, and what tests of users run on.
//!
//! One mutex, ordered maps, no clock, no tasks: the same calls give the same answers. It keeps nothing over a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::*;
use crate::error::{Failed, StoreError};
use crate::event::Position;
use crate::job::{JobId, QueueName, Record};
use crate::state::Counts;
use crate::time::Timestamp;

mod lane;
mod moves;
mod reads;

use lane::Lane;

/// A store in memory. Cheap to create; dropped with the last handle.
#[derive(Debug, Default)]
pub struct Memory {
    world: Mutex<World>,
}

#[derive(Debug, Default)]
struct World {
    lanes: BTreeMap<QueueName, Lane>,
    /// Of all queues that anybody has waited for, whether or not anything was ever written to them.
    bells: BTreeMap<QueueName, Bell>,
    deployment: Option<Arc<str>>,
    closed: bool,
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

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic inside a verb would be a bug; the data is still the best there is.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<(), StoreError> {
        self.world().open()
    }

    fn bell(&self, queue: &QueueName) -> Result<Bell, StoreError> {
        let mut world = self.world();
        world.open()?;
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
        if let Err(why) = check(&input) {
            return Err(Failed::before(why, input));
        }
        match self.world().lane(queue) {
            Ok(lane) => Ok(run(lane, input)),
            Err(why) => Err(Failed::before(why, input)),
        }
    }
}

impl World {
    fn open(&self) -> Result<(), StoreError> {
        if self.closed { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// A queue to read from; one that was never written to is empty and stays unknown.
    fn look<O: Default>(&self, queue: &QueueName, read: impl FnOnce(&Lane) -> O) -> Result<O, StoreError> {
        self.open()?;
        Ok(self.lanes.get(queue).map(read).unwrap_or_default())
    }

    fn lane(&mut self, queue: &QueueName) -> Result<&mut Lane, StoreError> {
        self.open()?;
        let bells = &mut self.bells;
        let new = || Lane::new(bells.entry(queue.clone()).or_default().clone());
        Ok(self.lanes.entry(queue.clone()).or_insert_with(new))
    }
}

#[async_trait]
impl Backend for Memory {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        let queue = add.queue.clone();
        self.write(&queue, add, Add::check, |lane, add| lane.add(add.jobs, now))
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        let queue = turn.queue.clone();
        self.write(&queue, turn, Turn::check, |lane, turn| lane.turn(turn, now))
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        let queue = beat.queue.clone();
        self.write(&queue, beat, Beat::check, |lane, beat| lane.beat(beat, now))
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        rescue.check()?;
        let mut world = self.world();
        let used = world.look(&rescue.queue, |_| true)?;
        if !used {
            return Ok(Rescued::default());
        }
        Ok(world.lane(&rescue.queue)?.rescue(&rescue, now))
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        let bell = self.bell(queue)?;
        // Running out of time is as good an answer as being woken: both mean "look again".
        let _ = tokio::time::timeout(at_most, bell.work.notified()).await;
        self.open()
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        let mut newest = self.bell(queue)?.events.subscribe();
        let news = newest.wait_for(|position| *position > after || self.open().is_err());
        let _ = tokio::time::timeout(at_most, news).await;
        self.open()
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        let queue = edit.queue.clone();
        self.write(&queue, edit, EditAll::check, |lane, edit| lane.edit(edit.edits, now))
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        let queue = sweep.queue.clone();
        self.write(&queue, sweep, Sweep::check, |lane, sweep| lane.sweep(&sweep, now))
    }

    async fn control(&self, queue: &QueueName, what: Control, _now: Timestamp) -> Result<(), StoreError> {
        self.world().lane(queue)?.control(what);
        Ok(())
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        within(ids.len(), MAX_READ as usize, "more than 1,000 ids in one read")?;
        let found = self.world().look(queue, |lane| ids.iter().map(|id| lane.record(id)).collect::<Vec<_>>())?;
        Ok(if found.is_empty() { ids.iter().map(|_| None).collect() } else { found })
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        list.check()?;
        self.world().look(queue, |lane| lane.list(list))
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        self.world().look(queue, Lane::counts)
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 log lines in one read")?;
        self.world().look(queue, |lane| lane.logs(id, skip, most))
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 events in one read")?;
        let read = self.world().look(queue, |lane| Some(lane.events(after, most)))?;
        Ok(read.unwrap_or(Events { next: after, ..Events::default() }))
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        self.world().look(queue, |lane| lane.info(now))
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        let world = self.world();
        world.open()?;
        Ok(world.lanes.keys().cloned().collect())
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        let mut world = self.world();
        world.open()?;
        Ok(world.deployment.get_or_insert_with(|| deployment.into()).clone())
    }

    fn promises(&self) -> Promises {
        Promises { durable: Durable::Process, shared: Shared::Process }
    }

    async fn close(&self) {
        let mut world = self.world();
        world.closed = true;
        let bells: Vec<Bell> = world.bells.values().cloned().collect();
        drop(world);
        for bell in bells {
            bell.work.notify_waiters();
            bell.events.send_modify(|_| {});
        }
    }
}
