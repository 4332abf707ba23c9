//! Rescue: jobs whose worker vanished.

use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Failure, FailureKind, JobOptions, Outcome, State, StoreError, Timestamp};

use crate::Harness;
use crate::given::*;

/// The moment at which a lock taken at `T0` ends.
const END: i64 = 30_000;

/// One look is enough.
pub async fn a_job_whose_lock_has_ended_is_ready_again_in_one_look(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    assert_eq!(q.rescue(9, at(END)).await, Rescued { jobs: vec![id("a")], more: false });
    assert_eq!((q.get("a").await.state, q.get("a").await.since), (State::Waiting, at(END)));
    assert_eq!(q.take_ids(9, at(END)).await, ["a"]);
}

/// Not a millisecond early.
pub async fn a_job_under_a_live_lock_is_not_rescued(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    assert_eq!(q.rescue(9, at(END - 1)).await, Rescued::default());
    q.beat(vec![lock.clone()], at(END - 1)).await;
    assert_eq!(q.rescue(9, at(2 * END - 2)).await, Rescued::default());
    q.settle(&lock, done(), at(2 * END - 2)).await;
    // Looking where nothing ever was finds nothing and makes no queue.
    assert_eq!(Given::queue(h, "other").rescue(9, at(END)).await, Rescued::default());
    assert_eq!(q.backend.queues().await.expect("queues"), std::slice::from_ref(&q.queue));
}

/// It keeps its rank, and overtakes nobody who is more urgent.
pub async fn a_stalled_job_keeps_its_priority_and_goes_to_the_front_of_its_class(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("s 0", plain()), named("s 5", priority(5))], T0).await;
    q.take(2, T0).await;
    let later = [named("p0", plain()), named("l", lifo()), named("p4", priority(4)), named("p5", priority(5))];
    q.add(later.into(), at(1)).await;
    q.rescue(9, at(END)).await;
    assert_eq!(q.get("s 5").await.state, State::Prioritized);
    assert_eq!(q.take_ids(9, at(END)).await, ["s 0", "l", "p0", "p4", "s 5", "p5"]);
}

/// One vanished worker turns nothing round.
pub async fn jobs_rescued_together_come_back_in_the_order_they_were_taken(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    assert_eq!(q.take_ids(3, T0).await, ["a", "b", "c"]);
    assert_eq!(q.rescue(9, at(END)).await.jobs, ["a", "b", "c"].map(id));
    assert_eq!(q.take_ids(9, at(END)).await, ["a", "b", "c", "d"]);
}

/// It says something of the worker, nothing of the job.
pub async fn a_stall_is_counted_and_is_no_attempt(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    q.rescue(9, at(END)).await;
    let found = q.get("a").await;
    assert_eq!((found.stalls, found.made, found.started, found.failure), (1, 0, 1, None));
    let held = q.one(at(END)).await;
    assert_eq!((held.stalls, held.made, held.started), (1, 0, 2));
}

/// Lets the holder of the only job vanish, and takes the job again.
async fn stall(q: &Given, max_stalled: u32, now: Timestamp) -> Held {
    assert_eq!(q.rescue(max_stalled, now).await.jobs.len(), 1);
    q.one(now).await
}

fn kind(held: &Held) -> Option<FailureKind> {
    held.failed_already.as_ref().map(|failure| failure.kind)
}

/// As often as allowed it runs; then its next taker is told to fail it.
pub async fn a_job_that_stalled_too_often_is_handed_out_as_failed(h: &impl Harness) {
    let (one, none) = (Given::queue(h, "one"), Given::queue(h, "none"));
    one.hold("a", plain(), T0).await;
    none.hold("a", plain(), T0).await;
    assert_eq!(kind(&stall(&one, 1, at(END)).await), None);
    assert_eq!(kind(&stall(&one, 1, at(2 * END)).await), Some(FailureKind::Stalled));
    assert_eq!(kind(&stall(&none, 0, at(END)).await), Some(FailureKind::Stalled));
}

/// Whoever listens to ends hears it like any other.
pub async fn a_doomed_job_ends_through_an_ordinary_settle(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", JobOptions { attempts: 3, ..plain() }, T0).await;
    let held = stall(&q, 0, at(END)).await;
    let failure = held.failed_already.clone().expect("stalled too often");
    assert_eq!(q.get("a").await.state, State::Active);
    let before = q.newest().await;
    q.settle(&held.lock, Outcome::Dead(failure), at(END + 1)).await;
    let found = q.get("a").await;
    assert_eq!((found.state, found.made, found.stalls), (State::Failed, 1, 1));
    assert_eq!(found.failure.map(|Failure { kind, .. }| kind), Some(FailureKind::Stalled));
    assert_eq!(q.told(before).await, ["failed:a", "drained"]);
}

/// The mark holds whatever its taker does, and ends with the job.
pub async fn a_doomed_job_stays_doomed_until_it_ends(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    let mut held = stall(&q, 0, at(END)).await;
    for outcome in [Outcome::Back, Outcome::Later(at(END)), Outcome::Later(at(END + 5)), retry(at(END + 5))] {
        q.settle(&held.lock, outcome, at(END)).await;
        held = q.one(at(END + 5)).await;
        assert_eq!(kind(&held), Some(FailureKind::Stalled));
    }
    // Not even a more generous rescuer takes the mark back.
    let held = stall(&q, 99, at(2 * END + 5)).await;
    assert_eq!(kind(&held), Some(FailureKind::Stalled));
    q.settle(&held.lock, dead(), at(2 * END + 6)).await;
    assert_eq!(q.edit(Edit::Retry(id("a"), Made::Keep), at(2 * END + 7)).await, Edited::Done);
    let again = q.one(at(2 * END + 8)).await;
    assert_eq!((kind(&again), again.stalls), (None, 2));
}

/// Step by step, each job once.
pub async fn a_rescue_is_bounded_and_says_that_there_is_more(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![job(plain()); 5], T0).await;
    q.take(5, T0).await;
    let mut rescued = Vec::new();
    for (count, more) in [(2, true), (2, true), (1, false)] {
        let step = Rescue { queue: q.queue.clone(), max_stalled: 9, most: 2 };
        let step = q.backend.rescue(step, at(END)).await.expect("rescue");
        assert_eq!((step.jobs.len(), step.more), (count, more));
        rescued.extend(step.jobs);
    }
    rescued.sort();
    assert_eq!(rescued, ["1", "2", "3", "4", "5"].map(id));
    assert_eq!((q.counts().await.waiting, q.get("3").await.stalls), (5, 1));
}

/// Refused, and nobody rescued.
pub async fn a_rescue_beyond_the_bound_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    let rescue = Rescue { queue: q.queue.clone(), max_stalled: 9, most: MAX_READ + 1 };
    let refused = q.backend.rescue(rescue, at(END)).await;
    assert!(matches!(refused, Err(StoreError::OutOfBounds(_))), "{refused:?}");
    assert_eq!((q.get("a").await.state, q.get("a").await.stalls), (State::Active, 0));
}

/// Coming back is too late.
pub async fn the_vanished_worker_cannot_settle_after_the_rescue(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    q.rescue(9, at(END)).await;
    let before = q.get("a").await;
    // Its clock may even say that its lock still holds.
    for now in [at(END - 1), at(END + 1)] {
        assert_eq!(q.end(&lock, done(), now).await, End::LockLost);
        assert_eq!(q.beat(vec![lock.clone()], now).await.lost, [id("a")]);
    }
    assert_eq!(q.get("a").await, before);
    assert_eq!(q.take_ids(9, at(END + 2)).await, ["a"]);
}

/// Pausing stops the giving out, nothing else.
pub async fn a_rescue_works_while_paused(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    q.backend.control(&q.queue, Control::Pause, at(1)).await.expect("pause");
    assert_eq!(q.rescue(9, at(END)).await.jobs, [id("a")]);
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(END)).await;
    assert_eq!((turned.held.len(), turned.next, q.counts().await.waiting), (0, Next::Paused, 1));
}

/// What comes back is work like any other.
pub async fn a_rescue_wakes_a_waiter(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", plain(), T0).await;
    // Nothing is left of the add's own call.
    q.backend.wait(&q.queue, Duration::ZERO).await.expect("wait");
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let (woken, rescued) = tokio::join!(wait, q.rescue(9, at(END)));
    woken.expect("woken by the rescue").expect("wait");
    assert_eq!((rescued.jobs, q.take_ids(1, at(END)).await), (vec![id("a")], vec!["a".to_owned()]));
}

/// By two takes under locks that end together: first taken, first back, though the later one stood further in front.
pub async fn jobs_of_several_takes_come_back_in_the_order_they_were_taken(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("first", plain(), T0).await;
    q.hold("second", JobOptions { lifo: true, ..plain() }, T0).await;
    let rescued = q.backend.rescue(Rescue { queue: q.queue.clone(), max_stalled: 1, most: 9 }, T0.plus(LOCK)).await;
    assert_eq!(rescued.expect("rescue").jobs, [id("first"), id("second")]);
    assert_eq!(q.list(State::Waiting).await, ["first", "second"]);
}
