//! One run: a sick store, workers that come and go, then a healthy end.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use launchkit_queue::backend::{Backend, Shared};
use launchkit_queue::{Active, Backoff, Clock, Exit, JobOptions, Planned, Position, Queue, Store, Timestamp, Worker};
use launchkit_testkit::faulty::{Fault, Verb};
use launchkit_testkit::{Dice, Faulty, invariants};
use tokio::task::JoinHandle;

use super::checks;
use super::script::{Act, Job};

/// How long the store is sick and workers die.
const SICK: Duration = Duration::from_secs(60);
/// How long everything may take to end once all is well.
const PATIENCE: Duration = Duration::from_secs(600);
const LOCK: Duration = Duration::from_secs(2);
pub(crate) const MAX_STALLED: u32 = 3;

/// What a run showed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Promises that were broken.
    pub(crate) wrong: Vec<String>,
    pub(crate) jobs: usize,
    pub(crate) faults: u64,
    pub(crate) deaths: u64,
    /// Jobs that were put back after their worker vanished.
    pub(crate) rescues: u64,
    /// Runs that were begun and whose answers counted for nothing.
    pub(crate) lost: u64,
    /// All events, in order.
    pub(crate) told: Vec<String>,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Seen) {
        self.jobs += other.jobs;
        self.faults += other.faults;
        self.deaths += other.deaths;
        self.rescues += other.rescues;
        self.lost += other.lost;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, faults, deaths, rescues, lost, .. } = self;
        write!(f, "{jobs} jobs, {faults} faults injected, {deaths} workers died, {rescues} rescues, {lost} runs lost")
    }
}

/// What handlers did, told out of band.
#[derive(Default)]
pub(crate) struct Book {
    /// Runs of each job that were begun.
    pub(crate) begun: BTreeMap<String, u64>,
}

pub(crate) struct Scene {
    pub(crate) queue: Queue,
    pub(crate) faulty: Arc<Faulty>,
    pub(crate) book: Arc<Mutex<Book>>,
    /// From here on nobody is sick or dead any more, nor is anything left of it.
    pub(crate) well: Position,
    dice: Dice,
    workers: u64,
}

/// Runs a seed over an empty store. A panic is a broken promise, too.
pub(crate) fn run(seed: u64, store: Arc<dyn Backend>) -> Seen {
    catch_unwind(AssertUnwindSafe(|| play(seed, store)))
        .unwrap_or_else(|_| Seen { wrong: vec!["a panic, told above".to_owned()], ..Seen::default() })
}

fn play(seed: u64, store: Arc<dyn Backend>) -> Seen {
    assert_eq!(
        store.promises().shared,
        Shared::Process,
        "only a store without threads of its own follows simulated time"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let faulty = Faulty::over(store);
        let clock = Clock::runtime(Timestamp::from_millis(1_700_000_000_000));
        let queue = Queue::new(&Store::over(faulty.clone(), clock), "sim").expect("a name");
        let mut scene = Scene {
            queue,
            faulty,
            book: Arc::default(),
            well: Position::START,
            dice: Dice::new(seed),
            workers: seed * 1_000,
        };
        scene.play().await
    })
}

impl Scene {
    async fn play(&mut self) -> Seen {
        let mut seen = Seen::default();
        let mut jobs: BTreeMap<String, (Act, JobOptions)> =
            (0..10 + self.dice.roll(40)).map(|n| (format!("job-{n}"), self.job())).collect();
        self.fall_sick();
        let adding = tokio::spawn(add_all(self.queue.clone(), jobs.clone(), self.dice.fork()));
        let mut workers: Vec<JoinHandle<()>> = (0..1 + self.dice.roll(3)).map(|_| self.hire()).collect();
        let until = tokio::time::Instant::now() + SICK;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(200 + self.dice.roll(6_000))).await;
            let at = self.dice.roll(workers.len() as u64) as usize;
            let next = self.hire();
            seen.wrong.extend(bury(std::mem::replace(&mut workers[at], next)).await);
            seen.deaths += 1;
        }
        self.faulty.mend();
        // Who waits for an answer that never comes waits for ever.
        for worker in workers {
            seen.wrong.extend(bury(worker).await);
        }
        let healthy = [self.hire(), self.hire()];
        tokio::time::sleep(LOCK * 5).await;
        self.well = self.queue.newest_event().await.expect("a healthy store");
        // Some more jobs, one of which outlasts several locks.
        let mut late: BTreeMap<String, _> = (0..4).map(|n| (format!("late-{n}"), self.job())).collect();
        late.insert("long".to_owned(), (Act::Work(4_000 + self.dice.roll(20_000)), JobOptions::default()));
        jobs.extend(late.clone());
        let settled = async {
            add_all(self.queue.clone(), late, self.dice.clone()).await;
            adding.await.expect("everything is added");
            self.at_rest(jobs.len()).await;
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            seen.wrong.push(format!("not everything has ended: {:?}", self.queue.counts().await));
        }
        for worker in healthy {
            seen.wrong.extend(bury(worker).await);
        }
        invariants::check(&*self.faulty).await;
        seen.jobs = jobs.len();
        seen.faults = self.faulty.faults();
        checks::check(self, &jobs, &mut seen).await;
        seen
    }

    fn job(&mut self) -> (Act, JobOptions) {
        let dice = &mut self.dice;
        let backoff = match dice.roll(3) {
            0 => Backoff::default(),
            1 => Backoff::fixed(Duration::from_millis(300)),
            _ => Backoff::exponential(Duration::from_millis(200)),
        };
        let delay = if dice.once_in(4) { dice.roll(5_000) } else { 0 };
        let priority = if dice.once_in(4) { dice.number(5) } else { 0 };
        let options = JobOptions {
            attempts: 1 + dice.number(5),
            backoff,
            priority,
            delay: Duration::from_millis(delay),
            ..JobOptions::default()
        };
        (Act::draw(dice), options)
    }

    /// From now on calls fail, each verb as often as the dice say.
    fn fall_sick(&mut self) {
        for verb in [Verb::Add, Verb::Turn, Verb::Beat, Verb::Rescue, Verb::Wait, Verb::Edit] {
            let (mut dice, rarely) = (self.dice.fork(), 2 + self.dice.roll(30));
            self.faulty.plan(
                verb,
                std::iter::repeat_with(move || {
                    dice.once_in(rarely).then(|| match dice.roll(8) {
                        0..=2 => Fault::Before,
                        3..=5 => Fault::After,
                        6 => Fault::Slow,
                        _ => Fault::Hang,
                    })
                }),
            );
        }
    }

    /// A new worker. Aborted, it dies as in a crash.
    fn hire(&mut self) -> JoinHandle<()> {
        self.workers += 1;
        let book = self.book.clone();
        let handler = move |job: Active<Job>| {
            let book = book.clone();
            async move {
                note(&book, &job);
                let act = job.data().0;
                act.play(&job).await as Result<u32, Exit>
            }
        };
        let worker = Worker::builder(&self.queue)
            .on::<Job>(handler)
            .concurrency(1 + self.dice.roll(6) as usize)
            .lock_for(LOCK)
            .rescue_every(Duration::from_millis(700))
            .max_stalled(MAX_STALLED)
            .seed(self.workers)
            .build()
            .expect("a worker");
        tokio::spawn(async move {
            worker.run_until(std::future::pending::<()>()).await;
        })
    }

    /// Waits until every job has ended.
    async fn at_rest(&self, jobs: usize) {
        loop {
            let counts = self.queue.counts().await.expect("a healthy store");
            if (counts.completed + counts.failed) as usize == jobs {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Kills a worker; answers what is wrong with it: until then it was to work.
async fn bury(worker: JoinHandle<()>) -> Option<String> {
    worker.abort();
    match worker.await {
        Err(why) if why.is_cancelled() => None,
        ended => Some(format!("a worker ended by itself: {ended:?}")),
    }
}

fn note(book: &Mutex<Book>, job: &Active<Job>) {
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    *book.begun.entry(job.id().to_string()).or_default() += 1;
}

/// Adds all jobs, one, or some, at a time, again and again until each add was answered.
async fn add_all(queue: Queue, jobs: BTreeMap<String, (Act, JobOptions)>, mut dice: Dice) {
    let mut left: Vec<_> = jobs.into_iter().collect();
    while !left.is_empty() {
        let some: Vec<_> = left.drain(..left.len().min(1 + dice.roll(4) as usize)).collect();
        loop {
            let planned =
                some.iter().map(|(id, (act, options))| Planned::new(&Job(*act)).id(id).options(options.clone()));
            let adding = tokio::time::timeout(Duration::from_secs(3), queue.add_all(planned.collect())).await;
            if adding.is_ok_and(|added| added.is_ok()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(1_500))).await;
    }
}
