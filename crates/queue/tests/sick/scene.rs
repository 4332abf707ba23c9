//! A store in memory that falls sick as told, in simulated time, and what was seen on it.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use launchkit_queue::backend::memory::Memory;
use launchkit_queue::{
    Active, Clock, Event, JobId, JobKind, Position, Queue, Running, Store, Timestamp, Told, Worker, WorkerBuilder,
};
use launchkit_testkit::faulty::{Fault, Verb};
use launchkit_testkit::{Faulty, invariants};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Within this everything is well again, or never will be.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How long a user waits for an answer before asking again.
const ASKS_FOR: Duration = Duration::from_secs(3);
pub(crate) const LOCK: Duration = Duration::from_secs(30);
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// What the handlers of this test work on.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job;

impl JobKind for Job {
    const NAME: &'static str = "job";
    type Output = ();
}

#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) faulty: Arc<Faulty>,
    /// On the store that falls sick.
    pub(crate) queue: Queue,
    /// On the same jobs, in good health.
    pub(crate) healthy: Queue,
    /// Runs of jobs that were begun.
    runs: Arc<AtomicU32>,
    sick: Arc<OnceLock<Instant>>,
}

/// Plays on a store of its own and checks what must hold in the end: nobody is left waiting, and the store is in order.
pub(crate) fn play<F: Future<Output = String>>(scene: impl FnOnce(Scene) -> F) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let memory = Arc::new(Memory::new());
        let faulty = Faulty::over(memory.clone());
        let clock = Clock::runtime(Timestamp::from_millis(1_700_000_000_000));
        let queue = |store| Queue::new(&store, "sick").expect("a name");
        let set = Scene {
            faulty: faulty.clone(),
            queue: queue(Store::over(faulty.clone(), clock.clone())),
            healthy: queue(Store::over(memory, clock)),
            runs: Arc::default(),
            sick: Arc::default(),
        };
        let seen = tokio::time::timeout(PATIENCE, scene(set)).await.expect("it gets well within an hour");
        // What is carried out late has been by then.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "no task is left");
        invariants::check(&*faulty).await;
        seen
    })
}

impl Scene {
    /// The same, seen by somebody whose clock differs.
    pub(crate) fn by(&self, clock: Clock) -> Scene {
        let store = Store::over(self.faulty.clone(), clock);
        Scene { queue: Queue::new(&store, "sick").expect("a name"), ..self.clone() }
    }

    /// From now on the next calls of a verb fare like this.
    pub(crate) fn falls_sick(&self, verb: Verb, fault: Fault, calls: usize) {
        self.faulty.plan(verb, std::iter::repeat_n(Some(fault), calls));
        self.sick.get_or_init(Instant::now);
    }

    /// How long ago it fell sick, to a tenth of a second.
    pub(crate) fn since(&self) -> String {
        let since = self.sick.get().expect("it fell sick").elapsed();
        format!("{:.1} s", since.as_secs_f64())
    }

    pub(crate) fn worker(&self, seed: u64) -> WorkerBuilder {
        let worker = Worker::builder(&self.queue).seed(seed);
        worker.lock_for(LOCK).rescue_every(Duration::from_secs(5)).max_stalled(5).grace(GRACE)
    }

    /// A worker whose jobs take so long, and tell their progress each second.
    pub(crate) fn works(&self, seed: u64, time: Duration) -> Running {
        let scene = self.clone();
        let worker = self.worker(seed).on::<Job>(move |job: Active<Job>| {
            scene.begun();
            async move {
                for second in 0..time.as_secs() {
                    job.progress(&second)?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
        });
        worker.build().expect("a worker").start()
    }

    /// A run has begun.
    pub(crate) fn begun(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// How long it took, and in how many runs.
    pub(crate) fn story(&self) -> String {
        format!("{}, {}", self.since(), self.counted())
    }

    pub(crate) fn counted(&self) -> String {
        match self.runs.load(Ordering::Relaxed) {
            1 => "1 run".to_owned(),
            runs => format!("{runs} runs"),
        }
    }

    pub(crate) async fn add(&self, id: &str) -> JobId {
        self.healthy.add(Job).id(id).await.expect("it is added").id().clone()
    }

    /// Waits until a job has ended, and sees that it did so once.
    pub(crate) async fn ended(&self, id: &JobId) {
        self.healthy.outcome::<Job>(id, Duration::MAX).await.expect("it is completed");
        let mut events = self.healthy.events(Position::START);
        let newest = self.healthy.newest_event().await.expect("a healthy store");
        let mut ends = 0;
        while let Told::Event(at, event) = events.next().await.expect("a healthy store") {
            ends += u32::from(matches!(&event, Event::Completed { id: of, .. } if of == id));
            if at >= newest {
                break;
            }
        }
        assert_eq!(ends, 1, "{id} ended once");
    }
}

/// Asks as users do: an error, or no answer for three seconds, is asked again a little later.
pub(crate) async fn insist<O, E, F: Future<Output = Result<O, E>>>(mut ask: impl FnMut() -> F) -> O {
    loop {
        if let Ok(Ok(answer)) = tokio::time::timeout(ASKS_FOR, ask()).await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
