//! How many jobs may start: in a time, at once, and not before.

use std::num::NonZeroU32;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Outcome, State, StoreError, Timestamp, Why, explain};
use serde_json::json;

use crate::Harness;
use crate::given::*;

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not zero")
}

/// So many starts in a second.
fn rate(max: u32) -> Rate {
    Rate { max: some(max), per: Duration::from_secs(1) }
}

async fn order(q: &Given, what: Control, now: Timestamp) {
    q.backend.control(&q.queue, what, now).await.expect("control");
}

/// What a take of a worker with this rate of its own brings: ids, and what comes next.
async fn take(q: &Given, own: Option<Rate>, now: Timestamp) -> (Vec<String>, Next) {
    let turned = q.turn(Vec::new(), Some(Take { rate: own, ..q.wish(9) }), now).await;
    (ids(&turned.held), turned.next)
}

/// Two in a second: the third waits for the millisecond at which the window is over.
pub async fn a_rate_lets_so_many_start_in_a_window(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c"], T0).await;
    order(&q, Control::Rate(Some(rate(2))), T0).await;
    assert_eq!(take(&q, None, at(0)).await, (vec!["a".into(), "b".into()], Next::Limited(at(1_000))));
    assert_eq!(take(&q, None, at(999)).await, (vec![], Next::Limited(at(1_000))));
    assert_eq!(take(&q, None, at(1_000)).await, (vec!["c".into()], Next::Empty));
}

/// Not with the setting, and not with the end of the one before.
pub async fn a_window_begins_with_its_first_start(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    order(&q, Control::Rate(Some(rate(1))), T0).await;
    assert_eq!(take(&q, None, at(300)).await.1, Next::Limited(at(1_300)));
    assert_eq!(take(&q, None, at(1_700)).await, (vec!["b".into()], Next::Limited(at(2_700))));
    order(&q, Control::Rate(None), at(1_800)).await;
    assert_eq!(take(&q, None, at(1_801)).await.0, ["c", "d"]);
}

/// One counter for all workers that have a rate; whoever has none is not held back.
pub async fn workers_rates_are_counted_together(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c"], T0).await;
    let slow = Some(rate(1));
    assert_eq!(take(&q, slow, at(0)).await, (vec!["a".into()], Next::Limited(at(1_000))));
    assert_eq!(take(&q, slow, at(10)).await, (vec![], Next::Limited(at(1_000))));
    assert_eq!(take(&q, Some(rate(2)), at(20)).await.0, ["b"]);
    assert_eq!(take(&q, None, at(30)).await.0, ["c"]);
}

/// Both when it is smaller and when it is larger.
pub async fn the_queues_rate_goes_before_a_workers(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    order(&q, Control::Rate(Some(rate(1))), T0).await;
    assert_eq!(take(&q, Some(rate(3)), at(0)).await.0, ["a"]);
    order(&q, Control::Rate(Some(rate(3))), at(1)).await;
    assert_eq!(take(&q, Some(rate(1)), at(2)).await, (vec!["b".into(), "c".into()], Next::Limited(at(1_000))));
}

/// A job that is handed out only to be failed costs nobody's turn.
pub async fn doomed_jobs_do_not_count_as_starts(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["doomed", "a", "b"], T0).await;
    q.edit(Edit::Cancel(id("doomed")), T0).await;
    order(&q, Control::Rate(Some(rate(1))), T0).await;
    assert_eq!(take(&q, None, at(0)).await, (vec!["doomed".into()], Next::More));
    assert_eq!(take(&q, None, at(1)).await, (vec!["a".into()], Next::Limited(at(1_001))));
}

/// The job goes back in front, uncounted; nobody starts anything before the time, with or without a rate.
pub async fn slowing_down_gives_the_job_back_and_holds_the_queue(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let held = q.one(at(1)).await;
    let ends = vec![verdict(&held.lock, Outcome::SlowDown(at(500)))];
    let turned = q.turn(ends, Some(q.wish(9)), at(2)).await;
    assert_eq!((turned.ends, turned.held.len(), turned.next), (vec![End::Applied], 0, Next::Limited(at(500))));
    let job = q.get("a").await;
    assert_eq!((job.state, job.made), (State::Waiting, 0));
    assert_eq!(take(&q, None, at(499)).await, (vec![], Next::Limited(at(500))));
    assert_eq!(take(&q, None, at(500)).await.0, ["a", "b"]);
}

/// A hold is never shortened, only cleared; then whoever waits looks again.
pub async fn clearing_lifts_a_hold_and_wakes_a_waiter(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    order(&q, Control::Rate(Some(rate(1))), T0).await;
    assert_eq!(take(&q, None, at(0)).await.0, ["a"]);
    order(&q, Control::HoldUntil(at(60_000)), T0).await;
    order(&q, Control::HoldUntil(at(10)), T0).await;
    assert_eq!(take(&q, None, at(2_000)).await, (vec![], Next::Limited(at(60_000))));
    // Rings of the verbs before are used up, so that only the clearing can end the wait.
    q.backend.wait(&q.queue, Duration::ZERO).await.expect("wait");
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let (woken, ()) = tokio::join!(wait, order(&q, Control::ClearRate, at(2_000)));
    woken.expect("is woken").expect("wait");
    assert_eq!(take(&q, None, at(2_001)).await, (vec!["b".into()], Next::Empty));
}

/// Jobs that become due are counted as ready, and may be taken by priority once something may start.
pub async fn delayed_jobs_become_ready_while_nothing_may_start(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("d", delay(100))], T0).await;
    order(&q, Control::HoldUntil(at(500)), T0).await;
    assert_eq!(take(&q, None, at(100)).await, (vec![], Next::Limited(at(500))));
    assert_eq!(q.counts().await.waiting, 1);
}

/// Two at once over all workers: an end makes room for exactly one.
pub async fn a_full_queue_starts_one_for_each_that_ends(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    order(&q, Control::Concurrency(Some(some(2))), T0).await;
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(1)).await;
    assert_eq!((ids(&turned.held), turned.next), (vec!["a".into(), "b".into()], Next::Full));
    assert_eq!(take(&q, None, at(2)).await, (vec![], Next::Full));
    let next = q.turn(vec![verdict(&turned.held[0].lock, done())], Some(q.wish(9)), at(3)).await;
    assert_eq!((ids(&next.held), next.next), (vec!["c".into()], Next::Full));
    order(&q, Control::Concurrency(None), at(4)).await;
    assert_eq!(take(&q, None, at(5)).await, (vec!["d".into()], Next::Empty));
}

/// A worker that stops ends its job without taking another: the slot must not lie idle.
pub async fn an_end_that_makes_room_wakes_a_waiter(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    order(&q, Control::Concurrency(Some(some(1))), T0).await;
    let held = q.one(at(1)).await;
    assert_eq!(q.next(at(2)).await, Next::Full);
    quiet(&q).await;
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let end = async { q.turn(vec![verdict(&held.lock, done())], None, at(3)).await };
    let (woken, _) = tokio::join!(wait, end);
    woken.expect("is woken").expect("wait");
    assert_eq!(take(&q, None, at(4)).await.0, ["b"]);
}

/// Hears what has been called already, until nothing comes any more. A server's calls take a moment.
async fn quiet(q: &Given) {
    const LONG_ENOUGH: Duration = Duration::from_millis(300);
    for _ in 0..5 {
        let began = tokio::time::Instant::now();
        q.backend.wait(&q.queue, LONG_ENOUGH).await.expect("wait");
        if began.elapsed() >= LONG_ENOUGH {
            return;
        }
    }
    panic!("{} is called for ever", q.queue);
}

/// Whoever may start nothing calls nobody, or two idle workers would call each other for ever.
pub async fn a_look_at_a_shut_queue_wakes_nobody(h: &impl Harness) {
    for what in [Control::Pause, Control::HoldUntil(at(60_000)), Control::Concurrency(Some(some(1)))] {
        let q = Given::queue(h, &format!("{what:?}").chars().filter(char::is_ascii_alphabetic).collect::<String>());
        q.waiting(&["a", "b"], T0).await;
        q.one(at(1)).await;
        order(&q, what, at(1)).await;
        quiet(&q).await;
        q.next(at(2)).await;
        let began = tokio::time::Instant::now();
        q.backend.wait(&q.queue, Duration::from_millis(300)).await.expect("wait");
        assert!(began.elapsed() >= Duration::from_millis(300), "{what:?}: called after {:?}", began.elapsed());
    }
}

/// Rates, holds and slots are one queue's.
pub async fn limits_of_one_queue_leave_another_alone(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    order(&q, Control::HoldUntil(at(60_000)), T0).await;
    order(&q, Control::Concurrency(Some(some(1))), T0).await;
    other.waiting(&["a", "b"], T0).await;
    assert_eq!(take(&other, None, at(1)).await.0, ["a", "b"]);
}

/// Settings and the state of the window.
pub async fn limits_are_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    q.waiting(&["a", "b"], T0).await;
    order(&q, Control::Rate(Some(rate(1))), T0).await;
    order(&q, Control::Concurrency(Some(some(7))), T0).await;
    assert_eq!(take(&q, None, at(0)).await.0, ["a"]);
    let before = q.backend.info(&q.queue, at(1)).await.expect("info").limits;
    let durable = h.backend().promises().durable;
    let Some(h) = h.reopen().await else {
        return assert_eq!(durable, Durable::Process);
    };
    let q = Given::on(&h);
    assert_eq!(q.backend.info(&q.queue, at(1)).await.expect("info").limits, before);
    assert_eq!(take(&q, None, at(1)).await, (vec![], Next::Limited(at(1_000))));
}

/// With the limit and until when; by the workers' own rates too, when all of them have one.
pub async fn a_limited_job_is_explained(h: &impl Harness) {
    let q = Given::on(h);
    let beat = async |rate: Option<Rate>| {
        let worker = WorkerInfo { rate, ..worker("w") };
        let beat = Beat { queue: q.queue.clone(), worker, locks: Vec::new(), lock_for: LOCK };
        q.backend.beat(beat, at(1)).await.expect("beat");
    };
    let why = async |now: Timestamp| {
        let explained = explain(&q.backend.facts(&q.queue, &id("c"), now).await.expect("facts"), now);
        let reason = explained.reasons.into_iter().next().expect("a reason");
        (reason.code, reason.until, serde_json::Value::Object(reason.details))
    };
    q.waiting(&["a", "b", "c"], T0).await;
    beat(Some(rate(1))).await;
    take(&q, Some(rate(1)), at(1)).await;
    let limited = (Why::RateLimited, Some(at(1_001)), json!({"max": 1, "duration": 1_000}));
    assert_eq!(why(at(2)).await, limited);
    // What has ended by a server's clock has ended, also for who looks at an earlier time.
    if h.backend().promises().shared != Shared::Network {
        assert_eq!(why(at(1_001)).await.0, Why::BehindOthers);
    }
    beat(None).await;
    assert_eq!(why(at(2)).await.0, Why::BehindOthers);
    order(&q, Control::Rate(Some(rate(1))), at(2)).await;
    assert_eq!(why(at(2)).await, limited);
    assert_eq!(why(at(1_001)).await.0, Why::BehindOthers);
    order(&q, Control::ClearRate, at(2)).await;
    order(&q, Control::Concurrency(Some(some(1))), at(2)).await;
    assert_eq!(why(at(2)).await, (Why::ConcurrencyLimit, None, json!({"active": 1, "concurrency": 1})));
    order(&q, Control::HoldUntil(at(70)), at(2)).await;
    assert_eq!(why(at(2)).await, (Why::RateLimited, Some(at(70)), json!({})));
}

/// The window that has begun is as long as the rate that is asked about says, and a clock that was set back opens it.
pub async fn a_window_is_as_long_as_the_rate_says_now(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    let day = Rate { max: some(1), per: Duration::from_secs(86_400) };
    order(&q, Control::Rate(Some(day)), T0).await;
    assert_eq!(take(&q, None, at(1)).await.1, Next::Limited(at(86_400_001)));
    order(&q, Control::Rate(Some(rate(1))), at(2)).await;
    assert_eq!(take(&q, None, at(2)).await, (vec![], Next::Limited(at(1_001))));
    assert_eq!(take(&q, None, at(1_001)).await.0, ["b"]);
    // Where clocks of many hosts meet, it is the server's that counts.
    if h.backend().promises().shared != Shared::Network {
        assert_eq!(take(&q, None, at(500)).await, (vec!["c".into()], Next::Limited(at(1_500))));
    }
}

/// It would be stored as nonsense; nothing is changed.
pub async fn a_rate_of_no_time_or_of_ages_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    for per in [Duration::ZERO, Duration::from_micros(999), MAX_RATE_TIME + Duration::from_millis(1), Duration::MAX] {
        let what = Control::Rate(Some(Rate { max: some(1), per }));
        let refused = q.backend.control(&q.queue, what, T0).await.expect_err("refused");
        assert!(matches!(refused, StoreError::OutOfBounds(_)), "{per:?}: {refused:?}");
    }
    let longest = Rate { max: some(u32::MAX), per: MAX_RATE_TIME };
    order(&q, Control::Rate(Some(longest)), T0).await;
    assert_eq!(q.backend.info(&q.queue, T0).await.expect("info").limits.rate, Some(longest));
}
