//! Stopping workers, losing locks, canceling jobs.

use super::*;
use crate::given::*;

/// The running job completes, none of the waiting ones starts.
pub async fn a_worker_told_to_stop_lets_running_jobs_end(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(2, &plain()).await;
    let (tell, mut started) = mpsc::unbounded_channel();
    let (release, released) = oneshot::channel::<()>();
    let released = std::sync::Mutex::new(Some(released));
    let worker = b.worker().on::<Text>(move |_: Active<Text>| {
        let released = released.lock().unwrap().take();
        let _ = tell.send(());
        async move {
            let _ = released.expect("only one job starts").await;
            Ok(0)
        }
    });
    let stop = async {
        started.recv().await;
        let _ = release.send(()); // the handler can end only after the stop
    };
    let report = guard(worker.build().expect("a worker").run_until(stop)).await;
    let counts = b.given.counts().await;
    assert_eq!((report.done, report.returned, counts.completed, counts.waiting), (1, 0, 1, 1));
}

/// First in line and uncounted; its handler was told, had its time, and was dropped.
pub async fn after_the_grace_running_jobs_are_given_back_uncounted(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(2, &plain()).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (tell_drop, mut dropped) = mpsc::unbounded_channel();
    let worker = b.worker().grace(Duration::from_millis(50)).on::<Text>(move |job: Active<Text>| {
        let (tell, mark) = (tell.clone(), Dropped(tell_drop.clone()));
        async move {
            let _ = tell.send(None);
            let _ = tell.send(Some(job.canceled().await));
            let _mark = mark;
            std::future::pending().await
        }
    });
    let stop = async { assert_eq!(told.recv().await, Some(None)) };
    let report = guard(worker.build().expect("a worker").run_until(stop)).await;
    assert_eq!((told.recv().await, dropped.recv().await), (Some(Some(Cause::Shutdown)), Some(())));
    assert_eq!((report.returned, report.done), (1, 0));
    let job = b.given.get("a0").await;
    assert_eq!((job.made, job.started, job.stalls), (0, 1, 0));
    assert_eq!(b.given.list(State::Waiting).await, ["a0", "a1"]);
}

/// A handler that breaks off when it is told to stop has failed nobody: its job is given back like the others.
pub async fn an_error_because_of_a_stop_is_no_failed_attempt(h: &impl Harness) {
    let b = Bench::on(h);
    b.add("j", 0, plain()).await;
    let (tell, mut started) = mpsc::unbounded_channel();
    let worker = b.worker().grace(Duration::ZERO).on::<Text>(move |job: Active<Text>| {
        let _ = tell.send(());
        async move { Err(format!("{:?}", job.canceled().await).into()) }
    });
    let stop = async { assert_eq!(started.recv().await, Some(())) };
    let report = guard(worker.build().expect("a worker").run_until(stop)).await;
    let job = b.given.get("j").await;
    assert_eq!((report.returned, report.dead, job.state, job.made), (1, 0, State::Waiting, 0));
}

/// As after a crash: rescued when the lock has ended, and completed by another.
pub async fn a_dropped_worker_leaves_its_jobs_to_another(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let (tell, mut started) = mpsc::unbounded_channel();
    let (tell_drop, mut dropped) = mpsc::unbounded_channel();
    let victim = b.worker().lock_for(Duration::from_secs(1)).on::<Text>(move |_: Active<Text>| {
        let mark = Dropped(tell_drop.clone());
        let _ = tell.send(());
        async move {
            let _mark = mark;
            std::future::pending().await
        }
    });
    tokio::select! {
        _ = victim.build().expect("a worker").run_until(std::future::pending::<()>()) => panic!("it never ends"),
        _ = guard(started.recv()) => {}
    }
    guard(dropped.recv()).await;
    let heir = b.worker().rescue_every(Duration::from_millis(100)).on::<Text>(async |_: Active<Text>| Ok(9));
    let (answer, report) = during(heir, b.outcome(&id)).await;
    assert_eq!((answer.expect("a result"), report.rescued), (9, 1));
    let job = b.given.get("j").await;
    assert_eq!((job.stalls, job.started, job.made), (1, 2, 1));
}

/// Two lock times long, beside a worker that rescues what it can.
pub async fn a_long_job_keeps_its_lock(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let worker = || {
        let worker = b.worker().lock_for(Duration::from_secs(1)).rescue_every(Duration::from_millis(100));
        worker.on::<Text>(async |_: Active<Text>| {
            tokio::time::sleep(Duration::from_secs(2)).await; // the work itself
            Ok(1)
        })
    };
    let ((answer, one), two) = during(worker(), during(worker(), b.outcome(&id))).await;
    assert_eq!(answer.expect("a result"), 1);
    let job = b.given.get("j").await;
    assert_eq!((job.started, job.stalls, one.rescued + two.rescued), (1, 0, 0));
}

/// The handler sees why and is dropped; the later holder's result stands.
pub async fn a_lost_lock_stops_the_handler_and_drops_its_answer(h: &impl Harness) {
    let b = Bench::on(h);
    b.add("j", 0, plain()).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (tell_drop, mut dropped) = mpsc::unbounded_channel();
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        let (tell, mark) = (tell.clone(), Dropped(tell_drop.clone()));
        async move {
            let _mark = mark;
            let _ = tell.send(None);
            let _ = tell.send(Some(job.canceled().await));
            Ok(1)
        }
    });
    let work = async {
        assert_eq!(told.recv().await, Some(None));
        b.given.rescue(1, b.clock.now().plus(Duration::from_secs(31))).await;
        let thief = b.given.take(1, b.clock.now()).await.remove(0);
        assert_eq!(told.recv().await, Some(Some(Cause::LockLost)));
        dropped.recv().await;
        b.given.end(&thief.lock, Outcome::Done(json("2")), b.clock.now()).await
    };
    let (end, report) = during(worker, work).await;
    assert_eq!(end, launchkit_queue::backend::End::Applied);
    let job = b.given.get("j").await;
    assert_eq!((job.result, job.started, job.stalls), (Some(json("2")), 2, 1));
    assert_eq!((report.lost, report.done), (1, 0));
}

/// Told within a second; its tries are left unused.
pub async fn a_canceled_handler_is_told_and_its_job_fails_as_canceled(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, tries(5)).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(None);
            let _ = tell.send(Some(job.canceled().await));
            Err("stopped".into())
        }
    });
    let work = async {
        assert_eq!(told.recv().await, Some(None));
        let asked = b.clock.now();
        b.queue.cancel(&id).await.expect("cancel");
        assert_eq!(told.recv().await, Some(Some(Cause::Canceled)));
        (b.clock.now().since(asked), b.failure(&id).await)
    };
    let ((waited, failure), report) = during(worker, work).await;
    // Exact where time is; a loaded machine may be slow where it is real.
    assert!(waited <= Duration::from_secs(if b.exact { 1 } else { 4 }), "{waited:?}");
    assert_eq!((failure.kind, b.given.get("j").await.made, report.dead), (FailureKind::Canceled, 1, 1));
}

/// Its handler is never called.
pub async fn a_doomed_job_is_failed_without_running(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, tries(5)).await;
    b.queue.cancel(&id).await.expect("cancel");
    let worker = b.worker().on::<Text>(|_: Active<Text>| -> std::future::Ready<Result<u32, Exit>> {
        panic!("a doomed job runs");
    });
    let (failure, report) = during(worker, b.failure(&id)).await;
    assert_eq!((failure.kind, report.dead, report.retried), (FailureKind::Canceled, 1, 0));
}
