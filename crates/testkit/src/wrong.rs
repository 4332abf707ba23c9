//! Stores that are wrong: each breaks one promise, and a bound or an answer that hangs on it. They test the tests: whatever a
//! store can get wrong must be seen by a case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use launchkit_queue::backend::memory::Memory;
use launchkit_queue::backend::*;
use launchkit_queue::{
    Counts, Failed, Group, JobId, Keep, Outcome, Position, QueueName, Record, StoreError, Tick, Timestamp,
};

use crate::given::{boom, id};

/// The promise that a store breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It breaks none: what fails on it fails because of the wrapper.
    None,
    /// Whoever names a held job may end it.
    ForgetsTokens,
    /// A beat renews no lock, and says that none is lost.
    RenewsNothing,
    /// A job that is to run again later does so a millisecond early.
    ComesBackEarly,
    /// A job that is put off has used up an attempt.
    CountsWhatIsPutOff,
    /// The last job of several is acknowledged and not stored.
    DropsTheLast,
    /// The last job of a tree is acknowledged and not stored.
    StoresPartOfATree,
    /// Two events that follow each other are told the wrong way round.
    TellsOutOfOrder,
    /// A take that asks for several jobs gets one more.
    TakesOneMore,
    /// A duplicate id replaces the job that has it.
    ReplacesDuplicates,
    /// A pause is acknowledged and forgotten.
    RunsThoughPaused,
    /// What is finished stays, whatever was asked.
    KeepsEverything,
    /// A job may stall as often as it likes.
    RescuesForEver,
    /// Nobody who waits is called.
    CallsNobody,
    /// A take that is repeated gets other jobs.
    TakesAnew,
    /// A held job that is to stop is not told.
    ForgetsCancels,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 16] = [
        Lie::None,
        Lie::ForgetsTokens,
        Lie::RenewsNothing,
        Lie::ComesBackEarly,
        Lie::CountsWhatIsPutOff,
        Lie::DropsTheLast,
        Lie::StoresPartOfATree,
        Lie::TellsOutOfOrder,
        Lie::TakesOneMore,
        Lie::ReplacesDuplicates,
        Lie::RunsThoughPaused,
        Lie::KeepsEverything,
        Lie::RescuesForEver,
        Lie::CallsNobody,
        Lie::TakesAnew,
        Lie::ForgetsCancels,
    ];
}

/// A store in memory that breaks one promise.
pub struct Wrong {
    inner: Memory,
    lie: Lie,
    /// Who holds each job that was ever held.
    holders: Mutex<HashMap<(QueueName, JobId), Token>>,
}

impl Wrong {
    /// An empty store that breaks this promise.
    pub fn new(lie: Lie) -> Self {
        Self { inner: Memory::new(), lie, holders: Mutex::default() }
    }

    fn lies(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    /// What is said of the end of one run.
    fn twist(&self, queue: &QueueName, end: &mut Verdict) {
        match (self.lie, &mut end.outcome) {
            (Lie::ForgetsTokens, _) => {
                let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(token) = holders.get(&(queue.clone(), end.lock.id.clone())) {
                    end.lock.token = token.clone();
                }
            }
            (Lie::ComesBackEarly, Outcome::Retry { at, .. } | Outcome::Later(at)) => {
                *at = Timestamp::from_millis(at.millis() - 1);
            }
            (Lie::CountsWhatIsPutOff, Outcome::Later(at)) => end.outcome = Outcome::Retry { at: *at, failure: boom() },
            (Lie::KeepsEverything, _) => end.keep = Keep::ALL,
            _ => {}
        }
    }

    async fn remove_duplicates(&self, add: &Add, now: Timestamp) {
        let removals = add.jobs.iter().filter_map(|job| job.id.clone().map(Edit::Remove)).collect();
        let edits = EditAll { queue: add.queue.clone(), edits: removals };
        // Held jobs refuse; that is as it should be.
        let _ = self.inner.edit(edits, now).await;
    }
}

#[async_trait]
impl Backend for Wrong {
    async fn add(&self, mut add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        if self.lies(Lie::ReplacesDuplicates) {
            self.remove_duplicates(&add, now).await;
        }
        let dropped = if self.lies(Lie::DropsTheLast) && add.jobs.len() > 1 { add.jobs.pop() } else { None };
        let mut answers = self.inner.add(add, now).await?;
        answers.extend(dropped.map(|job| Added::New(job.id.unwrap_or_else(|| id("dropped")))));
        Ok(answers)
    }

    async fn add_flow(&self, mut flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        let dropped = if self.lies(Lie::StoresPartOfATree) && flow.nodes.len() > 1 { flow.nodes.pop() } else { None };
        let mut flowed = self.inner.add_flow(flow, now).await?;
        if let (Flowed::Added(answers), Some(node)) = (&mut flowed, dropped) {
            answers.push(Added::New(node.job.id.unwrap_or_else(|| id("dropped"))));
        }
        Ok(flowed)
    }

    async fn turn(&self, mut turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        let queue = turn.queue.clone();
        for end in &mut turn.ends {
            self.twist(&queue, end);
        }
        if let Some(take) = &mut turn.take {
            take.most += usize::from(self.lies(Lie::TakesOneMore) && take.most > 1);
            if self.lies(Lie::TakesAnew) {
                take.mode = TakeMode::Fresh;
            }
        }
        let turned = self.inner.turn(turn, now).await?;
        let held = turned.held.iter().map(|held| ((queue.clone(), held.lock.id.clone()), held.lock.token.clone()));
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
        Ok(turned)
    }

    async fn beat(&self, mut beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        if self.lies(Lie::RenewsNothing) {
            beat.locks.clear();
        }
        let mut beaten = self.inner.beat(beat, now).await?;
        if self.lies(Lie::ForgetsCancels) {
            beaten.cancel.clear();
        }
        Ok(beaten)
    }

    async fn rescue(&self, mut rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        if self.lies(Lie::RescuesForEver) {
            rescue.max_stalled = u32::MAX;
        }
        self.inner.rescue(rescue, now).await
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        if self.lies(Lie::CallsNobody) {
            tokio::time::sleep(at_most).await;
            return Ok(());
        }
        self.inner.wait(queue, at_most).await
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        if self.lies(Lie::RunsThoughPaused) && matches!(what, Control::Pause) {
            return Ok(());
        }
        self.inner.control(queue, what, now).await
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        let mut page = self.inner.events(queue, after, most).await?;
        if let (Lie::TellsOutOfOrder, [.., (_, one), (_, other)]) = (self.lie, page.events.as_mut_slice()) {
            std::mem::swap(one, other);
        }
        Ok(page)
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        self.inner.wait_events(queue, after, at_most).await
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        self.inner.edit(edit, now).await
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        self.inner.sweep(sweep, now).await
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        self.inner.obliterate(queue, held, most, now).await
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        self.inner.spend(spends, now).await
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.group(queue, group, what, now).await
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

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        self.inner.info(queue, now).await
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
        self.inner.facts(queue, id, now).await
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
