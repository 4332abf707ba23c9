//! A store whose server tells the time that its caller tells: before each verb that carries a `now`, the server's clock is put
//! there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use launchkit_queue::backend::*;
use launchkit_queue::{Counts, Failed, Group, JobId, Position, QueueName, Record, StoreError, Tick, Timestamp};

use super::RedisServer;

/// Beyond the year 9999 a server's count of microseconds may overflow; at zero it would have the machine's clock.
const TELLABLE: std::ops::RangeInclusive<i64> = 1..=253_402_300_799_999;

/// A store on a server that was started with a clock.
pub struct Clocked {
    inner: Arc<dyn Backend>,
    server: Arc<RedisServer>,
}

impl Clocked {
    /// A store, and the server that it is on.
    pub fn over(inner: Arc<dyn Backend>, server: Arc<RedisServer>) -> Arc<Self> {
        Arc::new(Self { inner, server })
    }

    /// The store, with its server's clock where the verb's caller has it.
    fn at(&self, now: Timestamp) -> &dyn Backend {
        let tellable = now.millis().clamp(*TELLABLE.start(), *TELLABLE.end());
        self.server.set_clock(Timestamp::from_millis(tellable)).expect("a server with a clock of ours");
        &*self.inner
    }
}

#[async_trait]
impl Backend for Clocked {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        self.at(now).add(add, now).await
    }

    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        self.at(now).add_flow(flow, now).await
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        self.at(now).turn(turn, now).await
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        self.at(now).beat(beat, now).await
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        self.at(now).rescue(rescue, now).await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        self.inner.wait(queue, at_most).await
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        self.inner.wait_events(queue, after, at_most).await
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        self.at(now).edit(edit, now).await
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        self.at(now).sweep(sweep, now).await
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        self.at(now).obliterate(queue, held, most, now).await
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        self.at(now).spend(spends, now).await
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        self.at(now).control(queue, what, now).await
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.at(now).group(queue, group, what, now).await
    }

    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        self.inner.groups(queue, wanted, most).await
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.inner.get(queue, ids).await
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        self.inner.list(queue, list).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        self.inner.counts(queue).await
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        self.inner.logs(queue, id, skip, most).await
    }

    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        self.inner.children(queue, id, after, most).await
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        self.inner.events(queue, after, most).await
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        self.at(now).info(queue, now).await
    }

    async fn metrics(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        self.inner.metrics(queue, before, most).await
    }

    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> {
        self.inner.repeats(queue, wanted, most).await
    }

    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        self.inner.ticks(queue, id, most).await
    }

    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        self.at(now).facts(queue, id, now).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.inner.queues().await
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        self.inner.claim(deployment).await
    }

    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
