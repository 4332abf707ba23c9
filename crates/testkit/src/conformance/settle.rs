//! Ending runs: what each outcome does to its job. Refused and repeated verdicts, and retention, have rooms of their own.

use launchkit_queue::backend::*;
use launchkit_queue::{Failure, FailureKind, JobOptions, Outcome, Payload, State};

use crate::Harness;
use crate::given::*;

mod keep;
mod lost;
pub use keep::*;
pub use lost::*;

/// A good end.
pub async fn a_done_job_is_completed_with_its_result(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.settle(&lock, Outcome::Done(json(r#"{ "é": [1.0] }"#)), at(5)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.finished_on, found.since, found.made), (State::Completed, Some(at(5)), at(5), 1));
    assert_eq!((found.result.as_ref().map(Payload::as_str), found.failure), (Some(r#"{ "é": [1.0] }"#), None));
    let lock = q.hold("b", plain(), at(6)).await;
    q.settle(&lock, Outcome::Done(Payload::null()), at(7)).await;
    assert_eq!((q.get("b").await.state, q.get("b").await.result), (State::Completed, None));
}

/// A bad end.
pub async fn a_dead_job_is_failed_with_its_failure(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", priority(4), T0).await;
    q.settle(&lock, dead(), at(5)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.finished_on, found.since, found.made), (State::Failed, Some(at(5)), at(5), 1));
    assert_eq!((found.failure, found.result), (Some(boom()), None));
    assert_eq!(q.take_ids(9, at(99_999)).await, [] as [&str; 0]);
}

/// Kind and message survive, whatever is in them.
pub async fn every_kind_of_failure_is_read_back(h: &impl Harness) {
    let q = Given::on(h);
    let message = format!("\"\\\u{1}{}", "é🦀".repeat(1_365));
    for kind in FailureKind::ALL {
        let name = format!("{kind:?}");
        let lock = q.hold(&name, plain(), T0).await;
        let failure = Failure::new(kind, &message);
        assert!(failure.message.len() > 8_000);
        q.settle(&lock, Outcome::Dead(failure.clone()), at(1)).await;
        assert_eq!(q.get(&name).await.failure, Some(failure));
    }
}

/// The verdict says when; until then it is delayed.
pub async fn a_failed_attempt_with_tries_left_waits_for_its_backoff(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", JobOptions { attempts: 3, ..plain() }, T0).await;
    q.settle(&lock, retry(at(2_000)), at(10)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.due, found.since, found.made), (State::Delayed, Some(at(2_000)), at(10), 1));
    assert_eq!((found.failure, found.finished_on), (Some(boom()), None));
    assert_eq!(q.take(9, at(1_999)).await.len(), 0);
    let held = q.one(at(2_000)).await;
    assert_eq!((held.made, held.started), (1, 2));
}

/// A failing job must not block the rest.
pub async fn a_retry_without_delay_goes_to_the_back(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.waiting(&["b", "c"], T0).await;
    q.settle(&lock, retry(at(5)), at(5)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.made, found.since, found.due), (State::Waiting, 1, at(5), None));
    assert_eq!(q.take_ids(9, at(6)).await, ["b", "c", "a"]);
}

/// Who asked for the front gets it again.
pub async fn a_retry_without_delay_of_a_lifo_job_goes_to_the_front(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", lifo(), T0).await;
    q.add(vec![named("b", plain()), named("c", lifo())], T0).await;
    q.settle(&lock, retry(at(4)), at(5)).await;
    assert_eq!(q.take_ids(9, at(6)).await, ["a", "c", "b"]);
}

/// At once, later, and with LIFO, which then counts for nothing.
pub async fn a_retried_job_keeps_its_priority(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", priority(5), T0).await;
    let lifo_lock = q.hold("l", JobOptions { lifo: true, ..priority(5) }, T0).await;
    let late = q.hold("d", priority(5), T0).await;
    q.add(vec![named("p9", priority(9)), named("p5", priority(5)), named("p0", plain())], T0).await;
    q.settle(&late, retry(at(20)), at(1)).await;
    q.settle(&lock, retry(at(1)), at(1)).await;
    q.settle(&lifo_lock, retry(at(1)), at(1)).await;
    assert_eq!(q.take_ids(9, at(20)).await, ["p0", "p5", "a", "l", "d", "p9"]);
}

/// How often it hurt is worth knowing.
pub async fn an_earlier_failure_stays_readable_after_a_success(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.settle(&lock, retry(at(1)), at(1)).await;
    let lock = q.one(at(2)).await.lock;
    q.settle(&lock, done(), at(3)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.made), (State::Completed, 2));
    assert_eq!((found.result, found.failure), (Some(json("7")), Some(boom())));
}

/// A handler that asks for later has not failed.
pub async fn a_put_off_job_is_not_counted(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.waiting(&["b"], T0).await;
    q.settle(&lock, Outcome::Later(at(100)), at(1)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.due, found.made, found.failure), (State::Delayed, Some(at(100)), 0, None));
    assert_eq!((q.take_ids(1, at(99)).await, q.next(at(99)).await), (vec!["b".to_owned()], Next::At(at(100))));
    let held = q.one(at(100)).await;
    q.waiting(&["c"], at(100)).await;
    q.settle(&held.lock, Outcome::Later(at(101)), at(101)).await;
    assert_eq!((q.get("a").await.state, q.get("a").await.made), (State::Waiting, 0));
    assert_eq!(q.take_ids(9, at(102)).await, ["c", "a"]);
}

/// A stop must cost nobody his place.
pub async fn a_given_back_job_goes_to_the_front_uncounted(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.add(vec![named("b", plain()), named("c", lifo())], T0).await;
    q.settle(&lock, Outcome::Back, at(5)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.made, found.since, found.failure), (State::Waiting, 0, at(5), None));
    let held = q.one(at(6)).await;
    assert_eq!((held.lock.id.as_str(), held.made, held.started), ("a", 0, 2));
}

/// The front means the front of its class.
pub async fn a_given_back_job_keeps_its_priority(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", priority(5), T0).await;
    q.add(vec![named("p5", priority(5)), named("p4", priority(4)), named("p0", plain())], T0).await;
    q.settle(&lock, Outcome::Back, at(1)).await;
    assert_eq!(q.take_ids(9, at(2)).await, ["p0", "p4", "a", "p5"]);
}

/// One job through everything that can happen to a run.
pub async fn made_counts_ends_and_retries_and_nothing_else(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a"], T0).await;
    five_runs(&q).await;
    assert_eq!((q.get("a").await.state, q.get("a").await.made), (State::Completed, 2));
}

/// The same life, seen by the other counter.
pub async fn started_counts_every_take(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a"], T0).await;
    five_runs(&q).await;
    assert_eq!((q.get("a").await.started, q.get("a").await.stalls), (5, 1));
}

/// Retry, later, back, stall, done.
async fn five_runs(q: &Given) {
    for (n, outcome) in [retry(at(1)), Outcome::Later(at(2)), Outcome::Back].into_iter().enumerate() {
        let held = q.one(at(5)).await;
        assert_eq!((held.made, held.started as usize), (u32::from(n > 0), n + 1));
        q.settle(&held.lock, outcome, at(5)).await;
    }
    q.one(at(5)).await;
    q.rescue(9, at(5).plus(LOCK)).await;
    let last = q.one(at(5).plus(LOCK)).await;
    assert_eq!((last.made, last.started, last.stalls), (1, 5, 1));
    q.settle(&last.lock, done(), at(5).plus(LOCK)).await;
}

/// Both parts of one trip.
pub async fn one_turn_ends_jobs_and_takes_others(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d", "e"], T0).await;
    let held = q.take(2, T0).await;
    let ends = held.iter().map(|held| verdict(&held.lock, done())).collect();
    let turned = q.turn(ends, Some(q.wish(2)), at(1)).await;
    assert_eq!(turned.ends, [End::Applied, End::Applied]);
    assert_eq!((ids(&turned.held), turned.next), (vec!["c".to_owned(), "d".to_owned()], Next::More));
    let counts = q.counts().await;
    assert_eq!((counts.completed, counts.active, counts.waiting), (2, 2, 1));
}

/// However much a batch of results weighs: a worker has no other way to tell them.
pub async fn large_results_are_settled_in_one_turn(h: &impl Harness) {
    let q = Given::on(h);
    let ids: Vec<String> = (0..9).map(|n| format!("j{n}")).collect();
    q.waiting(&ids.iter().map(String::as_str).collect::<Vec<_>>(), T0).await;
    let large = json(&format!("\"{}\"", "x".repeat(launchkit_queue::MAX_PAYLOAD - 2)));
    let ends = q.take(9, T0).await.iter().map(|held| verdict(&held.lock, Outcome::Done(large.clone()))).collect();
    assert_eq!(q.turn(ends, None, at(1)).await.ends, [End::Applied; 9]);
    assert_eq!(q.get("j8").await.result, Some(large));
}
