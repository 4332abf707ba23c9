//! Deduplication: who keeps whom away, for how long, and what is told.

use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{
    AddError, BadOptions, Clock, Dedup, Event, JobOptions, Keep, Outcome, Planned, Position, Queue, State, Store,
    Timestamp,
};

use crate::Harness;
use crate::given::*;

mod ends;
mod last;
pub use ends::*;
pub use last::*;

/// An owner's id for a second.
const TTL: Duration = Duration::from_secs(1);

fn with(dedup: Dedup) -> JobOptions {
    JobOptions { deduplication: Some(dedup), ..plain() }
}

fn simple() -> JobOptions {
    with(Dedup::simple("d"))
}

/// A debounced job, due after `TTL`.
fn debounce() -> JobOptions {
    JobOptions { delay: TTL, ..with(Dedup::debounce("d", TTL)) }
}

fn keep_last() -> JobOptions {
    with(Dedup::keep_last("d"))
}

async fn add(q: &Given, text: &str, options: JobOptions, now: Timestamp) -> Added {
    q.add(vec![named(text, options)], now).await.pop().expect("an answer")
}

fn new(text: &str) -> Added {
    Added::New(id(text))
}

fn lost_to(text: &str) -> Added {
    Added::Deduplicated(id(text))
}

fn told(survivor: &str, lost: &str) -> Event {
    Event::Deduplicated { id: id(survivor), dedup: "d".into(), lost: id(lost) }
}

/// The events after a position.
async fn since(q: &Given, before: Position) -> Vec<Event> {
    q.events_after(before).await.into_iter().map(|(_, event)| event).collect()
}

/// Others are dropped in every state of the owner's life; a number is used up by each.
pub async fn a_simple_owner_keeps_others_away_until_its_end(h: &impl Harness) {
    let q = Given::on(h);
    let owner = q.hold("a", simple(), T0).await;
    let before = q.newest().await;
    assert_eq!(q.add(vec![job(simple())], at(1)).await, [lost_to("a")]);
    assert_eq!(since(&q, before).await, [told("a", "2")]);
    q.settle(&owner, Outcome::Back, at(2)).await;
    assert_eq!(add(&q, "b", simple(), at(3)).await, lost_to("a"));
    assert_eq!(add(&q, "other", with(Dedup::simple("e")), at(3)).await, new("other"));
    let owner = q.one(at(4)).await.lock;
    q.settle(&owner, done(), at(5)).await;
    assert_eq!(q.add(vec![job(simple())], at(6)).await, [new("5")]);
    assert_eq!((q.counts().await.total(), q.find("b").await), (3, None));
}

/// An id of its own that exists already decides before the deduplication id does.
pub async fn a_duplicate_id_is_existing_before_it_is_deduplicated(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(add(&q, "a", simple(), T0).await, new("a"));
    let before = q.newest().await;
    assert_eq!(add(&q, "a", simple(), at(1)).await, Added::Existing(id("a")));
    assert_eq!(add(&q, "a", debounce(), at(1)).await, Added::Existing(id("a")));
    assert_eq!(since(&q, before).await, [Event::Duplicated { id: id("a") }, Event::Duplicated { id: id("a") }]);
}

/// Whether or not the owner has ended, or is even there; and not a millisecond longer.
pub async fn a_throttle_lasts_its_time_whatever_became_of_the_owner(h: &impl Harness) {
    let q = Given::on(h);
    let throttle = || with(Dedup::throttle("d", TTL));
    let owner = q.hold("a", throttle(), T0).await;
    assert_eq!(q.end_keeping(&owner, done(), Keep::NONE, at(10)).await, End::Applied);
    assert_eq!(add(&q, "b", throttle(), at(500)).await, lost_to("a"));
    assert_eq!(add(&q, "b", throttle(), at(999)).await, lost_to("a"));
    assert_eq!(add(&q, "b", throttle(), at(1_000)).await, new("b"));
    // While its owner still waits.
    assert_eq!(add(&q, "c", throttle(), at(1_999)).await, lost_to("b"));
    assert_eq!(add(&q, "c", throttle(), at(2_000)).await, new("c"));
    // Whose end does not free what another owns by now.
    let b = q.one(at(2_001)).await.lock;
    q.settle(&b, done(), at(2_002)).await;
    assert_eq!(add(&q, "e", throttle(), at(2_003)).await, lost_to("c"));
}

/// The time starts again with each job that is dropped.
pub async fn an_extending_job_starts_the_time_again(h: &impl Harness) {
    let q = Given::on(h);
    let extend = || with(Dedup { extend: true, ..Dedup::throttle("d", TTL) });
    add(&q, "a", extend(), T0).await;
    for n in [900, 1_800, 2_700] {
        assert_eq!(add(&q, "b", extend(), at(n)).await, lost_to("a"));
    }
    assert_eq!(add(&q, "c", with(Dedup::throttle("d", TTL)), at(3_699)).await, lost_to("a"));
    assert_eq!(add(&q, "c", extend(), at(3_700)).await, new("c"));
}

/// The last of many runs; `removed`, then `deduplicated` in the new one's favour.
pub async fn a_debounced_job_takes_the_place_of_a_delayed_owner(h: &impl Harness) {
    let q = Given::on(h);
    add(&q, "a", debounce(), T0).await;
    let before = q.newest().await;
    assert_eq!(add(&q, "b", debounce(), at(900)).await, new("b"));
    let all = since(&q, before).await;
    let removed = Event::Removed { id: id("a"), prev: State::Delayed };
    let added = Event::Added { id: id("b"), name: "text".into() };
    assert_eq!(all, [removed, told("b", "a"), added, Event::Delayed { id: id("b"), due: at(1_900) }]);
    assert_eq!((q.find("a").await, q.list(State::Delayed).await), (None, vec!["b".to_owned()]));
    assert_eq!(add(&q, "c", debounce(), at(1_800)).await, new("c"));
    assert_eq!(q.take_ids(9, at(2_799)).await, Vec::<String>::new());
    assert_eq!(q.take_ids(9, at(2_800)).await, ["c"]);
}

/// Without `extend` the new owner has the rest of the old one's time.
pub async fn a_replacing_job_inherits_the_rest_of_the_time(h: &impl Harness) {
    let q = Given::on(h);
    let replace = || JobOptions { delay: 5 * TTL, ..with(Dedup { replace: true, ..Dedup::throttle("d", TTL) }) };
    assert_eq!(add(&q, "a", replace(), T0).await, new("a"));
    assert_eq!(add(&q, "b", replace(), at(900)).await, new("b"));
    assert_eq!(q.find("a").await, None);
    assert_eq!(add(&q, "c", simple(), at(999)).await, lost_to("b"));
    assert_eq!(add(&q, "c", replace(), at(1_000)).await, new("c"));
    assert_eq!(q.list(State::Delayed).await, ["b", "c"]);
}

/// Once the owner is ready or runs, the new one is dropped, and no event tells it.
pub async fn a_replacing_job_is_dropped_in_silence_when_the_owner_is_not_delayed(h: &impl Harness) {
    let q = Given::on(h);
    add(&q, "a", simple(), T0).await;
    for taken in [false, true] {
        if taken {
            q.one(at(1)).await;
        }
        let before = q.newest().await;
        assert_eq!(add(&q, "b", debounce(), at(2)).await, lost_to("a"));
        assert_eq!(since(&q, before).await, []);
    }
    assert_eq!(q.counts().await.total(), 1);
}

/// A delayed owner gets the new delay, and keeps everything else; one that is ready stays where it is.
pub async fn a_rescheduling_job_gives_its_delay_to_a_delayed_owner(h: &impl Harness) {
    let q = Given::on(h);
    let moving = |millis| JobOptions { delay: Duration::from_millis(millis), ..with(moving_dedup()) };
    add(&q, "a", moving(100), T0).await;
    q.add(vec![named("equal", delay(250))], T0).await;
    let before = q.newest().await;
    assert_eq!(add(&q, "b", JobOptions { priority: 5, ..moving(200) }, at(50)).await, lost_to("a"));
    assert_eq!(since(&q, before).await, [told("a", "b"), Event::Delayed { id: id("a"), due: at(250) }]);
    let owner = q.get("a").await;
    assert_eq!((owner.state, owner.due, owner.options.priority), (State::Delayed, Some(at(250)), 0));
    assert_eq!(q.list(State::Delayed).await, ["equal", "a"]);
    // Without a delay it is due at once, by the next take.
    assert_eq!(add(&q, "b", moving(0), at(60)).await, lost_to("a"));
    assert_eq!((q.get("a").await.state, q.get("a").await.due), (State::Delayed, Some(at(60))));
    assert_eq!(q.next(at(60)).await, Next::More);
    let before = q.newest().await;
    assert_eq!(add(&q, "b", moving(700), at(70)).await, lost_to("a"));
    assert_eq!(since(&q, before).await, [told("a", "b")]);
    assert_eq!(q.take_ids(9, at(70)).await, ["a"]);
}

fn moving_dedup() -> Dedup {
    Dedup { reschedule: true, ..Dedup::simple("d") }
}

/// Each job of one add sees what became of those before it.
pub async fn jobs_of_one_add_deduplicate_each_other(h: &impl Harness) {
    let q = Given::on(h);
    let jobs = vec![named("a", simple()), named("b", simple()), job(plain()), named("c", with(Dedup::simple("e")))];
    assert_eq!(q.add(jobs, T0).await, [new("a"), lost_to("a"), new("3"), new("c")]);
    let other = || JobOptions { delay: TTL, ..with(Dedup::debounce("f", TTL)) };
    let jobs = ["x", "y", "z"].map(|text| named(text, other())).to_vec();
    assert_eq!(q.add(jobs, at(1)).await, [new("x"), new("y"), new("z")]);
    assert_eq!(q.list(State::Delayed).await, ["z"]);
}

/// The same id in two queues is two.
pub async fn deduplication_ids_of_two_queues_are_independent(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    assert_eq!(add(&q, "a", simple(), T0).await, new("a"));
    assert_eq!(add(&other, "b", simple(), T0).await, new("b"));
    let lock = other.one(at(1)).await.lock;
    other.settle(&lock, done(), at(2)).await;
    assert_eq!(add(&other, "c", simple(), at(3)).await, new("c"));
    assert_eq!(add(&q, "c", simple(), at(3)).await, lost_to("a"));
}

/// Through [`Queue`]: nothing of the batch is added.
pub async fn unfit_deduplication_is_refused_and_nothing_is_added(h: &impl Harness) {
    let queue = Queue::new(&Store::over(h.backend(), Clock::runtime(T0)), "cases").expect("a name");
    let long = "x".repeat(256);
    let ids = ["", "a\u{7}", &long].map(Dedup::simple).into_iter();
    let ttls = [Duration::ZERO, Duration::from_secs(366 * 86_400)].map(|ttl| Dedup::throttle("d", ttl));
    for dedup in ids.chain(ttls) {
        let bad = Planned::named("text", &1).options(with(dedup.clone()));
        let refused = queue.add_all(vec![Planned::named("text", &1), bad]).await.expect_err("refused");
        let named = matches!(refused, AddError::Options(BadOptions::DedupId(_) | BadOptions::DedupTtl(_)));
        assert!(named, "{dedup:?}: {refused}");
    }
    assert_eq!(queue.counts().await.expect("counts").total(), 0);
    let edge = || Dedup::throttle("x:".repeat(127), Duration::from_secs(365 * 86_400));
    let first = queue.add_named("text", 1).deduplicate(edge()).await.expect("what is just allowed");
    let second = queue.add_named("text", 1).deduplicate(edge()).await.expect("likewise");
    assert_eq!((first, second), (new("1"), lost_to("1")));
}
