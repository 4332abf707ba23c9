//! The worker: takes jobs, runs their handlers, ends them, and goes on until it is told to stop.
//!
//! Four doers, each a future that ends: the *pump* owns every trip that ends and takes jobs, *runners* run one handler
//! each, the *keeper* renews locks and carries progress and log lines, the *rescuer* looks for jobs whose worker
//! vanished. They stop in an order that loses nothing: the pump takes no more, the runners end or are given back after
//! the grace, the pump tells the store, and only then do the rescuer and, last, the keeper end, since every held job
//! needs its lock until the store has answered.

use std::future::Future;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backend::{MAX_BEAT, Rate, WorkerInfo};
use crate::exit::Exit;
use crate::job::{JobKind, MAX_NAME, Payload};
use crate::journal::{Journal, NoJournal};
use crate::queue::Queue;

mod active;
mod books;
mod dice;
mod held;
mod keeper;
mod pump;
mod rescuer;
mod router;
mod runner;
mod running;
mod trip;

pub use active::{Active, Cause};
pub use router::Handler;
pub use running::Running;

use dice::Dice;
use held::HeldSet;
use router::Router;

/// How often a worker may look for jobs whose worker vanished.
const RESCUE_EVERY: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);

/// How long a worker waits until it is registered before it takes its first job.
const FIRST_BEAT: Duration = Duration::from_secs(1);

/// Runs the jobs of one queue.
///
/// ```
/// # use launchkit_queue::{Active, Exit, JobKind, Queue, Store, Worker};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl JobKind for Greet { const NAME: &'static str = "greet"; type Output = String; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn greet(job: Active<Greet>) -> Result<String, Exit> {
///     Ok(format!("Hello {}", job.data().name))
/// }
/// let store = Store::memory();
/// let queue = Queue::new(&store, "texts")?;
/// let worker = Worker::builder(&queue).concurrency(16).on(greet).build()?.start();
/// let added = queue.add(Greet { name: "Ada".into() }).await?;
/// let greeting = queue.outcome::<Greet>(added.id(), std::time::Duration::from_secs(5)).await?;
/// assert_eq!(greeting, "Hello Ada");
/// assert_eq!(worker.stop().await.done, 1);
/// # Ok(()) }
/// ```
pub struct Worker {
    shared: Arc<Shared>,
}

/// Collects what a worker needs.
pub struct WorkerBuilder {
    queue: Queue,
    router: Router,
    journal: Arc<dyn Journal>,
    settings: Settings,
    name: Option<String>,
    seed: Option<u64>,
    doubled: Option<&'static str>,
}

/// Why a worker cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadWorker {
    /// A rate's time is 1 ms to 365 days.
    #[error("a rate's time is 1 ms to 365 days")]
    Rate,
    /// Two handlers for one name.
    #[error("two handlers for jobs named {0:?}")]
    DoubledName(&'static str),
    /// No handler at all.
    #[error("no handler: use `on` or `on_rest`")]
    NoHandler,
    /// A worker needs 1 to 10,000 slots.
    #[error("{0} slots; 1 to 10,000 are possible")]
    Slots(usize),
    /// Locks that cannot be renewed in time.
    #[error("locks must hold for at least 1 s, to be renewed in time")]
    LockFor,
    /// Looks that follow each other without a pause, or never.
    #[error("a worker looks for stalled jobs every 10 ms to once a day")]
    RescueEvery,
    /// The name is longer than 255 bytes or has spaces or control characters.
    #[error("bad worker name {0:?}")]
    Name(String),
}

/// How a worker behaves.
#[derive(Clone, Debug)]
struct Settings {
    slots: usize,
    lock_for: Duration,
    rescue_every: Duration,
    max_stalled: u32,
    grace: Duration,
    rate: Option<Rate>,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Jobs completed.
    pub done: u64,
    /// Attempts that failed and will be repeated.
    pub retried: u64,
    /// Jobs failed for good.
    pub dead: u64,
    /// Jobs put off or given back, uncounted.
    pub returned: u64,
    /// Runs whose lock was lost: what they answered was dropped.
    pub lost: u64,
    /// Stalled jobs of others (or of an earlier life) put back.
    pub rescued: u64,
}

/// What the doers of one worker share.
struct Shared {
    queue: Queue,
    router: Router,
    journal: Arc<dyn Journal>,
    settings: Settings,
    info: WorkerInfo,
    held: HeldSet,
    dice: Dice,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    /// Calls in which the journal took ends; not part of the report.
    journaled: AtomicU64,
    done: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    returned: AtomicU64,
    lost: AtomicU64,
    rescued: AtomicU64,
}

impl Worker {
    /// Begins to describe a worker for a queue.
    pub fn builder(queue: &Queue) -> WorkerBuilder {
        WorkerBuilder {
            queue: queue.clone(),
            router: Router::default(),
            journal: Arc::new(NoJournal),
            settings: Settings {
                slots: 1,
                lock_for: Duration::from_secs(30),
                rescue_every: Duration::from_secs(5),
                max_stalled: 1,
                grace: Duration::from_secs(25),
                rate: None,
            },
            name: None,
            seed: None,
            doubled: None,
        }
    }

    /// Works in a task of its own until it is told to stop.
    pub fn start(self) -> Running {
        Running::start(self)
    }

    /// Works until `stop` ends, then stops in two steps: takes no more and lets running jobs end; after the grace, cancels
    /// them and gives them back uncounted. Store failures do not end it: it tries again with growing waits.
    ///
    /// Dropping the future kills the worker as a crash would, as soon as the runtime gets to it: its jobs are rescued when
    /// their locks expire.
    ///
    /// ```no_run
    /// # async fn example(worker: launchkit_queue::Worker, shutdown: tokio::sync::oneshot::Receiver<()>) {
    /// let report = worker.run_until(shutdown).await; // or tokio::signal::ctrl_c(), say
    /// println!("{} done", report.done);
    /// # }
    /// ```
    pub async fn run_until<S: Future + Send>(self, stop: S) -> Report {
        let shared = self.shared;
        let (told, pump_ended, rescuer_ended) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let seen = CancellationToken::new();
        // Each in a task of its own, wherever this future is polled: what a runtime runs outside its tasks (in `block_on`, and
        // so in `main`) it wakes and leaves much more slowly.
        let mut doers = JoinSet::new();
        doers.spawn(keeper::run(shared.clone(), seen.clone(), rescuer_ended.clone()));
        doers.spawn({
            let (shared, pump_ended) = (shared.clone(), pump_ended.clone());
            async move {
                rescuer::run(shared, pump_ended).await;
                rescuer_ended.cancel();
            }
        });
        doers.spawn({
            let (shared, told) = (shared.clone(), told.clone());
            async move {
                // Whoever asks who works on a job finds its worker; a store that does not answer beats must not hold up the rest.
                let registered = tokio::time::timeout(FIRST_BEAT, seen.cancelled());
                if told.run_until_cancelled(registered).await.is_some() {
                    pump::Pump::new(shared).run(told.cancelled_owned()).await;
                }
                pump_ended.cancel();
            }
        });
        tokio::select! {
            biased;
            _ = stop => {}
            // None of them ends by itself.
            Some(ended) = doers.join_next() => unwound(ended),
        }
        told.cancel();
        while let Some(ended) = doers.join_next().await {
            unwound(ended);
        }
        shared.tally.report()
    }
}

/// A doer's panic is the worker's.
fn unwound(ended: Result<(), JoinError>) {
    match ended {
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime is going down, and takes the worker along.
        Ok(()) | Err(_) => {}
    }
}

impl WorkerBuilder {
    /// The handler for a kind of job: an `async fn(Active<J>) -> Result<J::Output, Exit>`, or a type that implements
    /// [`Handler`].
    pub fn on<J: JobKind>(mut self, handler: impl Handler<J>) -> Self {
        self.doubled = self.doubled.or(self.router.add::<J>(handler));
        self
    }

    /// The handler for jobs of names that no other handler knows. Without one such jobs are put off, uncounted, for
    /// another worker to take (a rolling deploy, a mixed fleet).
    pub fn on_rest<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Active<Payload>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, Exit>> + Send + 'static,
    {
        self.router.set_rest(handler);
        self
    }

    /// How many jobs run at once; 1 by default.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.settings.slots = slots;
        self
    }

    /// At most `max` starts in `per`, counted over all workers of the queue that have a rate (BullMQ's `limiter`); a rate of
    /// the queue itself goes before it, see [`Admin::set_rate_limit`](crate::Admin::set_rate_limit).
    pub fn rate(mut self, max: NonZeroU32, per: Duration) -> Self {
        self.settings.rate = Some(Rate { max, per });
        self
    }

    /// The name that jobs remember and lists show; without spaces.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long a job stays ours without a sign of life; 30 s by default, at least 1 s. Renewed all the time.
    pub fn lock_for(mut self, time: Duration) -> Self {
        self.settings.lock_for = time;
        self
    }

    /// How often to look for jobs whose worker vanished; 5 s by default, 10 ms to a day.
    pub fn rescue_every(mut self, time: Duration) -> Self {
        self.settings.rescue_every = time;
        self
    }

    /// A job that stalls more often than this is failed; 1 by default, as in BullMQ.
    pub fn max_stalled(mut self, times: u32) -> Self {
        self.settings.max_stalled = times;
        self
    }

    /// How long running jobs may go on after the stop; 25 s by default.
    pub fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// Who keeps books over this worker's jobs.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// For tests: makes what is random of the worker (its id, the spread of its looks for stalled jobs, the jitter of
    /// backoffs) follow from a number. Under a paused clock one number then replays a run. Two workers of one queue must not
    /// have the same, since their ids name their locks.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks and builds; starts nothing.
    pub fn build(self) -> Result<Worker, BadWorker> {
        if let Some(name) = self.doubled {
            return Err(BadWorker::DoubledName(name));
        }
        if self.router.is_empty() {
            return Err(BadWorker::NoHandler);
        }
        if !(1..=MAX_BEAT).contains(&self.settings.slots) {
            return Err(BadWorker::Slots(self.settings.slots));
        }
        if self.settings.lock_for < Duration::from_secs(1) {
            return Err(BadWorker::LockFor);
        }
        if self.settings.rate.is_some_and(|rate| rate.check().is_err()) {
            return Err(BadWorker::Rate);
        }
        if !RESCUE_EVERY.contains(&self.settings.rescue_every) {
            return Err(BadWorker::RescueEvery);
        }
        let dice = Dice::new(self.seed);
        let id = dice.id();
        let name = self.name.unwrap_or_else(|| format!("worker-{}", &id[..8]));
        if name.is_empty() || name.len() > MAX_NAME || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(BadWorker::Name(name));
        }
        let info = WorkerInfo {
            id: id.into(),
            name: name.into(),
            slots: self.settings.slots,
            started: self.queue.clock().now(),
            version: env!("CARGO_PKG_VERSION").into(),
            rate: self.settings.rate,
        };
        let shared = Shared {
            queue: self.queue,
            router: self.router,
            journal: self.journal,
            settings: self.settings,
            info,
            held: HeldSet::default(),
            dice,
            tally: Tally::default(),
        };
        Ok(Worker { shared: Arc::new(shared) })
    }
}

impl Tally {
    fn report(&self) -> Report {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Report {
            done: read(&self.done),
            retried: read(&self.retried),
            dead: read(&self.dead),
            returned: read(&self.returned),
            lost: read(&self.lost),
            rescued: read(&self.rescued),
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.shared.queue)
            .field("info", &self.shared.info)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("queue", &self.queue)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
