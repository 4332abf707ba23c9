//! Who asks the store, and what becomes of what they want.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use launchkit_queue::backend::Held;
use launchkit_queue::{
    Active, Begin, EditError, Ending, Event, Exit, Flow, Journal, JournalError, Position, Repeat, Schedule, State, Told,
};
use launchkit_testkit::faulty::{Fault, Verb};
use tokio::sync::oneshot;

use super::scene::{Job, Scene, insist, play};

/// Calls in a row that fail, in the first table.
const CALLS: usize = 3;
const SECOND: Duration = Duration::from_secs(1);

/// Who asks, in the first table.
#[derive(Clone, Copy)]
pub(crate) enum Doer {
    Adds,
    AddsFlow,
    Takes,
    Ends,
    Waits,
    Advances,
    Renews,
    Notes,
    Rescues,
    BeginsBooks,
    EndsBooks,
    Follows,
    AwaitsEnd,
    Cancels,
    Cleans,
    Pauses,
}

impl Doer {
    pub(crate) const ALL: [Doer; 16] = [
        Doer::Adds,
        Doer::AddsFlow,
        Doer::Takes,
        Doer::Ends,
        Doer::Waits,
        Doer::Advances,
        Doer::Renews,
        Doer::Notes,
        Doer::Rescues,
        Doer::BeginsBooks,
        Doer::EndsBooks,
        Doer::Follows,
        Doer::AwaitsEnd,
        Doer::Cancels,
        Doer::Cleans,
        Doer::Pauses,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Doer::Adds => "a producer adds a job: it is there once",
            Doer::AddsFlow => "a producer adds a flow: it is there once",
            Doer::Takes => "a worker takes a job: it has ended",
            Doer::Ends => "a worker ends a job: it has ended",
            Doer::Waits => "a worker waits, a job comes: it has ended",
            Doer::Advances => "a worker moves a scheduler on: its next job, due after 60 s, is begun",
            Doer::Renews => "a worker renews the lock of a job of 45 s: it has ended",
            Doer::Notes => "a worker carries progress of a job of 9 s: it is stored",
            Doer::Rescues => "a worker rescues a dead one's job, which is locked for 30 s: it has ended",
            Doer::BeginsBooks => "a worker's journal hears of a start: the job has ended",
            Doer::EndsBooks => "a worker's journal hears of an end: the job has ended",
            Doer::Follows => "a reader follows events: it has read one",
            Doer::AwaitsEnd => "a caller waits for a job of 1 s: it has its result",
            Doer::Cancels => "an operator cancels: the handler hears it",
            Doer::Cleans => "an operator cleans: all is gone",
            Doer::Pauses => "an operator pauses: it is paused",
        }
    }

    /// How long it took, in simulated time from the first fault on, and what else there is to say.
    pub(crate) fn play(self, fault: Fault) -> String {
        play(|scene| async move {
            let seen = match self {
                Doer::Adds => adds(&scene, fault).await,
                Doer::AddsFlow => adds_flow(&scene, fault).await,
                Doer::Takes => takes(&scene, fault).await,
                Doer::Ends => ends(&scene, fault).await,
                Doer::Waits => waits(&scene, fault).await,
                Doer::Advances => advances(&scene, fault).await,
                Doer::Renews => renews(&scene, fault).await,
                Doer::Notes => notes(&scene, fault).await,
                Doer::Rescues => rescues(&scene, fault).await,
                Doer::BeginsBooks => books(&scene, Books { fault, ends: false, ..Books::default() }).await,
                Doer::EndsBooks => books(&scene, Books { fault, ends: true, ..Books::default() }).await,
                Doer::Follows => follows(&scene, fault).await,
                Doer::AwaitsEnd => awaits_end(&scene, fault).await,
                Doer::Cancels => cancels(&scene, fault).await,
                Doer::Cleans => cleans(&scene, fault).await,
                Doer::Pauses => pauses(&scene, fault).await,
            };
            let of_the_store = !matches!(self, Doer::BeginsBooks | Doer::EndsBooks);
            assert_eq!(scene.faulty.faults() > 0, of_the_store, "it met its fault");
            seen
        })
    }
}

async fn adds(scene: &Scene, fault: Fault) -> String {
    scene.falls_sick(Verb::Add, fault, CALLS);
    insist(|| async { scene.queue.add(Job).id("one").await }).await;
    assert_eq!(scene.healthy.counts().await.unwrap().waiting, 1);
    scene.since()
}

async fn adds_flow(scene: &Scene, fault: Fault) -> String {
    let job = |id| Flow::new(&scene.queue, Job).id(id);
    scene.falls_sick(Verb::Add, fault, CALLS);
    insist(|| scene.queue.add_flow(job("parent").child(job("child")))).await;
    let counts = scene.healthy.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.waiting_children), (1, 1));
    scene.since()
}

async fn takes(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    scene.falls_sick(Verb::Turn, fault, CALLS);
    let worker = scene.works(1, Duration::ZERO);
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    story
}

async fn ends(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    let sick = scene.clone();
    let worker = scene.worker(1).on::<Job>(move |_: Active<Job>| {
        sick.begun();
        sick.falls_sick(Verb::Turn, fault, CALLS);
        async { Ok(()) }
    });
    let worker = worker.build().unwrap().start();
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    story
}

async fn waits(scene: &Scene, fault: Fault) -> String {
    scene.faulty.plan(Verb::Wait, std::iter::repeat_n(Some(fault), CALLS));
    let worker = scene.works(1, Duration::ZERO);
    scene.faulty.until(|seen| seen.flying(&[Verb::Wait])).await;
    scene.falls_sick(Verb::Wait, fault, CALLS);
    let id = scene.add("one").await;
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    story
}

async fn advances(scene: &Scene, fault: Fault) -> String {
    let repeat = Repeat::new("pulse", Schedule::Every(60 * SECOND), &Job).unwrap();
    let slot = scene.healthy.schedule(repeat).await.unwrap().expect("a slot");
    let (tell, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let worker = scene.worker(1).on::<Job>(move |_: Active<Job>| {
        tell.send(()).unwrap();
        async { Ok(()) }
    });
    let worker = worker.build().unwrap().start();
    scene.healthy.clock().sleep_until(slot).await;
    scene.falls_sick(Verb::Read, fault, CALLS);
    runs.recv().await;
    runs.recv().await;
    let since = scene.since();
    worker.stop().await;
    since
}

async fn renews(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    scene.falls_sick(Verb::Beat, fault, CALLS);
    let worker = scene.works(1, 45 * SECOND);
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    story
}

async fn notes(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    let sick = scene.clone();
    let worker = scene.worker(1).on::<Job>(move |job: Active<Job>| {
        sick.falls_sick(Verb::Edit, fault, CALLS);
        async move {
            for percent in 1..=9 {
                job.progress(&percent)?;
                tokio::time::sleep(SECOND).await;
            }
            Ok(())
        }
    });
    let worker = worker.build().unwrap().start();
    let mut events = scene.healthy.events(Position::START);
    let first = loop {
        match events.next().await.unwrap() {
            Told::Event(_, Event::Progress { .. }) => break scene.since(),
            Told::Event(_, Event::Completed { .. }) => break "lost".to_owned(),
            _ => {}
        }
    };
    scene.ended(&id).await;
    worker.stop().await;
    first
}

async fn rescues(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    let (begun, has_begun) = oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let runs = scene.clone();
    let dying = scene.worker(1).on::<Job>(move |_: Active<Job>| {
        runs.begun();
        begun.lock().unwrap().take().map(|begun| begun.send(()));
        std::future::pending::<Result<(), Exit>>()
    });
    let dying = tokio::spawn(dying.build().unwrap().run_until(std::future::pending::<()>()));
    has_begun.await.unwrap();
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    scene.falls_sick(Verb::Rescue, fault, CALLS);
    let worker = scene.works(2, Duration::ZERO);
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    story
}

/// Books that fail in their first calls, of one kind.
struct Books {
    fault: Fault,
    ends: bool,
    calls: AtomicU32,
}

impl Default for Books {
    fn default() -> Self {
        Self { fault: Fault::Before, ends: false, calls: AtomicU32::new(0) }
    }
}

impl Books {
    async fn hear(&self, ends: bool) -> Result<(), JournalError> {
        if ends != self.ends || self.calls.fetch_add(1, Ordering::Relaxed) >= CALLS as u32 {
            return Ok(());
        }
        match self.fault {
            Fault::Before | Fault::After => Err(JournalError("as planned".to_owned())),
            Fault::Slow => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(())
            }
            Fault::Hang | Fault::Deaf | Fault::Stray => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Journal for Books {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        self.hear(false).await?;
        Ok(held.iter().map(|_| Begin::Run(Arc::new(()))).collect())
    }

    async fn end(&self, _: &mut [Ending]) -> Result<(), JournalError> {
        self.hear(true).await
    }
}

async fn books(scene: &Scene, books: Books) -> String {
    let books = Arc::new(books);
    let id = scene.add("one").await;
    scene.falls_sick(Verb::Turn, books.fault, 0);
    let runs = scene.clone();
    let worker = scene.worker(1).journal(books.clone()).on::<Job>(move |_: Active<Job>| {
        runs.begun();
        async { Ok(()) }
    });
    let worker = worker.build().unwrap().start();
    scene.ended(&id).await;
    let story = scene.story();
    worker.stop().await;
    assert!(books.calls.load(Ordering::Relaxed) > 0, "they met their fault");
    story
}

async fn follows(scene: &Scene, fault: Fault) -> String {
    scene.falls_sick(Verb::Wait, fault, CALLS);
    let mut events = scene.queue.events(Position::START);
    let reading = async {
        loop {
            match tokio::time::timeout(3 * SECOND, events.next()).await {
                Ok(Ok(told)) => return told,
                Ok(Err(_)) | Err(_) => tokio::time::sleep(SECOND / 10).await,
            }
        }
    };
    let (told, id) = tokio::join!(reading, scene.add("one"));
    assert!(matches!(told, Told::Event(_, event) if event.job() == Some(&id)));
    scene.since()
}

async fn awaits_end(scene: &Scene, fault: Fault) -> String {
    let worker = scene.works(1, SECOND);
    let id = scene.add("one").await;
    scene.falls_sick(Verb::Read, fault, CALLS);
    insist(|| scene.queue.outcome::<Job>(&id, 10 * SECOND)).await;
    let since = scene.since();
    worker.stop().await;
    since
}

async fn cancels(scene: &Scene, fault: Fault) -> String {
    let id = scene.add("one").await;
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let worker = scene.worker(1).on::<Job>(move |job: Active<Job>| {
        let begun = begun.clone();
        async move {
            begun.send(None).unwrap();
            begun.send(Some(job.canceled().await)).unwrap();
            Ok(())
        }
    });
    let worker = worker.build().unwrap().start();
    assert!(has_begun.recv().await.unwrap().is_none());
    scene.falls_sick(Verb::Edit, fault, CALLS);
    insist(|| async {
        match scene.queue.cancel(&id).await {
            // It has heard an earlier call.
            Err(EditError::WrongState(_)) => Ok(()),
            answer => answer,
        }
    })
    .await;
    assert!(has_begun.recv().await.unwrap().is_some());
    let since = scene.since();
    worker.stop().await;
    since
}

async fn cleans(scene: &Scene, fault: Fault) -> String {
    let worker = scene.works(1, Duration::ZERO);
    for n in 0..10 {
        let id = scene.add(&format!("job-{n}")).await;
        scene.ended(&id).await;
    }
    worker.stop().await;
    scene.falls_sick(Verb::Sweep, fault, CALLS);
    insist(|| async { scene.queue.admin().clean(State::Completed, Duration::ZERO, 100).await }).await;
    assert_eq!(scene.healthy.counts().await.unwrap().completed, 0);
    scene.since()
}

async fn pauses(scene: &Scene, fault: Fault) -> String {
    scene.falls_sick(Verb::Control, fault, CALLS);
    insist(|| async { scene.queue.admin().pause().await }).await;
    assert!(scene.healthy.info().await.unwrap().paused);
    scene.since()
}

/// The calls of a worker that fail for two minutes, in the second table.
#[derive(Clone, Copy)]
pub(crate) struct Lasting(&'static str, Verb);

impl Lasting {
    pub(crate) const ALL: [Lasting; 6] = [
        Lasting("takes and ends", Verb::Turn),
        Lasting("waits", Verb::Wait),
        Lasting("locks", Verb::Beat),
        Lasting("rescues", Verb::Rescue),
        Lasting("progress", Verb::Edit),
        Lasting("reads", Verb::Read),
    ];

    pub(crate) fn name(self) -> &'static str {
        self.0
    }

    /// A worker has a job of 40 s when the store falls sick, and is told to stop a minute later; when all is well again,
    /// another one looks after what is left.
    pub(crate) fn play(self, fault: Fault) -> String {
        play(|scene| async move {
            let id = scene.add("one").await;
            let worker = scene.works(1, 40 * SECOND);
            let mut events = scene.healthy.events(Position::START);
            while !matches!(events.next().await.unwrap(), Told::Event(_, Event::Active { .. })) {}
            scene.falls_sick(self.1, fault, usize::MAX);
            let sick = scene.healthy.clock().now();
            tokio::time::sleep(60 * SECOND).await;
            let told = tokio::time::Instant::now();
            worker.stop().await;
            let stopped = told.elapsed();
            tokio::time::sleep(60 * SECOND - stopped).await;
            assert!(scene.faulty.faults() > 0);
            scene.faulty.mend();
            let worker = scene.works(2, 40 * SECOND);
            scene.ended(&id).await;
            worker.stop().await;
            let job = scene.healthy.get(&id).await.unwrap().unwrap();
            let took = job.finished_on.expect("it has ended").since(sick);
            format!(
                "ended after {:.0} s, {}; stopped in {:.0} s",
                took.as_secs_f64(),
                scene.counted(),
                stopped.as_secs_f64()
            )
        })
    }
}
