//! The store on Redis or Valkey, in the data layout of BullMQ 6: Node, Python, Elixir, PHP and Rust BullMQ producers and workers
//! and their dashboards share its queues.
//!
//! Every write is one script, which does for many jobs what BullMQ's do for one. What BullMQ has no place for lies in fields
//! of a job's hash that begin with `lk:`, or under keys that begin with `<prefix>::lk`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::error::{Failed, StoreError};
use crate::event::Position;
use crate::job::{JobId, QueueName, Record};
use crate::options::Group;
use crate::repeat::Tick;
use crate::state::Counts;
use crate::time::Timestamp;

mod codec;
mod flow;
mod groups;
mod keys;
mod leftovers;
mod link;
mod obliterate;
mod options;
mod read;
mod repeat;
mod reply;
mod report;
mod script;
mod spend;
mod wake;
mod write;

use keys::Keys;
use link::{Link, Trouble};
use script::{Call, Script, Scripts};
use wake::Bells;
use write::{ADD_STEP, PlainTurns};

pub use leftovers::Leftovers;
pub use link::RedisHealth;
pub use options::{BadRedisOptions, BadRedisUrl, RedisOptions};
pub use report::{RedisDisk, RedisLack, RedisLine, RedisMemory, RedisQueue, RedisReport, RedisRole};

/// A store on Redis or Valkey.
pub struct Redis {
    link: Arc<Link>,
    keys: Keys,
    scripts: Scripts,
    bells: Bells,
    plain_turns: PlainTurns,
    closed: AtomicBool,
}

impl Redis {
    /// Connects, and refuses what cannot work.
    pub async fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let link = Arc::new(Link::open(options).await?);
        let keys = Keys::new(&options.prefix);
        let bells = Bells::new(link.clone(), &options.prefix);
        let (plain_turns, closed) = Default::default();
        Ok(Self { link, keys, scripts: Scripts::new(), bells, plain_turns, closed })
    }

    /// How the connection has fared.
    pub fn health(&self) -> RedisHealth {
        self.link.health()
    }

    fn open_still(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// A call of a script about one queue.
    fn call<'a>(&self, script: &'a Script, queue: &QueueName, now: Timestamp) -> Call<'a> {
        let mut call = script.call(&[&self.keys.base(queue), &self.keys.own(queue)]);
        call.arg(now.millis());
        call
    }

    /// A call of a script that also knows the names of all queues.
    fn call_shared<'a>(&self, script: &'a Script, queue: &QueueName, now: Timestamp) -> Call<'a> {
        let mut call = script.call(&[&self.keys.base(queue), &self.keys.own(queue), &self.keys.queues()]);
        call.arg(now.millis());
        call
    }

    /// What every write checks before anything else; input that fails it is handed back untouched.
    fn ready<I: std::fmt::Debug>(
        &self,
        input: I,
        check: impl FnOnce(&I) -> Result<(), StoreError>,
    ) -> Result<I, Failed<I>> {
        match check(&input).and_then(|()| self.open_still()) {
            Ok(()) => Ok(input),
            Err(why) => Err(Failed::before(why, input)),
        }
    }
}

/// An answer, or the input back.
fn answer<I: std::fmt::Debug, O>(done: Result<O, Trouble>, input: I) -> Result<O, Failed<I>> {
    done.map_err(|trouble| trouble.back(input))
}

#[async_trait]
impl Backend for Redis {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        let add = self.ready(add, Add::check)?;
        let mut all = Vec::with_capacity(add.jobs.len());
        for jobs in add.jobs.chunks(ADD_STEP) {
            match self.add_step(&add.queue, jobs, now).await {
                Ok(added) => all.extend(added),
                Err(trouble) if all.is_empty() => return Err(trouble.back(add)),
                Err(trouble) => return Err(Trouble::after(trouble.why).back(add)),
            }
        }
        Ok(all)
    }

    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        let flow = self.ready(flow, AddFlow::check)?;
        answer(self.flow_planned(&flow, now).await, flow)
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        let turn = self.ready(turn, Turn::check)?;
        answer(self.turn_once(&turn, now).await, turn)
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        let beat = self.ready(beat, Beat::check)?;
        answer(self.beat_once(&beat, now).await, beat)
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        rescue.check()?;
        self.open_still()?;
        self.rescue_once(&rescue, now).await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        self.open_still()?;
        self.bells.wait(queue, at_most).await
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        self.open_still()?;
        self.bells.wait_events(queue, after, at_most).await
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        let edit = self.ready(edit, EditAll::check)?;
        answer(self.edit_all(&edit, now).await, edit)
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        let sweep = self.ready(sweep, Sweep::check)?;
        answer(self.sweep_once(&sweep, now).await, sweep)
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        obliterate_step(most)?;
        self.open_still()?;
        self.obliterate_step(queue, held, most, now).await
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        super::spend::check(&spends)?;
        self.open_still()?;
        self.spend_from(&spends, now).await
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        what.check()?;
        self.open_still()?;
        self.control_once(queue, what, now).await
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        what.check(group)?;
        self.open_still()?;
        self.order_group(queue, group, what, now).await
    }

    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        wanted.check(most)?;
        self.open_still()?;
        self.find_groups(queue, wanted, most).await
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        within(ids.len(), MAX_READ as usize, "more than 1,000 ids in one read")?;
        self.open_still()?;
        self.records(queue, ids).await
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        list.check()?;
        self.open_still()?;
        self.page(queue, list).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        self.open_still()?;
        Ok(self.look(queue, Timestamp::default()).await?.counts)
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 log lines in one read")?;
        self.open_still()?;
        self.log_lines(queue, id, skip, most).await
    }

    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 children in one read")?;
        self.open_still()?;
        self.children_page(queue, id, after, most).await
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 events in one read")?;
        self.open_still()?;
        self.stream(queue, after, most).await
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        self.open_still()?;
        self.look(queue, now).await
    }

    async fn metrics(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 minutes in one read")?;
        self.open_still()?;
        self.minutes(queue, before, most).await
    }

    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> {
        wanted.check(most)?;
        self.open_still()?;
        self.schedulers(queue, wanted, most).await
    }

    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 ticks in one read")?;
        self.open_still()?;
        self.ticks_of(queue, id, most).await
    }

    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        self.open_still()?;
        self.stand(queue, id, now).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.open_still()?;
        let mut names = ::redis::cmd("SMEMBERS");
        names.arg(self.keys.queues());
        let mut names = reply::texts(self.link.send(&names).await?)?;
        names.sort_unstable();
        Ok(names.iter().filter_map(|name| QueueName::new(name).ok()).collect())
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        self.open_still()?;
        let key = self.keys.deployment();
        self.link.send(::redis::cmd("SETNX").arg(&key).arg(deployment)).await?;
        Ok(reply::text(self.link.send(::redis::cmd("GET").arg(&key)).await?)?.into())
    }

    fn promises(&self) -> Promises {
        Promises { durable: Durable::Server, shared: Shared::Network }
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bells.close().await;
        self.link.close().await;
    }
}
