//! How an owner gives up its id, and how not.

use launchkit_queue::backend::*;
use launchkit_queue::{Clock, Dedup, JobOptions, Keep, Outcome, Queue, State, Store, Timestamp};

use super::{TTL, add, keep_last, lost_to, new, simple, since, with};
use crate::Harness;
use crate::given::*;

/// Completed, failed for good, and both with nothing kept.
pub async fn an_owner_gives_up_its_id_when_it_has_ended(h: &impl Harness) {
    let q = Given::on(h);
    let ways = [(done(), Keep::ALL), (dead(), Keep::ALL), (done(), Keep::NONE), (dead(), Keep::NONE)];
    for (n, (outcome, keep)) in ways.into_iter().enumerate() {
        let (owner, next) = (format!("owner {n}"), format!("next {n}"));
        let lock = q.hold(&owner, simple(), T0).await;
        assert_eq!(add(&q, &next, simple(), at(1)).await, lost_to(&owner));
        assert_eq!(q.end_keeping(&lock, outcome, keep, at(2)).await, End::Applied);
        assert_eq!(add(&q, &next, simple(), at(3)).await, new(&next));
        assert_eq!(q.edit(Edit::Remove(id(&next)), at(4)).await, Edited::Done);
    }
}

/// Retried, put off, given back, rescued, or judged without the lock: it is still to come.
pub async fn an_owner_that_will_run_again_keeps_its_id(h: &impl Harness) {
    let q = Given::on(h);
    let mut lock = q.hold("a", JobOptions { attempts: 9, ..keep_last() }, T0).await;
    assert_eq!(add(&q, "last", keep_last(), at(1)).await, lost_to("a"));
    for (n, outcome) in [(2, retry(at(2))), (3, retry(at(4))), (5, Outcome::Later(at(5))), (6, Outcome::Back)] {
        q.settle(&lock, outcome, at(n)).await;
        assert_eq!((add(&q, "b", simple(), at(n)).await, q.find("last").await), (lost_to("a"), None));
        lock = q.one(at(n + 1)).await.lock;
    }
    q.rescue(1, at(40_000)).await;
    assert_eq!(q.end(&lock, done(), at(40_001)).await, End::LockLost);
    assert_eq!((add(&q, "b", simple(), at(40_002)).await, q.find("last").await), (lost_to("a"), None));
    let lock = q.one(at(40_003)).await.lock;
    q.settle(&lock, done(), at(40_004)).await;
    assert_eq!(q.end(&lock, done(), at(40_005)).await, End::AlreadyApplied);
    assert_eq!(q.take_ids(9, at(40_006)).await, ["last"]);
}

/// By hand, by a clean, by a drain, with or without a time; a job that owns nothing frees nothing.
pub async fn an_owner_gives_up_its_id_when_it_is_removed(h: &impl Harness) {
    let q = Given::on(h);
    let throttle = || with(Dedup::throttle("d", 100 * TTL));
    let next = async |owner: &str, options: JobOptions, now| {
        assert_eq!(add(&q, "next", options.clone(), now).await, lost_to(owner));
    };
    let freed = async |now: Timestamp| {
        assert_eq!(add(&q, "next", simple(), now).await, new("next"));
        assert_eq!(q.edit(Edit::Remove(id("next")), now).await, Edited::Done);
    };
    for options in [simple(), throttle()] {
        add(&q, "removed", options.clone(), T0).await;
        next("removed", options.clone(), at(1)).await;
        assert_eq!(q.edit(Edit::Remove(id("removed")), at(2)).await, Edited::Done);
        freed(at(3)).await;
        add(&q, "drained", options.clone(), T0).await;
        q.sweep(SweepWhat::DrainWaiting, 9, at(4)).await;
        freed(at(5)).await;
        add(&q, "later", JobOptions { delay: TTL, ..options.clone() }, T0).await;
        next("later", options, at(6)).await;
        q.sweep(SweepWhat::DrainDelayed, 9, at(7)).await;
        freed(at(8)).await;
    }
    q.finish("cleaned", throttle(), done(), at(9)).await;
    next("cleaned", throttle(), at(10)).await;
    q.sweep(SweepWhat::Clean(State::Completed, at(9)), 9, at(11)).await;
    freed(at(12)).await;

    q.finish("old", simple(), done(), at(13)).await;
    add(&q, "owner", simple(), at(14)).await;
    assert_eq!(q.edit(Edit::Remove(id("old")), at(15)).await, Edited::Done);
    next("owner", simple(), at(16)).await;
}

/// Once given up the id is not taken back, not by a retry by hand either.
pub async fn the_end_of_a_job_that_owns_nothing_frees_nothing(h: &impl Harness) {
    let q = Given::on(h);
    for keep in [Keep::ALL, Keep::NONE] {
        q.finish("old", simple(), done(), T0).await;
        let owner = q.hold("owner", simple(), at(1)).await;
        assert_eq!(q.edit(Edit::Retry(id("old"), Made::Keep), at(2)).await, Edited::Done);
        let old = q.one(at(3)).await.lock;
        assert_eq!(q.end_keeping(&old, done(), keep, at(4)).await, End::Applied);
        assert_eq!(add(&q, "next", simple(), at(5)).await, lost_to("owner"));
        q.settle(&owner, done(), at(6)).await;
        for text in ["old", "owner"] {
            q.edit(Edit::Remove(id(text)), at(7)).await;
        }
    }
}

/// A throttle outlives the evicted job that began it.
pub async fn eviction_leaves_the_id_owned(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("a", with(Dedup::throttle("d", TTL)), done(), T0).await;
    let lock = q.hold("another", plain(), at(1)).await;
    assert_eq!(q.end_keeping(&lock, done(), Keep::newest(1), at(2)).await, End::Applied);
    assert_eq!(q.find("a").await, None);
    assert_eq!(add(&q, "b", simple(), at(999)).await, lost_to("a"));
    assert_eq!(add(&q, "b", simple(), at(1_000)).await, new("b"));
}

/// An id that is owned without a limit by a job that is gone goes to the next one, and nothing tells it.
pub async fn the_id_of_a_vanished_owner_goes_to_the_next_job(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("a", with(Dedup::throttle("d", TTL)), done(), T0).await;
    // Takes the limit away from an owner that has ended.
    let endless = with(Dedup { extend: true, ttl: Some(TTL), ..Dedup::keep_last("d") });
    assert_eq!(add(&q, "b", endless, at(1)).await, lost_to("a"));
    assert_eq!(add(&q, "b", simple(), at(5_000)).await, lost_to("a"));
    let lock = q.hold("another", plain(), at(5_001)).await;
    assert_eq!(q.end_keeping(&lock, done(), Keep::newest(1), at(5_002)).await, End::Applied);
    assert_eq!(q.find("a").await, None);
    let before = q.newest().await;
    assert_eq!(add(&q, "b", simple(), at(5_003)).await, new("b"));
    assert!(!since(&q, before).await.iter().any(|event| event.name() == "deduplicated"));
    assert_eq!(add(&q, "c", simple(), at(5_004)).await, lost_to("b"));
}

/// Through [`Queue`]: true when somebody owned it. What was kept for the owner's end still runs then.
pub async fn an_id_can_be_freed_by_hand(h: &impl Harness) {
    let q = Given::on(h);
    let queue = Queue::new(&Store::over(h.backend(), Clock::runtime(at(2_000))), "cases").expect("a name");
    let freed = async || queue.remove_deduplication("d").await.expect("an answer");
    assert!(!freed().await);
    add(&q, "old", with(Dedup::throttle("d", TTL)), T0).await;
    assert!(!freed().await, "its time is over");
    let old = q.one(at(2_000)).await.lock;
    q.settle(&old, done(), at(2_000)).await;

    let lock = q.hold("a", keep_last(), at(2_000)).await;
    add(&q, "last", keep_last(), at(2_001)).await;
    assert!(freed().await);
    assert!(!freed().await);
    assert_eq!(add(&q, "b", simple(), at(2_002)).await, new("b"));
    assert_eq!(add(&q, "c", simple(), at(2_003)).await, lost_to("b"));
    let b = q.one(at(2_004)).await.lock;
    q.settle(&b, done(), at(2_004)).await;
    assert_eq!(q.find("last").await, None, "it is to follow its own owner");
    q.settle(&lock, done(), at(2_005)).await;
    assert_eq!(q.list(State::Waiting).await, ["last"]);
    assert_eq!(add(&q, "c", simple(), at(2_006)).await, lost_to("last"));
}

/// Owners, their times and what is kept for their end survive a restart.
pub async fn deduplication_survives_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    let lock = q.hold("a", keep_last(), T0).await;
    add(&q, "last", keep_last(), at(1)).await;
    q.add(vec![named("t", with(Dedup::throttle("t", TTL)))], at(2)).await;
    let Some(h) = h.reopen().await else { return };
    let q = Given::on(&h);
    assert_eq!(add(&q, "b", simple(), at(3)).await, lost_to("a"));
    assert_eq!(add(&q, "u", with(Dedup::throttle("t", TTL)), at(1_001)).await, lost_to("t"));
    q.settle(&lock, done(), at(4)).await;
    assert_eq!(q.list(State::Waiting).await, ["t", "last"]);
}

/// A throttle outlives its owner; a job that comes to that owner's id without the deduplication is none of its business.
pub async fn another_job_under_an_owners_id_is_no_owner(h: &impl Harness) {
    let q = Given::on(h);
    let with = |dedup, options| JobOptions { deduplication: Some(dedup), ..options };
    q.add(vec![named("report", with(Dedup::throttle("d", TTL * 1_000), plain()))], at(0)).await;
    let held = q.one(at(1)).await;
    q.turn(vec![Verdict { keep: Keep::NONE, ..verdict(&held.lock, done()) }], None, at(2)).await;
    q.add(vec![named("report", delay(50_000))], at(3)).await;
    let due = q.get("report").await.due;
    for dedup in [Dedup::debounce("d", TTL * 1_000), Dedup { reschedule: true, ..Dedup::simple("d") }] {
        q.add(vec![named("new", with(dedup, delay(9)))], at(4)).await;
        assert!(q.find("new").await.is_none(), "the time of the owner that is gone is not over");
        assert_eq!(q.get("report").await.due, due);
    }
}
