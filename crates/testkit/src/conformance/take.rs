//! Taking: the order, delays, what a taker gets, lost answers, waking. Bounds and doomed jobs at the end.

use std::collections::HashSet;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{FailureKind, Happened, JobOptions, Outcome, Position, State, StoreError, Timestamp};

use crate::Harness;
use crate::given::*;

mod delayed;
mod lost;
pub use delayed::*;
pub use lost::*;

/// First in, first out.
pub async fn jobs_without_priority_run_in_the_order_of_their_adding(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["c", "a"], T0).await;
    q.waiting(&["b"], at(1)).await;
    assert_eq!(q.take_ids(2, at(2)).await, ["c", "a"]);
    // Not even an earlier clock of the next producer changes it.
    q.waiting(&["d"], T0).await;
    assert_eq!(q.take_ids(9, at(3)).await, ["b", "d"]);
}

/// A stack in front of the line.
pub async fn lifo_jobs_run_newest_first_and_before_the_rest(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    q.add(vec![named("c", lifo()), named("d", lifo())], T0).await;
    assert_eq!(q.take_ids(9, at(1)).await, ["d", "c", "a", "b"]);
}

/// Even the most urgent priority comes after none at all.
pub async fn a_job_with_priority_waits_behind_one_without(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("urgent", priority(1)), named("plain", plain())], T0).await;
    assert_eq!(q.take_ids(9, at(1)).await, ["plain", "urgent"]);
}

/// Lower numbers first, the older one of equals first.
pub async fn a_lower_number_runs_first_and_equals_by_age(h: &impl Harness) {
    let q = Given::on(h);
    for (id, number) in [("5 old", 5), ("1 old", 1), ("5 new", 5), ("last", 2_097_151), ("1 new", 1)] {
        q.add(vec![named(id, priority(number))], T0).await;
    }
    assert_eq!(q.take_ids(3, at(1)).await, ["1 old", "1 new", "5 old"]);
    assert_eq!(q.take_ids(9, at(1)).await, ["5 new", "last"]);
}

/// A priority has the last word.
pub async fn lifo_has_no_effect_on_a_prioritized_job(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", priority(2)), named("b", JobOptions { lifo: true, ..priority(2) })], T0).await;
    assert_eq!(q.take_ids(9, at(1)).await, ["a", "b"]);
}

/// As many as asked, or fewer.
pub async fn a_take_never_exceeds_what_was_asked(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![job(plain()); 10], T0).await;
    assert_eq!(q.take_ids(3, at(1)).await, ["1", "2", "3"]);
    let none = q.turn(Vec::new(), Some(q.wish(0)), at(1)).await;
    assert_eq!((none.held.len(), none.next), (0, Next::More));
    assert_eq!((q.take(99, at(1)).await.len(), q.counts().await.active), (7, 10));
}

/// What a worker needs to know before it sleeps.
pub async fn next_tells_more_then_the_nearest_due_time_then_empty(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(q.next(T0).await, Next::Empty);
    q.add(vec![job(delay(900)), job(delay(400)), job(plain()), job(plain())], T0).await;
    let turn = async |now| q.turn(Vec::new(), Some(q.wish(1)), now).await.next;
    assert_eq!(turn(T0).await, Next::More);
    assert_eq!(turn(T0).await, Next::At(at(400)));
    assert_eq!(turn(at(400)).await, Next::At(at(900)));
    assert_eq!(turn(at(900)).await, Next::Empty);
}

/// The record says who runs it since when.
pub async fn a_take_marks_the_job_with_worker_start_and_count(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", priority(4), at(3)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.processed_by.as_deref()), (State::Active, Some("worker-1")));
    assert_eq!((found.processed_on, found.since, found.timestamp), (Some(at(3)), at(3), at(3)));
    assert_eq!((found.made, found.started), (0, 1));
    q.hold("b", plain(), at(7)).await;
    let other = Turn { queue: q.queue.clone(), worker: "worker-2".into(), ends: vec![], take: Some(q.wish(1)) };
    q.waiting(&["c"], at(8)).await;
    q.backend.turn(other, at(9)).await.expect("turn");
    assert_eq!((q.get("c").await.processed_by.as_deref(), q.get("c").await.since), (Some("worker-2"), at(9)));
    assert_eq!(q.get("b").await.processed_by.as_deref(), Some("worker-1"));
}

/// What the taker gets is what the record says, at every run.
pub async fn a_held_job_carries_what_its_handler_needs(h: &impl Harness) {
    let q = Given::on(h);
    let options = JobOptions { attempts: 5, timeout: Some(Duration::from_secs(9)), ..priority(3) };
    let text = format!("{{\"long\" : \"{}\"}}", "é".repeat(3_000));
    q.add(vec![NewJob { data: json(&text), name: "kind".into(), ..named("a", options.clone()) }], T0).await;
    let first = q.one(at(1)).await;
    q.settle(&first.lock, retry(at(2)), at(2)).await;
    let second = q.one(at(3)).await;
    q.rescue(9, at(3).plus(LOCK)).await;
    let third = q.one(at(40_000)).await;
    for (held, counts) in [(&first, (0, 1, 0)), (&second, (1, 2, 0)), (&third, (1, 3, 1))] {
        assert_eq!((&*held.name, held.data.as_str(), &*held.options), ("kind", text.as_str(), &options));
        assert_eq!((held.made, held.started, held.stalls), counts);
        assert_eq!((held.lock.id.as_str(), held.timestamp, &held.failed_already), ("a", T0, &None));
    }
    let found = q.get("a").await;
    assert_eq!((found.made, found.started, found.stalls), (1, 3, 1));
}

/// Eight tasks, one queue: each job has one holder.
pub async fn two_takers_never_hold_the_same_job(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![job(plain()); 500], T0).await;
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let q = q.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let more = q.take_ids(7, at(1)).await;
                    if more.is_empty() {
                        return mine;
                    }
                    mine.extend(more);
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.expect("a taker ends"));
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (500, 500));
}

/// Waiting does not mean waiting for the time to be over.
pub async fn an_add_wakes_a_waiter(h: &impl Harness) {
    let q = Given::on(h);
    let (woken, _) =
        tokio::join!(tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG)), q.add(vec![job(plain())], T0));
    woken.expect("woken by the add").expect("wait");
    assert_eq!(q.take_ids(1, at(1)).await, ["1"]);
    // Waiting alone makes no queue.
    let other = Given::queue(h, "other");
    other.backend.wait(&other.queue, Duration::ZERO).await.expect("wait");
    other.backend.wait_events(&other.queue, Position::START, Duration::ZERO).await.expect("wait");
    assert_eq!(q.backend.queues().await.expect("queues"), std::slice::from_ref(&q.queue));
}

/// One is woken, and wakes the next when there is more than he takes.
pub async fn a_take_that_leaves_jobs_wakes_the_next_waiter(h: &impl Harness) {
    let q = Given::on(h);
    let waiter = async || {
        tokio::time::timeout(SOON, async {
            loop {
                q.backend.wait(&q.queue, LONG).await.expect("wait");
                if let Some(held) = q.take(1, at(1)).await.pop() {
                    return held.lock.id.to_string();
                }
            }
        })
        .await
        .expect("woken while a job is left")
    };
    let (a, b, _) = tokio::join!(waiter(), waiter(), q.add(vec![job(plain()), job(plain())], T0));
    assert_eq!(HashSet::from([a, b]), HashSet::from(["1".to_owned(), "2".to_owned()]));
}

fn until(at: Timestamp) -> JobOptions {
    JobOptions { start_before: Some(at), attempts: 3, ..plain() }
}

/// Too late is handed out to be failed, in time to the millisecond is not.
pub async fn a_job_past_its_start_before_is_handed_out_as_expired(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", until(at(100))), named("b", until(at(100)))], T0).await;
    assert_eq!(q.one(at(100)).await.failed_already, None);
    let late = q.one(at(101)).await;
    let failure = late.failed_already.clone().expect("too late");
    assert_eq!((late.lock.id.as_str(), failure.kind), ("b", FailureKind::Expired));
    assert_eq!(q.get("b").await.state, State::Active);
    q.settle(&late.lock, Outcome::Dead(failure), at(102)).await;
    let found = q.get("b").await;
    assert_eq!((found.state, found.failure.map(|failure| failure.kind)), (State::Failed, Some(FailureKind::Expired)));
}

/// Once somebody has begun it, the time to begin is over for good.
pub async fn a_job_once_started_does_not_expire(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", until(at(100)))], T0).await;
    let take = q.wish(1);
    let held = q.turn(Vec::new(), Some(take.clone()), at(90)).await.held;
    assert_eq!(held[0].failed_already, None);
    let again = q.resume(&take, at(200)).await;
    assert_eq!((ids(&again), &again[0].failed_already), (vec!["a".to_owned()], &None));
    q.settle(&again[0].lock, retry(at(300)), at(201)).await;
    assert_eq!(q.one(at(300)).await.failed_already, None);
    q.rescue(9, at(300).plus(LOCK)).await;
    assert_eq!(q.one(at(300).plus(LOCK)).await.failed_already, None);
}

/// Refused before anything: the holder can end its job afterwards, and the caller has the input back.
pub async fn a_turn_beyond_the_bound_is_refused_and_changes_nothing(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.waiting(&["b"], T0).await;
    let newest = q.newest().await;
    let ends = |count| vec![verdict(&lock, done()); count];
    for (ends, take) in [(ends(MAX_TURN + 1), None), (ends(1), Some(q.wish(MAX_TURN + 1)))] {
        let (verdicts, most) = (ends.len(), take.as_ref().map(|take| take.most));
        let turn = Turn { queue: q.queue.clone(), worker: "worker-1".into(), ends, take };
        let failed = q.backend.turn(turn, at(1)).await.expect_err("refused");
        assert!(matches!(failed.why, StoreError::OutOfBounds(_)), "{}", failed.why);
        assert_eq!((failed.happened, failed.input.ends.len()), (Happened::No, verdicts));
        assert_eq!(failed.input.take.map(|take| take.most), most);
        assert_eq!((q.counts().await.active, q.newest().await), (1, newest));
    }
    q.settle(&lock, done(), at(2)).await;
}

/// Nobody waits at the moment of the add, nor has ever waited: the call is kept for who comes next.
pub async fn an_add_before_anybody_waits_calls_the_first_who_does(h: &impl Harness) {
    let q = Given::on(h);
    // A store that has been at work for a while has no first call left to give by chance.
    for _ in 0..50 {
        q.add(vec![job(plain())], T0).await;
        q.one(T0).await;
    }
    q.add(vec![job(plain())], T0).await;
    let called = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG)).await;
    called.expect("called at once").expect("wait");
}
