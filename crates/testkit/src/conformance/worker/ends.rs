//! How runs end, and what becomes of their jobs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::Barrier;

use super::*;
use crate::given::*;

/// A typed result, and a report that counts it.
pub async fn a_worker_completes_jobs_and_its_caller_reads_the_outcome(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 21, plain()).await;
    let worker = b.worker().name("clerk").on::<Text>(async |job: Active<Text>| Ok(job.data().n * 2));
    let (answer, report) = during(worker, b.outcome(&id)).await;
    assert_eq!((answer.expect("a result"), report.done), (42, 1));
    assert_eq!(b.given.get("j").await.processed_by.as_deref(), Some("clerk"));
}

/// Tries start apart by the exponential backoff.
pub async fn a_handler_that_fails_twice_succeeds_at_its_third_try(h: &impl Harness) {
    let b = Bench::on(h);
    let options = JobOptions { backoff: Backoff::exponential(Duration::from_millis(20)), ..tries(3) };
    let id = b.add("j", 0, options).await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (seen, clock) = (starts.clone(), b.clock.clone());
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        seen.lock().unwrap().push(clock.now());
        async move { if job.attempt() < 3 { Err("not yet".into()) } else { Ok(job.attempt()) } }
    });
    let (answer, report) = during(worker, b.outcome(&id)).await;
    assert_eq!(answer.expect("a result"), 3);
    let starts = starts.lock().unwrap().clone();
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
    assert!(gaps[0] >= 20 && gaps[1] >= 40, "{gaps:?}");
    assert!(!b.exact || (gaps[0] <= 21 && gaps[1] <= 41), "{gaps:?}");
    let job = b.given.get("j").await;
    assert_eq!((job.made, job.started, report.retried, report.done), (3, 3, 2, 1));
}

/// Exactly as many runs as tries, and the last message.
pub async fn a_handler_that_always_fails_is_failed_after_its_last_try(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, tries(3)).await;
    let worker = b.worker().on::<Text>(async |job: Active<Text>| {
        assert_eq!(job.is_last_attempt(), job.attempt() == 3);
        Err(format!("boom {}", job.attempt()).into())
    });
    let (failure, report) = during(worker, b.failure(&id)).await;
    assert_eq!(failure, Failure::new(FailureKind::Error, "boom 3"));
    assert_eq!((b.given.get("j").await.started, report.retried, report.dead), (3, 2, 1));
}

/// An error that says so is final.
pub async fn giving_up_ends_the_job_though_tries_remain(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, tries(5)).await;
    let worker = b.worker().on::<Text>(async |_: Active<Text>| Err(Exit::give_up("useless")));
    let (failure, report) = during(worker, b.failure(&id)).await;
    assert_eq!(failure, Failure::new(FailureKind::GaveUp, "useless"));
    assert_eq!((b.given.get("j").await.started, report.dead, report.retried), (1, 1, 0));
}

/// In the handler's first instruction and after an await; it is an attempt like any other that failed.
pub async fn a_panic_fails_the_attempt_and_not_the_worker(h: &impl Harness) {
    let b = Bench::on(h);
    let bad = b.add("bad", 0, tries(2)).await;
    let worker = b.worker().on::<Text>(|job: Active<Text>| {
        assert!(job.data().n == 1 || job.attempt() == 2, "oops at once");
        async move {
            tokio::task::yield_now().await;
            assert!(job.data().n == 1, "oops {}", job.attempt());
            Ok(1)
        }
    });
    let work = async {
        let failure = b.failure(&bad).await;
        let good = b.add("good", 1, plain()).await;
        (failure, b.outcome(&good).await.expect("a result"))
    };
    let ((failure, good), report) = during(worker, work).await;
    assert_eq!((failure.kind, good), (FailureKind::Panic, 1));
    assert!(failure.message.contains("oops 2"), "{failure:?}");
    assert_eq!((report.retried, report.dead, report.done), (1, 1, 1));
}

/// The handler's future is dropped and its slot is free again.
pub async fn an_attempt_beyond_its_timeout_fails_as_timeout(h: &impl Harness) {
    let b = Bench::on(h);
    let slow = b.add("slow", 0, JobOptions { timeout: Some(Duration::from_millis(30)), ..plain() }).await;
    let next = b.add("next", 1, plain()).await;
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        let mark = (job.data().n == 0).then(|| Dropped(tell.clone()));
        async move { if mark.is_some() { std::future::pending().await } else { Ok(1) } }
    });
    let work = async { (b.failure(&slow).await.kind, dropped.recv().await, b.outcome(&next).await.expect("a result")) };
    assert_eq!(during(worker, work).await.0, (FailureKind::Timeout, Some(()), 1));
}

/// Neither a failure nor a try.
pub async fn asking_for_later_runs_the_job_again_uncounted(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let worker = b.worker().on::<Text>(async |job: Active<Text>| {
        if job.started() == 1 { Err(Exit::Later(Duration::from_millis(20))) } else { Ok(job.attempt()) }
    });
    let (answer, report) = during(worker, b.outcome(&id)).await;
    assert_eq!((answer.expect("a result"), report.returned, report.done), (1, 1, 1));
    let job = b.given.get("j").await;
    assert_eq!((job.made, job.started), (1, 2));
}

/// A worker that does not know a job leaves it to one that does.
pub async fn an_unknown_name_is_put_off_uncounted(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.queue.add_named("other", 5).await.expect("add").id().clone();
    let ignorant = b.worker().on::<Text>(async |_: Active<Text>| Ok(0));
    let put_off = b.until(1, |event| matches!(event, Event::Delayed { .. }));
    let (_, report) = during(ignorant, put_off).await;
    let job = b.given.get(id.as_str()).await;
    assert_eq!((job.state, job.made, job.failure, report.returned), (State::Delayed, 0, None, 1));
    let knowing = b.worker().on_rest(async |job: Active<Payload>| {
        assert_eq!(job.name(), "other");
        Ok(job.into_data())
    });
    let work = async {
        b.queue.promote(&id).await.expect("promote");
        b.outcome(&id).await.expect("a result")
    };
    assert_eq!(during(knowing, work).await.0, 5);
}

/// What cannot be decoded now cannot be decoded later.
pub async fn an_undecodable_payload_is_given_up_with_a_reason(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.queue.add_named("text", "no object").attempts(5).await.expect("add").id().clone();
    let worker = b.worker().on::<Text>(async |_: Active<Text>| Ok(0));
    let (failure, _) = during(worker, b.failure(&id)).await;
    assert_eq!(failure.kind, FailureKind::GaveUp);
    assert!(failure.message.contains("payload"), "{failure:?}");
    assert_eq!(b.given.get(id.as_str()).await.made, 1);
}

/// Jobs outlive the names of their kinds.
pub async fn a_former_name_reaches_its_handler(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.queue.add_named("old-text", Text { n: 4 }).await.expect("add").id().clone();
    let worker = b.worker().on::<Text>(async |job: Active<Text>| Ok(job.data().n));
    assert_eq!(during(worker, b.outcome(&id)).await.0.expect("a result"), 4);
}

/// All slots are used, and never more: groups of three wait for each other within their handlers.
pub async fn no_more_handlers_run_at_once_than_there_are_slots(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(30, &plain()).await;
    let (now, most, three) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(3)));
    let (now, highest) = (Arc::new(now), most.clone());
    let worker = b.worker().concurrency(3).on::<Text>(move |_: Active<Text>| {
        let (now, most, three) = (now.clone(), most.clone(), three.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            three.wait().await;
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(0)
        }
    });
    let (_, report) = during(worker, b.until_ended(30)).await;
    assert_eq!((highest.load(Ordering::SeqCst), report.done), (3, 30));
}

/// To the last one, whatever their kinds of order, with more of them due at once than one turn makes ready.
pub async fn a_backlog_is_worked_to_its_very_last_job(h: &impl Harness) {
    let b = Bench::on(h);
    let now = b.clock.now().minus(Duration::from_secs(1));
    b.given.add((0..450).map(|_| job(after(1))).collect(), now).await;
    b.given.add((0..101).map(|n| job(urgent(n % 3))).collect(), now).await;
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let worker = b.worker().concurrency(7).on::<Text>(move |_: Active<Text>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(0) }
    });
    let (_, report) = during(worker, b.until_ended(551)).await;
    assert_eq!((runs.load(Ordering::Relaxed), report.done), (551, 551));
    assert_eq!(b.given.counts().await.completed, 551);
}

/// A sleeping worker gets up for it.
pub async fn a_delayed_job_starts_at_its_time_and_not_before(h: &impl Harness) {
    let b = Bench::on(h);
    let worker = b.worker().on::<Text>(async |_: Active<Text>| Ok(0));
    let work = async {
        let first = b.add("first", 0, plain()).await;
        b.outcome(&first).await.expect("a result"); // the worker is idle now
        let id = b.add("late", 0, after(300)).await;
        let due = b.given.get("late").await.due.expect("is delayed");
        b.outcome(&id).await.expect("a result");
        (due, b.given.get("late").await.processed_on.expect("was started"))
    };
    let ((due, started), _) = during(worker, work).await;
    let late = started.since(due);
    // Exact where time is; a loaded machine may be slow where it is real, but not as slow as the next look.
    assert!(started >= due && late <= Duration::from_millis(if b.exact { 1 } else { 3_000 }), "{late:?} late");
}

/// The take that finds the pause makes a due job ready and gives it to nobody; resuming wakes the worker.
pub async fn a_paused_queue_keeps_its_jobs_until_it_is_resumed(h: &impl Harness) {
    let b = Bench::on(h);
    b.queue.admin().pause().await.expect("pause");
    b.given.add(vec![named("j", after(1))], b.clock.now().minus(Duration::from_secs(1))).await;
    let worker = b.worker().on::<Text>(async |_: Active<Text>| Ok(0));
    let work = async {
        b.until(1, |event| matches!(event, Event::Waiting { prev: Some(State::Delayed), .. })).await;
        let before = b.given.get("j").await;
        b.queue.admin().resume().await.expect("resume");
        let resumed = b.clock.now();
        b.outcome(&id("j")).await.expect("a result");
        (before, b.clock.now().since(resumed))
    };
    let ((before, waited), _) = during(worker, work).await;
    assert_eq!((before.state, before.started), (State::Waiting, 0));
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}
