//! Several workers on one queue, and workers on a store that fails.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::Barrier;

use super::*;
use crate::faulty::{Fault, Verb};
use crate::given::*;
use crate::{Faulty, invariants};

/// How often each job ran.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<HashMap<JobId, u32>>>);

impl Runs {
    fn count(&self, job: &Active<Text>) {
        *self.0.lock().unwrap().entry(job.id().clone()).or_default() += 1;
    }

    fn assert_each_once(&self, jobs: usize) {
        let runs = self.0.lock().unwrap();
        assert_eq!(runs.len(), jobs);
        let doubled: Vec<_> = runs.iter().filter(|(_, count)| **count != 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
    }

    /// A worker of this many slots that counts.
    fn worker(&self, b: &Bench, slots: usize) -> WorkerBuilder {
        let runs = self.clone();
        b.worker().concurrency(slots).on::<Text>(move |job: Active<Text>| {
            runs.count(&job);
            async {
                tokio::task::yield_now().await;
                Ok(0)
            }
        })
    }
}

/// Each job ran once, and both did some: groups of eight wait for each other within the handlers.
pub async fn two_workers_share_a_queue(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(200, &plain()).await;
    let (runs, eight) = (Runs::default(), Arc::new(Barrier::new(8)));
    let worker = || {
        let (runs, eight) = (runs.clone(), eight.clone());
        b.worker().concurrency(4).on::<Text>(move |job: Active<Text>| {
            runs.count(&job);
            let eight = eight.clone();
            async move {
                eight.wait().await;
                Ok(0)
            }
        })
    };
    let ((_, one), two) = during(worker(), during(worker(), b.until_ended(200))).await;
    runs.assert_each_once(200);
    assert!(one.done > 0 && two.done > 0 && one.done + two.done == 200, "{one:?} {two:?}");
}

/// No job is left, none runs twice, whatever the workers do to each other.
pub async fn a_thousand_jobs_are_handled_exactly_once_by_three_workers(h: &impl Harness) {
    let b = Bench::on(h);
    let runs = Runs::default();
    let work = async {
        for part in 0..10 {
            let jobs = (0..100).map(|n| named(&format!("a{part}-{n}"), priority(n % 4))).collect();
            b.given.add(jobs, b.clock.now()).await;
        }
        b.until_ended(1_000).await;
    };
    let three = during(runs.worker(&b, 16), during(runs.worker(&b, 7), during(runs.worker(&b, 1), work)));
    let (((_, one), two), three) = three.await;
    runs.assert_each_once(1_000);
    assert_eq!(one.done + two.done + three.done, 1_000);
    assert_eq!((b.given.counts().await.completed, b.given.counts().await.total()), (1_000, 1_000));
}

/// An add through one handle is heard through the other, and its end the other way: long before anybody's next look.
pub async fn two_handles_on_one_store_hear_each_other(h: &impl Harness) {
    let b = Bench::on(h);
    let Some(other) = h.another().await else {
        assert_eq!(h.backend().promises().shared, Shared::Process);
        return;
    };
    let far = b.beside(other.clone());
    let runs = Runs::default();
    let work = async {
        for n in 0..5 {
            let asked = b.clock.now();
            let id = b.add(&format!("j{n}"), n, plain()).await;
            b.outcome(&id).await.expect("a result");
            let waited = b.clock.now().since(asked);
            assert!(waited < Duration::from_secs(3), "{waited:?}");
        }
    };
    during(runs.worker(&far, 1), work).await;
    runs.assert_each_once(5);
    other.close().await;
}

fn every_third(fault: Fault) -> impl Iterator<Item = Option<Fault>> {
    [None, None, Some(fault)].into_iter().cycle()
}

/// Every third turn and beat is carried out and not answered; each job runs and ends once.
pub async fn lost_answers_run_no_job_twice(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let keep = JobOptions { keep_completed: Keep::NONE, ..plain() };
    b.add_many(40, &plain()).await;
    let gone = (0..10).map(|n| named(&format!("gone-{n}"), keep.clone())).collect();
    b.given.add(gone, b.clock.now()).await;
    faulty.plan(Verb::Turn, every_third(Fault::After));
    faulty.plan(Verb::Beat, every_third(Fault::After));
    let runs = Runs::default();
    let (_, report) = during(runs.worker(&b, 4), b.until_ended(50)).await;
    runs.assert_each_once(50);
    assert!(faulty.faults() > 3, "the store did fail");
    assert_eq!((report.done, report.lost), (50, 0));
    let events = b.given.events().await;
    let ended: std::collections::HashSet<_> = events.iter().filter(|told| told.starts_with("completed:")).collect();
    assert_eq!(ended.len(), events.iter().filter(|told| told.starts_with("completed:")).count());
    assert_eq!((b.given.counts().await.completed, b.given.counts().await.total()), (40, 40));
    invariants::check(&*h.backend()).await;
}

/// Turns and rescues that are refused for a while delay jobs and harm none.
pub async fn a_store_that_refuses_for_a_while_loses_and_doubles_nothing(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    b.add_many(20, &plain()).await;
    faulty.plan(Verb::Turn, [Some(Fault::Before), Some(Fault::Before), None, Some(Fault::Before)]);
    faulty.plan(Verb::Rescue, [Some(Fault::Before)]);
    let runs = Runs::default();
    let witness = b.beside(h.backend());
    let (_, report) = during(runs.worker(&b, 4), witness.until_ended(20)).await;
    runs.assert_each_once(20);
    assert_eq!((report.done, report.lost), (20, 0));
    assert_eq!(faulty.faults(), 4);
}

/// It looks again by itself.
pub async fn a_worker_that_cannot_wait_still_finds_work(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let witness = b.beside(h.backend());
    faulty.plan(Verb::Wait, std::iter::repeat(Some(Fault::Before)));
    let runs = Runs::default();
    let work = async {
        for text in ["first", "second"] {
            let id = b.add(text, 0, plain()).await;
            witness.outcome(&id).await.expect("a result");
        }
    };
    during(runs.worker(&b, 1), work).await;
    runs.assert_each_once(2);
    assert!(faulty.faults() > 0, "only a failed wait can have found the second job");
}

/// Locks that nobody could renew for their whole time are lost, though the store cannot say so; when it is back, the job
/// is rescued and done.
async fn unheard_beats(h: &impl Harness, fault: Fault) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let id = b.add("j", 0, plain()).await;
    faulty.plan(Verb::Beat, std::iter::repeat(Some(fault)));
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker = b.worker().lock_for(Duration::from_secs(1)).rescue_every(Duration::from_millis(100));
    let worker = worker.on::<Text>(move |job: Active<Text>| {
        let tell = tell.clone();
        async move {
            if job.started() == 1 {
                let _ = tell.send(job.canceled().await);
            }
            Ok(job.started())
        }
    });
    let work = async {
        assert_eq!(told.recv().await, Some(Cause::LockLost));
        faulty.mend();
        b.outcome(&id).await.expect("a result")
    };
    let (answer, report) = during(worker, work).await;
    assert_eq!((answer, report.lost, report.done, b.given.get("j").await.stalls), (2, 1, 1, 1));
}

/// With errors for answers.
pub async fn a_worker_whose_beats_fail_gives_its_handlers_up(h: &impl Harness) {
    unheard_beats(h, Fault::Before).await;
}

/// With no answers at all.
pub async fn a_worker_whose_beats_hang_gives_its_handlers_up(h: &impl Harness) {
    unheard_beats(h, Fault::Hang).await;
}

/// A handler that asks who works on its queue finds its own worker, though its first beat is 300 ms late.
pub async fn a_worker_is_known_before_its_first_job(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    faulty.plan(Verb::Beat, [Some(Fault::Slow)]);
    let id = b.add("j", 0, plain()).await;
    let queue = b.queue.clone();
    let worker = b.worker().on::<Text>(move |_: Active<Text>| {
        let queue = queue.clone();
        async move { Ok(queue.info().await?.workers.len() as u32) }
    });
    let (known, _) = during(worker, b.outcome(&id)).await;
    assert_eq!(known.expect("a result"), 1);
}

/// Asked with no time at all, of a store that is 300 ms late; one that has not ended has not.
pub async fn an_outcome_that_is_there_needs_no_time(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let (id, other) = (b.add("j", 7, plain()).await, b.add("later", 8, delay(3_600_000)).await);
    let worker = b.worker().on::<Text>(async |job: Active<Text>| Ok(job.data().n));
    during(worker, b.outcome(&id)).await.0.expect("a result");
    faulty.plan(Verb::Read, std::iter::repeat(Some(Fault::Slow)));
    let now = |id| b.queue.outcome::<Text>(id, Duration::ZERO);
    assert_eq!(now(&id).await.expect("a result"), 7);
    assert!(matches!(now(&other).await, Err(OutcomeError::NotYet)));
}
