//! A store that fails as told: any store behind a script of faults per verb. What a real store does when its disk is full,
//! its connection breaks or its answer is lost, tests do with this, on purpose and at a known moment. It also tells what is
//! under way and what came of it, so that a test can strike at the right moment.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use launchkit_queue::backend::*;
use launchkit_queue::{
    Counts, Failed, Group, Happened, JobId, Outcome, Position, QueueName, Record, StoreError, Tick, Timestamp,
};
use tokio::sync::watch;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out, and says so.
    Before,
    /// It is carried out, but its answer is lost.
    After,
    /// It is carried out, 300 ms late.
    Slow,
    /// It is not carried out and never answers; its future can only be dropped.
    Hang,
    /// It is carried out and never answers.
    Deaf,
    /// It never answers; an add, a turn, a beat, an edit or a sweep is carried out 90 s later, when its caller has given it up.
    Stray,
}

/// How late a slow call is.
const LATE: Duration = Duration::from_millis(300);
/// How late a stray one is.
const STRAY: Duration = Duration::from_secs(90);

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `add`, `add_flow`
    Add,
    /// `turn`
    Turn,
    /// `beat`
    Beat,
    /// `rescue`
    Rescue,
    /// `wait`, `wait_events`
    Wait,
    /// `edit`
    Edit,
    /// `sweep`
    Sweep,
    /// `control`, `claim`, `spend`
    Control,
    /// Everything that only reads.
    Read,
}

type Script = Box<dyn Iterator<Item = Option<Fault>> + Send>;

/// A store that fails as told.
pub struct Faulty {
    inner: Arc<dyn Backend>,
    scripts: Mutex<HashMap<Verb, Script>>,
    faults: AtomicU64,
    /// Calls that have failed as far as they ever will.
    struck: watch::Sender<u64>,
    seen: watch::Sender<Seen>,
}

/// What has passed through so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    flying: HashMap<Verb, u64>,
    failed: HashMap<Verb, u64>,
    /// Jobs that ended for good.
    pub ended: u64,
    /// What the last call that failed said.
    pub why: String,
}

impl Seen {
    /// Whether a call of each of these verbs is under way.
    pub fn flying(&self, verbs: &[Verb]) -> bool {
        verbs.iter().all(|verb| self.flying.get(verb).is_some_and(|calls| *calls > 0))
    }

    /// Whether a call of each of these verbs has failed.
    pub fn failed(&self, verbs: &[Verb]) -> bool {
        verbs.iter().all(|verb| self.failed.contains_key(verb))
    }
}

/// A call under way.
struct Flying<'a>(&'a Faulty, Verb);

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| *seen.flying.entry(self.1).or_default() -= 1);
    }
}

/// What the script says to a call.
enum Go {
    Fail,
    Through,
    Lose,
    Deafen,
    Stray,
}

impl Faulty {
    /// A store that does not fail yet.
    pub fn over(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            scripts: Mutex::default(),
            faults: AtomicU64::new(0),
            struck: watch::Sender::new(0),
            seen: watch::Sender::default(),
        })
    }

    /// Ends when this holds of what has passed through.
    pub async fn until(&self, holds: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        // Fails only when this store is gone, which its borrower prevents.
        seen.wait_for(holds).await.expect("it is there").clone()
    }

    /// What happens to the next calls of a verb, one item each; when the script is over, nothing more.
    pub fn plan(&self, verb: Verb, script: impl IntoIterator<Item = Option<Fault>, IntoIter: Send + 'static>) {
        self.scripts().insert(verb, Box::new(script.into_iter()));
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.scripts().clear();
    }

    /// How many calls have failed so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Ends when a call has failed, been carried out and lost its answer, or hangs.
    pub async fn struck(&self) {
        // Fails only when this store is gone, which its borrower prevents.
        let _ = self.struck.subscribe().wait_for(|struck| *struck > 0).await;
    }

    fn strike(&self) {
        self.struck.send_modify(|struck| *struck += 1);
    }

    fn fly(&self, verb: Verb) -> Flying<'_> {
        self.seen.send_modify(|seen| *seen.flying.entry(verb).or_default() += 1);
        Flying(self, verb)
    }

    /// Notes whether the store itself failed.
    fn noted<O, E: Display>(&self, verb: Verb, answer: Result<O, E>) -> Result<O, E> {
        if let Err(error) = &answer {
            self.seen.send_modify(|seen| {
                *seen.failed.entry(verb).or_default() += 1;
                seen.why = error.to_string();
            });
        }
        answer
    }

    fn scripts(&self) -> MutexGuard<'_, HashMap<Verb, Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, verb: Verb) -> Go {
        let fault = self.scripts().get_mut(&verb).and_then(|script| script.next()).flatten();
        if fault.is_some() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            None => Go::Through,
            Some(Fault::Slow) => {
                tokio::time::sleep(LATE).await;
                Go::Through
            }
            Some(Fault::Before) => {
                self.strike();
                Go::Fail
            }
            Some(Fault::After) => Go::Lose,
            Some(Fault::Deaf) => Go::Deafen,
            Some(Fault::Stray) => {
                self.strike();
                Go::Stray
            }
            Some(Fault::Hang) => {
                self.strike();
                std::future::pending().await
            }
        }
    }
}

fn broken() -> StoreError {
    StoreError::Unavailable("as planned".to_owned())
}

/// A write that hands its input back.
macro_rules! write {
    ($self:ident, $verb:ident, $call:ident, $input:ident, $now:ident) => {{
        let _flying = $self.fly(Verb::$verb);
        match $self.begin(Verb::$verb).await {
            Go::Fail => Err(Failed::before(broken(), $input)),
            Go::Through => $self.noted(Verb::$verb, $self.inner.$call($input, $now).await),
            Go::Lose => {
                let copy = $input.clone();
                $self.inner.$call($input, $now).await?;
                $self.strike();
                Err(lost(copy))
            }
            Go::Deafen => {
                $self.inner.$call($input, $now).await?;
                $self.strike();
                std::future::pending().await
            }
            Go::Stray => {
                let (inner, input) = ($self.inner.clone(), $input);
                tokio::spawn(async move {
                    tokio::time::sleep(STRAY).await;
                    inner.$call(input, $now).await.map(drop)
                });
                std::future::pending().await
            }
        }
    }};
}

fn lost<I: Debug>(input: I) -> Failed<I> {
    Failed { why: broken(), happened: Happened::Unknown, input: Box::new(input) }
}

/// Everything else.
macro_rules! plain {
    ($self:ident, $verb:ident, $call:ident($($input:expr),*)) => {{
        let _flying = $self.fly(Verb::$verb);
        match $self.begin(Verb::$verb).await {
            Go::Fail => Err(broken()),
            Go::Through => $self.noted(Verb::$verb, $self.inner.$call($($input),*).await),
            Go::Lose => {
                $self.inner.$call($($input),*).await?;
                $self.strike();
                Err(broken())
            }
            Go::Deafen => {
                $self.inner.$call($($input),*).await?;
                $self.strike();
                std::future::pending().await
            }
            Go::Stray => std::future::pending().await,
        }
    }};
}

#[async_trait]
impl Backend for Faulty {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        write!(self, Add, add, add, now)
    }

    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        write!(self, Add, add_flow, flow, now)
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        let finals: Vec<bool> =
            turn.ends.iter().map(|end| matches!(end.outcome, Outcome::Done(_) | Outcome::Dead(_))).collect();
        let turned = write!(self, Turn, turn, turn, now)?;
        let ended = finals.iter().zip(&turned.ends).filter(|(last, end)| **last && **end == End::Applied).count();
        self.seen.send_modify(|seen| seen.ended += ended as u64);
        Ok(turned)
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        write!(self, Beat, beat, beat, now)
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        plain!(self, Rescue, rescue(rescue.clone(), now))
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        plain!(self, Wait, wait(queue, at_most))
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        plain!(self, Wait, wait_events(queue, after, at_most))
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        write!(self, Edit, edit, edit, now)
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        write!(self, Sweep, sweep, sweep, now)
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        plain!(self, Sweep, obliterate(queue, held, most, now))
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        plain!(self, Control, spend(spends.clone(), now))
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        plain!(self, Control, control(queue, what, now))
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        plain!(self, Control, group(queue, group, what, now))
    }

    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        plain!(self, Read, groups(queue, wanted, most))
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        plain!(self, Read, get(queue, ids))
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        plain!(self, Read, list(queue, list))
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        plain!(self, Read, counts(queue))
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        plain!(self, Read, logs(queue, id, skip, most))
    }

    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        plain!(self, Read, children(queue, id, after, most))
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        plain!(self, Read, events(queue, after, most))
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        plain!(self, Read, info(queue, now))
    }

    async fn metrics(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        plain!(self, Read, metrics(queue, before, most))
    }

    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> {
        plain!(self, Read, repeats(queue, wanted, most))
    }

    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        plain!(self, Read, ticks(queue, id, most))
    }

    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        plain!(self, Read, facts(queue, id, now))
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        plain!(self, Read, queues())
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        plain!(self, Control, claim(deployment))
    }

    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
