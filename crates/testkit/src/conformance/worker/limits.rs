//! Limits as workers feel them.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Faulty;
use crate::faulty::Verb;
use crate::given::*;

/// A message for each call of a verb.
fn told_of(faulty: &Faulty, verb: Verb) -> mpsc::UnboundedReceiver<()> {
    let (tell, told) = mpsc::unbounded_channel();
    let script = std::iter::repeat_with(move || {
        let _ = tell.send(());
        None
    });
    faulty.plan(verb, script);
    told
}

/// Two starts in 300 ms: each start comes at least one window after the second start before it.
pub async fn a_worker_starts_no_more_than_its_rate(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(6, &plain()).await;
    let per = Duration::from_millis(300);
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (noted, clock) = (starts.clone(), b.clock.clone());
    let worker = b.worker().concurrency(10).rate(NonZeroU32::new(2).expect("two"), per);
    let worker = worker.on::<Text>(move |_: Active<Text>| {
        noted.lock().expect("starts").push(clock.now());
        async { Ok(0) }
    });
    let (_, report) = during(worker, b.until_ended(6)).await;
    assert_eq!(report.done, 6);
    let starts = starts.lock().expect("starts");
    for pair in starts.chunks(2).collect::<Vec<_>>().windows(2) {
        let gap = pair[1][0].since(pair[0][0]);
        // A start is counted when it is taken; its handler may begin some milliseconds later than that.
        assert!(gap + Duration::from_millis(100) >= per, "{gap:?}");
    }
}

/// It is run again after the wait, in front, as the same attempt; jobs behind it wait as long.
pub async fn a_handler_can_slow_its_queue_down(h: &impl Harness) {
    let b = Bench::on(h);
    let first = b.add("first", 1, plain()).await;
    let second = b.add("second", 2, plain()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let (noted, clock) = (order.clone(), b.clock.clone());
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        noted.lock().expect("order").push((job.data().n, job.attempt(), clock.now()));
        async move {
            if job.started() == 1 && job.data().n == 1 {
                Err(Exit::SlowDown(Duration::from_millis(400)))
            } else {
                Ok(0)
            }
        }
    });
    let ((one, two), report) = during(worker, async { (b.outcome(&first).await, b.outcome(&second).await) }).await;
    assert_eq!((one.expect("a result"), two.expect("a result")), (0, 0));
    assert_eq!((report.done, report.returned, report.retried), (2, 1, 0));
    let order = order.lock().expect("order");
    assert_eq!(order.iter().map(|(n, attempt, _)| (*n, *attempt)).collect::<Vec<_>>(), [(1, 1), (1, 1), (2, 1)]);
    assert!(order[1].2.since(order[0].2) >= Duration::from_millis(400));
}

/// Three at once, whatever slots two workers have.
pub async fn a_queues_concurrency_holds_over_all_workers(h: &impl Harness) {
    let b = Bench::on(h);
    b.queue.admin().set_concurrency(NonZeroU32::new(3)).await.expect("set");
    b.add_many(40, &plain()).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let worker = || {
        let (running, most) = (running.clone(), most.clone());
        b.worker().concurrency(8).on::<Text>(move |_: Active<Text>| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await; // the work itself
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(0)
            }
        })
    };
    let ((_, one), two) = during(worker(), during(worker(), b.until_ended(40))).await;
    assert_eq!(one.done + two.done, 40);
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

/// The worker that used up the window is busy; another one, idle all the time, starts what it left when the window is over.
pub async fn an_idle_worker_starts_what_is_left_when_the_window_is_over(h: &impl Harness) {
    let b = Bench::on(h);
    let rate = Rate { max: NonZeroU32::MIN, per: Duration::from_millis(500) };
    b.queue.admin().set_rate_limit(Some(rate)).await.expect("set");
    let faulty = Faulty::over(h.backend());
    let mut looks = told_of(&faulty, Verb::Turn);
    let beside = b.beside(faulty);
    let (tell, mut starts) = mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let worker = || {
        let (tell, released) = (tell.clone(), released.clone());
        beside.worker().on::<Text>(move |_: Active<Text>| {
            let (tell, mut released) = (tell.clone(), released.clone());
            async move {
                let _ = tell.send(());
                let _ = released.wait_for(|released| *released).await;
                Ok(0)
            }
        })
    };
    let work = async {
        // Both look before the jobs are added.
        for _ in 0..2 {
            looks.recv().await.expect("a look");
        }
        b.add_many(2, &plain()).await;
        starts.recv().await.expect("a start");
        let next = tokio::time::timeout(Duration::from_secs(3), starts.recv()).await;
        release.send(true).expect("handlers");
        next.expect("long before the next look of its own").expect("a start");
        b.until_ended(2).await;
    };
    let ((_, one), two) = during(worker(), during(worker(), work)).await;
    assert_eq!((one.done, two.done), (1, 1));
}

/// Of a mixed fleet, the worker whose own rate is used up is called first and passes the call on.
pub async fn a_worker_slowed_by_its_own_rate_passes_calls_on(h: &impl Harness) {
    let b = Bench::on(h);
    let handler = || async |_: Active<Text>| Ok(0);
    let (slowly, quickly) = (Faulty::over(h.backend()), Faulty::over(h.backend()));
    let (mut waits, mut looks) = (told_of(&slowly, Verb::Wait), told_of(&quickly, Verb::Turn));
    let (slow, fast) = (b.beside(slowly), b.beside(quickly));
    let slow = slow.worker().rate(NonZeroU32::MIN, Duration::from_secs(600)).on::<Text>(handler());
    let fast = fast.worker().on::<Text>(handler());
    let work = async {
        b.add("first", 1, plain()).await;
        b.until_ended(1).await;
        // In line when it started, and again after its job.
        for _ in 0..2 {
            waits.recv().await.expect("a wait");
        }
        let both = async {
            looks.recv().await.expect("a look");
            b.add("second", 2, plain()).await;
            tokio::time::timeout(Duration::from_secs(3), b.until_ended(2)).await
        };
        during(fast, both).await
    };
    let ((ended, fast), slow) = during(slow, work).await;
    ended.expect("long before anybody's next look");
    assert_eq!((slow.done, fast.done), (1, 1));
}
