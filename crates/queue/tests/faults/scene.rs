//! A busy worker, one that waits, and a producer, between whom and their server something breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use launchkit_queue::backend::redis::{Redis, RedisHealth, RedisOptions};
use launchkit_queue::backend::{Add, Backend as _, NewJob};
use launchkit_queue::*;
use launchkit_testkit::faulty::{Faulty, Verb};
use launchkit_testkit::given::{Given, delay, named, plain};
use launchkit_testkit::redis::{RedisServer, RedisSetup};
use launchkit_testkit::{Proxy, invariants};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take; only what hangs needs it.
const GUARD: Duration = Duration::from_secs(60);
/// How long locks hold.
pub(crate) const LOCK: Duration = Duration::from_secs(30);
/// What an answer may take before the line is given up.
pub(crate) const ANSWER: Duration = Duration::from_secs(1);
/// How long a handler runs, and how often the producer adds: more calls would only heat the machine.
pub(crate) const WORK: Duration = Duration::from_millis(15);
/// Jobs in one add.
const BATCH: usize = 3;
/// Jobs that end after the fault before a scene is over.
const AFTER: u64 = 30;

/// Four calls that a fault is to meet.
pub(crate) const CALLS: [Verb; 4] = [Verb::Add, Verb::Turn, Verb::Beat, Verb::Wait];
/// Those of them that a broken line makes fail at once.
pub(crate) const WRITES: [Verb; 3] = [Verb::Add, Verb::Turn, Verb::Beat];

/// The kind of the test kit's jobs.
#[derive(Serialize, Deserialize)]
struct Text {
    n: u32,
}

impl JobKind for Text {
    const NAME: &'static str = "text";
    type Output = u32;
}

/// One server, the line to it, and what goes on over it.
pub(crate) struct Scene {
    pub(crate) server: Arc<RedisServer>,
    pub(crate) proxy: Proxy,
    pub(crate) play: Play,
}

impl Scene {
    /// Begins when jobs end on a server.
    pub(crate) async fn on(setup: RedisSetup) -> Self {
        Self::with(setup, "", LOCK).await
    }

    /// The same with the password `word` and locks that hold this long.
    pub(crate) async fn with(setup: RedisSetup, word: &str, lock_for: Duration) -> Self {
        Self::paced(setup, word, lock_for, WORK).await
    }

    /// The same with this pause between adds.
    pub(crate) async fn paced(setup: RedisSetup, word: &str, lock_for: Duration, pause: Duration) -> Self {
        let server = Arc::new(setup.start().expect("a server"));
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port()))).await.expect("a proxy");
        if word.is_empty() {
            server.command(&keeping_events("bull:busy:meta")).expect("set");
        }
        let login = if word.is_empty() { String::new() } else { format!(":{word}@") };
        let options = RedisOptions::parse(&format!("redis://{login}{}", proxy.address())).expect("a URL");
        let play = Play::begin(options.answer_within(ANSWER), lock_for, pause).await;
        Self { server, proxy, play }
    }

    /// Ends while an add, a turn, a beat and a blocked wait are under way: some have not reached the server, some have been
    /// carried out and are being answered.
    pub(crate) async fn caught(&self) {
        let late = Duration::from_millis(150);
        self.proxy.slow(late, late);
        self.play.store.until(|seen| seen.flying(&CALLS)).await;
        self.proxy.slow(Duration::ZERO, Duration::ZERO);
    }

    /// Starts the server again; ends when it takes commands.
    pub(crate) async fn restarted(&self) {
        let server = self.server.clone();
        tokio::task::spawn_blocking(move || server.restart()).await.expect("no panic").expect("it starts again");
    }
}

/// What goes on.
pub(crate) struct Play {
    pub(crate) redis: Arc<Redis>,
    pub(crate) store: Arc<Faulty>,
    pub(crate) busy: Queue,
    idle: Queue,
    parked: Queue,
    workers: Vec<Running>,
    runs: Arc<Mutex<BTreeMap<String, u32>>>,
    woken: mpsc::UnboundedReceiver<()>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    produced: CancellationToken,
    producer: JoinHandle<()>,
}

impl Play {
    /// Begins when jobs end.
    pub(crate) async fn begin(options: RedisOptions, lock_for: Duration, pause: Duration) -> Self {
        let redis = Arc::new(Redis::open(&options).await.expect("a store"));
        let store = Faulty::over(redis.clone());
        let handle = Store::over(store.clone(), Clock::system());
        let queue = |name| Queue::new(&handle, name).expect("a name");
        let (busy, idle, parked) = (queue("busy"), queue("idle"), queue("parked"));
        added(&store, parked.name(), vec![named("parked", delay(3_600_000))]).await;
        let runs: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let noted = runs.clone();
        let work = move |job: Active<Text>| {
            *noted.lock().unwrap().entry(job.id().to_string()).or_default() += 1;
            async move {
                tokio::time::sleep(WORK).await;
                Ok::<_, Exit>(job.data().n)
            }
        };
        let (wake, woken) = mpsc::unbounded_channel();
        let answer = move |job: Active<Text>| {
            wake.send(()).expect("somebody listens");
            async move { Ok::<_, Exit>(job.data().n) }
        };
        let worker = |queue: &Queue| Worker::builder(queue).lock_for(lock_for).rescue_every(Duration::from_millis(500));
        let workers = vec![
            worker(&busy).concurrency(8).on(work).build().expect("a worker").start(),
            worker(&idle).on(answer).build().expect("a worker").start(),
        ];
        let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
        let produced = CancellationToken::new();
        let noted = acknowledged.clone();
        let producing = produce(store.clone(), busy.name().clone(), pause, noted, produced.clone());
        let producer = tokio::spawn(producing);
        let play = Self { redis, store, busy, idle, parked, workers, runs, woken, acknowledged, produced, producer };
        play.store.until(|seen| seen.ended > 0).await;
        play
    }

    /// Ends when calls of these verbs have failed.
    pub(crate) async fn noticed(&self, verbs: &[Verb]) {
        within("the fault is noticed", self.store.until(|seen| seen.failed(verbs))).await;
    }

    /// Ends when calls fail with this.
    pub(crate) async fn refused(&self, why: &str) {
        within(why, self.store.until(|seen| seen.why.contains(why))).await;
    }

    /// Ends when this many more jobs have ended.
    pub(crate) async fn moves_on(&self, jobs: u64) {
        let before = self.store.until(|_| true).await.ended;
        within("jobs go on to end", self.store.until(|seen| seen.ended >= before + jobs)).await;
    }

    /// Ends when everything that was added has ended.
    pub(crate) async fn drained(&self) {
        let left = async {
            let mut events = self.busy.events(Position::START);
            loop {
                let counts = self.busy.counts().await.expect("counts");
                if counts.total() == counts.completed + counts.failed {
                    break;
                }
                events.next().await.expect("an event");
            }
        };
        within("nothing is left to do", left).await;
    }

    /// Goes on, from the end of the fault to a good end of everything; says how long each took.
    pub(crate) async fn goes_on(mut self, fault: &str) -> Story {
        let healed = Instant::now();
        let before = self.store.until(|_| true).await.ended;
        let earlier = self.acknowledged.lock().unwrap().len();
        within("a job ends", self.store.until(|seen| seen.ended > before)).await;
        let resumed = healed.elapsed();
        let woken = self.wake("called").await;
        within("jobs go on to end", self.store.until(|seen| seen.ended > before + AFTER)).await;
        println!(
            "resumed after {fault}: {} ms; an idle worker called after {} ms",
            resumed.as_millis(),
            woken.as_millis()
        );
        let health = self.redis.health();
        self.produced.cancel();
        within("the producer ends", &mut self.producer).await.expect("no panic");
        self.drained().await;
        for worker in self.workers {
            worker.stop().await;
        }
        let ends = ends(&Given::over(self.redis.clone(), self.busy.name().clone())).await;
        let parked = self.parked.counts().await.expect("counts").delayed == 1;
        invariants::check(&*self.redis).await;
        self.redis.close().await;
        let (acknowledged, runs) = (self.acknowledged.lock().unwrap().clone(), self.runs.lock().unwrap().clone());
        Story { acknowledged, earlier, ends, runs, parked, health, resumed, woken }
    }

    /// Adds a job to the queue whose worker waits, and ends when it has been called and runs it.
    pub(crate) async fn wake(&mut self, id: &str) -> Duration {
        let began = Instant::now();
        within("the idle queue takes a job", added(&self.store, self.idle.name(), vec![named(id, plain())])).await;
        within("the idle worker is called", self.woken.recv()).await.expect("it lives");
        began.elapsed()
    }
}

/// How it ended.
pub(crate) struct Story {
    /// Jobs whose add was answered.
    pub(crate) acknowledged: Vec<String>,
    /// How many of them were when the fault was over.
    pub(crate) earlier: usize,
    /// How often each job ended for good.
    pub(crate) ends: BTreeMap<String, u32>,
    /// How often each job's handler began.
    pub(crate) runs: BTreeMap<String, u32>,
    /// Whether the job is still there that was added first and is not due for an hour.
    pub(crate) parked: bool,
    /// How the connection had fared when all went on.
    pub(crate) health: RedisHealth,
    /// How long it took until a job ended.
    pub(crate) resumed: Duration,
    /// How long the idle worker waited.
    pub(crate) woken: Duration,
}

impl Story {
    /// Every acknowledged job ended, and none twice.
    pub(crate) fn all_ended_once(self) -> Self {
        let lost = self.lost();
        assert!(lost.is_empty() && self.parked, "acknowledged and never ended: {lost:?}");
        self.none_ended_twice()
    }

    /// What was acknowledged when the fault was over has ended, and nothing twice.
    pub(crate) fn later_ones_ended_once(self) -> Self {
        let lost: Vec<_> =
            self.lost().into_iter().filter(|id| self.acknowledged[self.earlier..].contains(id)).collect();
        assert!(lost.is_empty(), "acknowledged after the fault and never ended: {lost:?}");
        self.none_ended_twice()
    }

    /// Acknowledged jobs that never ended, as far as the server knows.
    pub(crate) fn lost(&self) -> BTreeSet<String> {
        self.acknowledged.iter().filter(|id| !self.ends.contains_key(*id)).cloned().collect()
    }

    pub(crate) fn none_ended_twice(self) -> Self {
        let twice: Vec<_> = self.ends.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "ended more than once: {twice:?}");
        self
    }

    /// The fault was shorter than any lock.
    pub(crate) fn none_ran_twice(self) -> Self {
        let twice: Vec<_> = self.runs.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "ran more than once: {twice:?}");
        self
    }

    /// The connection was lost, and is there again.
    pub(crate) fn line_was_mended(self) -> Self {
        let health = &self.health;
        assert!(health.connected && health.losses > 0 && health.recoveries == health.losses, "{health:?}");
        self
    }

    /// What failed was not the connection.
    pub(crate) fn line_held(self) -> Self {
        assert!(self.health.connected && self.health.losses == 0, "{:?}", self.health);
        self
    }
}

/// Adds jobs until it is told to stop, and notes those whose add was answered.
async fn produce(
    store: Arc<Faulty>,
    queue: QueueName,
    pause: Duration,
    done: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
) {
    let mut next = 0;
    while !stop.is_cancelled() {
        let batch: Vec<String> = (next..next + BATCH).map(|n| format!("j-{n}")).collect();
        added(&store, &queue, batch.iter().map(|id| named(id, plain())).collect()).await;
        done.lock().unwrap().extend(batch);
        next += BATCH;
        tokio::time::sleep(pause).await;
    }
}

/// Adds jobs with ids of their own, again and again until that is answered.
async fn added(store: &Faulty, queue: &QueueName, jobs: Vec<NewJob>) {
    let clock = Clock::system();
    let add = Add { queue: queue.clone(), jobs };
    while store.add(add.clone(), clock.now()).await.is_err() {
        tokio::time::sleep(WORK).await;
    }
}

/// How often each job ended for good, as the queue tells it.
async fn ends(queue: &Given) -> BTreeMap<String, u32> {
    let mut ends = BTreeMap::new();
    for (_, event) in queue.events_after(Position::START).await {
        if let Event::Completed { id, .. } | Event::Failed { id, .. } = event {
            *ends.entry(id.to_string()).or_default() += 1;
        }
    }
    ends
}

/// Keeps all events of a queue, from which a story reads how its jobs ended: ten thousand are those of 2,500 jobs.
pub(crate) fn keeping_events(meta: &str) -> [&str; 4] {
    ["HSET", meta, "opts.maxLenEvents", "1000000"]
}

/// What must happen, and what it is.
pub(crate) async fn within<T>(what: &str, happening: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, happening).await.unwrap_or_else(|_| panic!("not within {GUARD:?}: {what}"))
}
