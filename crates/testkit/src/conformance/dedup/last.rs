//! The last job that came while the owner ran, kept for its end.

use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, Event, JobOptions, Keep, State, Timestamp};

use super::{TTL, add, keep_last, lost_to, new, simple, since, told, with};
use crate::Harness;
use crate::given::*;

/// In the transaction of the owner's end, before that is told; as new as if it were added then.
pub async fn the_last_job_of_a_running_owner_is_added_at_its_end(h: &impl Harness) {
    let q = Given::on(h);
    for (n, outcome, keep) in [(0, done(), Keep::ALL), (1_000, dead(), Keep::NONE)] {
        let name = |text: &str| format!("{text} {n}");
        let lock = q.hold(&name("owner"), keep_last(), at(n)).await;
        let last = NewJob { data: json("[7]"), ..named(&name("last"), JobOptions { delay: TTL, ..keep_last() }) };
        let before = q.newest().await;
        assert_eq!(q.add(vec![last], at(n + 1)).await, [lost_to(&name("owner"))]);
        assert_eq!(since(&q, before).await, [told(&name("owner"), &name("last"))]);
        let before = q.newest().await;
        assert_eq!(q.end_keeping(&lock, outcome, keep, at(n + 10)).await, End::Applied);
        let all: Vec<&str> = since(&q, before).await.iter().map(Event::name).collect();
        let end: &[&str] = if n == 0 { &["completed"] } else { &["failed", "retries-exhausted"] };
        assert_eq!(all, [&["added", "delayed"], end, &["drained"]].concat());
        let next = q.get(&name("last")).await;
        assert_eq!((next.data, next.timestamp, next.due), (json("[7]"), at(n + 10), Some(at(n + 1_010))));
        // It owns the id now.
        assert_eq!(add(&q, "x", keep_last(), at(n + 11)).await, lost_to(&name("last")));
        assert_eq!(q.edit(Edit::Remove(next.id), at(n + 12)).await, Edited::Done);
    }
    // Six adds and two at an end have used up a number each.
    assert_eq!(q.add(vec![job(plain())], at(2_000)).await, [new("9")]);
}

/// Several that come while the owner runs: the last one is added, under the number that it was given.
pub async fn of_several_kept_jobs_the_last_one_wins(h: &impl Harness) {
    let q = Given::on(h);
    let big = json(&format!("\"{}\"", "y".repeat(5_000)));
    let given = |data: &str| NewJob { data: json(data), ..job(keep_last()) };
    assert_eq!(q.add(vec![given("1")], T0).await, [new("1")]);
    assert_eq!(q.add(vec![given("2")], T0).await, [lost_to("1")], "it waits: nothing is kept");
    let lock = q.one(at(1)).await.lock;
    assert_eq!(q.add(vec![given("3")], at(2)).await, [lost_to("1")]);
    assert_eq!(q.add(vec![NewJob { data: big.clone(), ..job(keep_last()) }], at(3)).await, [lost_to("1")]);
    assert_eq!(q.add(vec![job(simple())], at(4)).await, [lost_to("1")], "one that asks for less changes nothing");
    q.settle(&lock, done(), at(5)).await;
    let next = q.one(at(6)).await;
    assert_eq!((next.lock.id.as_str(), &next.data), ("4", &big));
    q.settle(&next.lock, done(), at(7)).await;
    assert_eq!(q.counts().await.total(), 2, "nothing runs after it");
    assert_eq!(q.add(vec![job(plain())], at(8)).await, [new("7")]);
}

/// Removed with its owner; told as `duplicated` when its id was taken meanwhile, and the deduplication id is free.
pub async fn a_kept_job_is_lost_only_with_its_owner_or_its_id(h: &impl Harness) {
    let q = Given::on(h);
    q.hold("a", keep_last(), T0).await;
    add(&q, "last", keep_last(), at(1)).await;
    assert_eq!(q.edit(Edit::Remove(id("a")), at(30_000)).await, Edited::Done);
    let lock = q.hold("a", keep_last(), at(30_001)).await;
    q.settle(&lock, done(), at(30_002)).await;
    assert_eq!(q.find("last").await, None);

    let lock = q.hold("c", keep_last(), at(40_000)).await;
    add(&q, "last", keep_last(), at(40_001)).await;
    add(&q, "last", plain(), at(40_002)).await;
    let before = q.newest().await;
    q.settle(&lock, done(), at(40_003)).await;
    assert_eq!(since(&q, before).await.first(), Some(&Event::Duplicated { id: id("last") }));
    assert_eq!(q.get("last").await.options.deduplication, None);
    assert_eq!(add(&q, "e", simple(), at(40_004)).await, new("e"));
}

/// However long it runs: nothing else with the id runs before what it kept.
pub async fn an_owner_that_keeps_a_job_owns_the_id_until_its_end(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", with(Dedup::throttle("d", TTL)), T0).await;
    add(&q, "last", keep_last(), at(1)).await;
    assert_eq!(add(&q, "b", simple(), at(1_000)).await, lost_to("a"));
    q.settle(&lock, done(), at(20_000)).await;
    assert_eq!(add(&q, "b", simple(), at(20_000)).await, lost_to("last"));
}

/// Two owners of one id, one after the other by hand, each with a job that is kept for its end.
pub async fn each_owner_keeps_a_last_job_of_its_own(h: &impl Harness) {
    let q = Given::on(h);
    let put = async |text: &str, now: Timestamp| {
        let options = JobOptions { deduplication: Some(Dedup::keep_last("d")), ..plain() };
        q.add(vec![named(text, options)], now).await;
    };
    put("a", at(0)).await;
    let a = q.one(at(1)).await;
    put("after-a", at(2)).await;
    assert_eq!(q.edit(Edit::FreeDedup("d".into()), at(3)).await, Edited::Done);
    put("b", at(4)).await;
    let b = q.one(at(5)).await;
    put("after-b", at(6)).await;
    q.end(&a.lock, done(), at(7)).await;
    // BullMQ has one place for each id: the later one has taken it.
    let first: &[&str] = if h.backend().promises().shared == Shared::Network { &[] } else { &["after-a"] };
    assert_eq!(q.list(State::Waiting).await, first);
    // The id is still b's.
    put("late", at(8)).await;
    assert!(q.find("late").await.is_none());
    q.end(&b.lock, done(), at(9)).await;
    assert_eq!(q.list(State::Waiting).await, [first, &["late"]].concat());
}
