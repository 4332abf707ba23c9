//! What a handler holds while it runs.

use std::sync::Arc;

use serde::Serialize;

use super::held::Run;
use crate::backend::{Added, Children, Held};
use crate::error::{BadPayload, StoreError};
use crate::job::{JobId, Payload};
use crate::journal::Carry;
use crate::options::JobOptions;
use crate::queue::{Flow, FlowError, Queue};

/// Why a handler should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The lock is lost: somebody else may run the job; what this run answers is dropped.
    LockLost,
    /// Somebody asked the job to stop. A result that comes all the same counts.
    Canceled,
    /// The worker stops and the grace is over; the job is given back.
    Shutdown,
}

/// A job that is running: its data and its line to the queue.
#[derive(Debug)]
pub struct Active<D> {
    data: D,
    run: Arc<Run>,
    facts: Arc<Facts>,
}

#[derive(Debug)]
struct Facts {
    name: Arc<str>,
    options: Arc<JobOptions>,
    made: u32,
    started: u32,
    stalls: u32,
    carry: Carry,
    queue: Queue,
}

impl Active<Payload> {
    pub(super) fn new(queue: &Queue, held: &Held, run: Arc<Run>, carry: Carry) -> Self {
        let facts = Facts {
            name: held.name.clone(),
            options: held.options.clone(),
            made: held.made,
            started: held.started,
            stalls: held.stalls,
            carry,
            queue: queue.clone(),
        };
        Self { data: held.data.clone(), run, facts: Arc::new(facts) }
    }
}

impl<D> Active<D> {
    /// The payload.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The payload, when nothing else is needed any more.
    pub fn into_data(self) -> D {
        self.data
    }

    pub(super) fn with<E>(self, data: E) -> Active<E> {
        Active { data, run: self.run, facts: self.facts }
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.run.lock.id
    }

    /// The stored name of its kind.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Its options.
    pub fn options(&self) -> &JobOptions {
        &self.facts.options
    }

    /// Which counted attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.facts.made.saturating_add(1)
    }

    /// Whether no try is left after this one.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt() >= self.facts.options.attempts
    }

    /// Times it was started, this one included; more than [`Active::attempt`] after rescues and give-backs.
    pub fn started(&self) -> u32 {
        self.facts.started
    }

    /// Times its worker vanished.
    pub fn stalls(&self) -> u32 {
        self.facts.stalls
    }

    /// Says how far it is; any JSON, commonly a percentage. The last word within 250 ms is stored; a failure to store it
    /// is logged and does not fail the job.
    pub fn progress<P: Serialize + ?Sized>(&self, value: &P) -> Result<(), BadPayload> {
        self.run.note_progress(Payload::encode(value)?);
        Ok(())
    }

    /// Adds a log line, stored within 250 ms, before progress that is noted after it. No event tells of it: read
    /// [`Queue::logs`](crate::Queue::logs) with a growing `skip`. Lines over 8 kB are cut; beyond 1,000 (or the job's own limit) the oldest
    /// go.
    pub fn log(&self, line: impl AsRef<str>) {
        self.run.note_line(line.as_ref());
    }

    /// Why it should stop, if it should.
    pub fn cause(&self) -> Option<Cause> {
        self.run.cause()
    }

    /// Ends when it should stop. A handler that goes on is dropped at its next `.await`: at once when the lock is lost,
    /// after five seconds when it was canceled, after one second at shutdown.
    ///
    /// A handler that stops because of it answers any error; what becomes of the job is decided by the cause: failed as
    /// canceled, given back at shutdown, nobody's business when the lock is lost. A result that comes all the same counts.
    ///
    /// ```
    /// # use launchkit_queue::{Active, Exit, JobKind};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Fetch;
    /// # impl JobKind for Fetch { const NAME: &'static str = "fetch"; type Output = (); }
    /// # async fn fetch_all() {}
    /// async fn fetch(job: Active<Fetch>) -> Result<(), Exit> {
    ///     tokio::select! {
    ///         _ = fetch_all() => Ok(()),
    ///         cause = job.canceled() => Err(format!("stopped: {cause:?}").into()),
    ///     }
    /// }
    /// ```
    pub async fn canceled(&self) -> Cause {
        self.run.told().await
    }

    /// Adds children to this job while it runs; then [`Exit::AwaitChildren`](crate::Exit::AwaitChildren) waits for them.
    /// With ids of their own they are added only once, however often the handler runs; see [`Queue::add_children`].
    ///
    /// ```
    /// use launchkit_queue::{Active, Exit, Flow, JobKind};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { parts: u32 }
    /// # impl JobKind for Report { const NAME: &'static str = "report"; type Output = usize; }
    /// async fn report(job: Active<Report>) -> Result<usize, Exit> {
    ///     let done = job.children(0, 1_000).await?;
    ///     if done.children.is_empty() && job.data().parts > 0 {
    ///         let part = |n| Flow::named(job.queue(), "part", &n).id(format!("{}-{n}", job.id()));
    ///         job.add_children((0..job.data().parts).map(part).collect()).await?;
    ///         return Err(Exit::AwaitChildren);
    ///     }
    ///     Ok(done.children.iter().filter(|child| child.result.is_some()).count())
    /// }
    /// ```
    pub async fn add_children(&self, flows: Vec<Flow>) -> Result<Vec<Added>, FlowError> {
        self.facts.queue.add_children(self.id(), flows).await
    }

    /// Children of this job with what they ended with, in the order in which they were added, from the one after number
    /// `after` on; at most 1,000.
    pub async fn children(&self, after: u64, most: u32) -> Result<Children, StoreError> {
        self.facts.queue.children(self.id(), after, most).await
    }

    /// The queue that it is in.
    pub fn queue(&self) -> &Queue {
        &self.facts.queue
    }

    /// What the journal attached to this run, if it is of this type.
    pub fn carry<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.facts.carry.clone().downcast().ok()
    }
}
