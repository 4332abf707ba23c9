//! What must not harm a worker: panics anywhere in its users' code, a store that hangs, times out of all measure.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use launchkit_queue::backend::Held;

use super::*;
use crate::Faulty;
use crate::faulty::{Fault, Verb};
use crate::given::*;

/// A value whose drop panics.
struct Sharp;

impl Drop for Sharp {
    fn drop(&mut self) {
        panic!("sharp");
    }
}

/// An error that cannot even be written out.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("unspeakable")
    }
}

impl std::error::Error for Unspeakable {}

/// The only slot is free again each time, and the jobs fail as panicked.
pub async fn a_panic_around_a_handler_fails_the_attempt_too(h: &impl Harness) {
    let b = Bench::on(h);
    let sharp = b.add("sharp", 1, JobOptions { timeout: Some(Duration::from_millis(20)), ..plain() }).await;
    let unspeakable = b.add("unspeakable", 2, plain()).await;
    let good = b.add("good", 3, plain()).await;
    let worker = b.worker().on::<Text>(async |job: Active<Text>| match job.data().n {
        1 => {
            let _sharp = Sharp;
            std::future::pending().await
        }
        2 => Err(Unspeakable.into()),
        n => Ok(n),
    });
    let work = async { (b.failure(&sharp).await, b.failure(&unspeakable).await, b.outcome(&good).await) };
    let ((sharp, unspeakable, good), report) = during(worker, work).await;
    assert_eq!([sharp.kind, unspeakable.kind], [FailureKind::Panic; 2]);
    assert!(sharp.message.contains("sharp") && unspeakable.message.contains("unspeakable"));
    assert_eq!((good.expect("a result"), report.dead, report.done), (3, 2, 1));
}

/// A journal that panics at its first two calls of each kind.
#[derive(Default)]
struct Nervous(Mutex<[u32; 2]>);

impl Nervous {
    fn call(&self, which: usize) {
        let calls = {
            let mut calls = self.0.lock().unwrap();
            calls[which] += 1;
            calls[which]
        };
        assert!(calls > 2, "as planned");
    }
}

#[async_trait]
impl Journal for Nervous {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        self.call(0);
        Ok(held.iter().map(|_| Begin::Run(Arc::new(()))).collect())
    }

    async fn end(&self, _: &mut [Ending]) -> Result<(), JournalError> {
        self.call(1);
        Ok(())
    }
}

/// As one that fails: asked again, and no slot or lock stays behind.
pub async fn a_journal_that_panics_is_asked_again(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(3, &plain()).await;
    let worker = b.worker().journal(Arc::new(Nervous::default())).on::<Text>(async |_: Active<Text>| Ok(0));
    let (_, report) = during(worker, b.until_ended(3)).await;
    assert_eq!((report.done, report.lost), (3, 0));
}

/// A rescue that is never answered keeps nobody from stopping.
pub async fn a_worker_stops_though_a_rescue_hangs(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    faulty.plan(Verb::Rescue, std::iter::repeat(Some(Fault::Hang)));
    let id = b.add("j", 0, plain()).await;
    let worker = b.worker().on::<Text>(async |_: Active<Text>| Ok(5));
    let (answer, _) = during(worker, b.outcome(&id)).await;
    assert_eq!((answer.expect("a result"), faulty.faults()), (5, 1));
}

/// As long as can be said is as good as for ever; looks without a pause are refused.
pub async fn the_longest_times_harm_no_worker(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let worker = || b.worker().on::<Text>(async |_: Active<Text>| Ok(5));
    for wrong in [Duration::ZERO, Duration::MAX] {
        assert_eq!(worker().rescue_every(wrong).build().err(), Some(BadWorker::RescueEvery));
    }
    let patient = worker().grace(Duration::MAX).lock_for(Duration::MAX);
    assert_eq!(during(patient, b.outcome(&id)).await.0.expect("a result"), 5);
}

/// A journal that makes up its mind after the grace.
struct Slow(Mutex<Option<oneshot::Sender<()>>>);

#[async_trait]
impl Journal for Slow {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        self.0.lock().unwrap().take();
        tokio::time::sleep(Duration::from_millis(300)).await; // the work itself
        Ok(held.iter().map(|_| Begin::Run(Arc::new(()))).collect())
    }

    async fn end(&self, endings: &mut [Ending]) -> Result<(), JournalError> {
        assert!(endings.iter().all(|ending| matches!(ending.outcome, Outcome::Back)));
        Ok(())
    }
}

/// Not run any more, told to the journal, uncounted.
pub async fn a_job_begun_after_the_grace_is_given_back(h: &impl Harness) {
    let b = Bench::on(h);
    b.add("j", 0, plain()).await;
    let (asked, stop) = oneshot::channel();
    let slow = Arc::new(Slow(Mutex::new(Some(asked))));
    let (tell, mut ran) = mpsc::unbounded_channel();
    let worker = b.worker().grace(Duration::ZERO).journal(slow).on::<Text>(move |_: Active<Text>| {
        let _ = tell.send(());
        async { Ok(0) }
    });
    let stop = async { assert!(stop.await.is_err()) };
    let report = guard(worker.build().expect("a worker").run_until(stop)).await;
    assert_eq!(ran.recv().await, None);
    let job = b.given.get("j").await;
    assert_eq!((report.returned, report.lost, job.state, job.made, job.started), (1, 0, State::Waiting, 0, 1));
}

/// The old run is told, though no beat asks for it any more; the new one stands.
pub async fn a_job_that_comes_back_to_its_worker_ends_the_old_run(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker = b.worker().concurrency(2).on::<Text>(move |job: Active<Text>| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(None);
            if job.started() > 1 {
                return Ok(7);
            }
            let _ = tell.send(Some(job.canceled().await));
            std::future::pending().await
        }
    });
    let work = async {
        assert_eq!(told.recv().await, Some(None));
        b.given.rescue(9, b.clock.now().plus(Duration::from_secs(3600))).await;
        let answer = b.outcome(&id).await.expect("a result");
        let mut causes = Vec::new();
        while causes.len() < 2 {
            causes.push(told.recv().await.expect("the handlers tell"));
        }
        causes.sort_by_key(Option::is_none);
        (answer, causes)
    };
    let ((answer, causes), report) = during(worker, work).await;
    assert_eq!((answer, causes), (7, vec![Some(Cause::LockLost), None]));
    assert_eq!((report.done, report.lost), (1, 1));
}

/// Beats have failed for longer than a lock holds when it is taken: its own time counts.
pub async fn a_fresh_lock_outlives_failing_beats(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    faulty.plan(Verb::Beat, std::iter::repeat(Some(Fault::Before)));
    let id = b.add("j", 0, delay(2_500)).await;
    let worker = b.worker().lock_for(Duration::from_secs(2)).on::<Text>(async |_: Active<Text>| {
        tokio::time::sleep(Duration::from_millis(600)).await; // the work itself
        Ok(5)
    });
    let (answer, report) = during(worker, b.outcome(&id)).await;
    assert_eq!((answer.expect("a result"), report.done, report.lost), (5, 1, 0));
}

/// Progress of very many jobs that cannot be stored must not take the time that their locks need.
pub async fn notes_that_hang_cost_no_lock(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    faulty.plan(Verb::Edit, std::iter::repeat(Some(Fault::Hang)));
    b.add_many(2_100, &plain()).await;
    let worker =
        b.worker().concurrency(2_100).lock_for(Duration::from_secs(3)).rescue_every(Duration::from_millis(500));
    let worker = worker.on::<Text>(async |job: Active<Text>| {
        for step in 0..40 {
            job.progress(&step)?;
            job.log("on it");
            tokio::time::sleep(Duration::from_millis(100)).await; // the work itself
        }
        Ok(0)
    });
    let (_, report) = during(worker, b.until_ended(2_100)).await;
    assert_eq!((report.done, report.lost, report.rescued), (2_100, 0, 0));
    assert!(faulty.faults() > 0);
}

/// A worker without a free slot passes the call for work on, long before anybody's next look.
pub async fn a_busy_worker_keeps_no_call_from_an_idle_one(h: &impl Harness) {
    let b = Bench::on(h);
    let (tell, mut started) = mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let busy = b.worker().on::<Text>(move |_: Active<Text>| {
        let (tell, mut released) = (tell.clone(), released.clone());
        async move {
            let _ = tell.send(());
            let _ = released.wait_for(|released| *released).await;
            Ok(0)
        }
    });
    // The delay lets the worker stand in line, before its own alarm wakes it.
    b.add("long", 1, delay(300)).await;
    let faulty = Faulty::over(h.backend());
    let (tell, mut waits) = mpsc::unbounded_channel();
    let told = std::iter::repeat_with(move || {
        let _ = tell.send(());
        None
    });
    faulty.plan(Verb::Wait, told);
    let beside = b.beside(faulty);
    let work = async {
        assert_eq!(started.recv().await, Some(()));
        let next = async {
            waits.recv().await;
            let begun = b.clock.now();
            let id = b.add("short", 0, plain()).await;
            b.outcome(&id).await.expect("a result");
            b.clock.now().since(begun)
        };
        let (took, _) = during(beside.worker().on::<Text>(async |_: Active<Text>| Ok(0)), next).await;
        let _ = release.send(true);
        took
    };
    let (took, _) = during(busy, work).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// A handler that ends while its progress is on the way to a slow store: the progress comes first.
pub async fn no_end_overtakes_a_note_on_its_way(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let sent = Arc::new(tokio::sync::Notify::new());
    let tell = sent.clone();
    let slow = std::iter::once_with(move || {
        tell.notify_one();
        Some(Fault::Slow)
    });
    faulty.plan(Verb::Edit, slow);
    let id = b.add("j", 0, plain()).await;
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        let sent = sent.clone();
        async move {
            job.progress(&50)?;
            sent.notified().await;
            Ok(0)
        }
    });
    let (answer, _) = during(worker, b.outcome(&id)).await;
    answer.expect("a result");
    let events = b.given.events().await;
    assert_eq!(events[events.len() - 3..], ["progress:j", "completed:j", "drained"]);
}

/// The step of a scheduler whose job has been taken is not answered: what comes after waits a second or two, not the time of
/// a lock.
pub async fn a_step_that_hangs_holds_up_no_job_for_long(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let every = Repeat::named("r", Schedule::Every(Duration::from_secs(3_600)), Text::NAME, &Text { n: 0 });
    b.queue.schedule(every.expect("JSON")).await.expect("a scheduler");
    let (tell, mut asked) = mpsc::unbounded_channel();
    let hangs = std::iter::repeat_with(move || {
        // Nobody need listen any more.
        let _ = tell.send(());
        Some(Fault::Hang)
    });
    faulty.plan(Verb::Edit, hangs);
    let worker = b.worker().concurrency(10).on::<Text>(async |_: Active<Text>| Ok(0));
    let work = async {
        asked.recv().await.expect("the step is asked for");
        let begun = b.clock.now();
        let id = b.add("plain", 1, plain()).await;
        b.outcome(&id).await.expect("a result");
        b.clock.now().since(begun)
    };
    let (took, _) = during(worker, work).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
