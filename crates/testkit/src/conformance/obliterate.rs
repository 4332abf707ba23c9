//! A whole queue is removed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{ChildFailure, Dedup, JobOptions, Position, Repeat, Schedule, State, StoreError, Timestamp};

use crate::Harness;
use crate::given::*;

async fn step(q: &Given, held: HeldJobs, most: u32, now: Timestamp) -> Obliterated {
    q.backend.obliterate(&q.queue, held, most, now).await.expect("obliterate")
}

/// All steps of this size; answers how many jobs are gone.
async fn remove(q: &Given, most: u32, now: Timestamp) -> u32 {
    let mut all = 0;
    loop {
        match step(q, HeldJobs::Refuse, most, now).await {
            Obliterated::More(gone) => all += gone,
            Obliterated::All(gone) => return all + gone,
            refused => panic!("{refused:?}"),
        }
    }
}

async fn pause(q: &Given) {
    q.backend.control(&q.queue, Control::Pause, T0).await.expect("paused");
}

/// Jobs in every state, a family, a scheduler, an owned id, limits, counters, a worker: the queue is as if there had never been
/// one, and a new one begins with 1.
pub async fn a_removed_queue_leaves_nothing(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.in_each_state(T0).await;
    q.settle(&lock, done(), T0).await;
    let owner = JobOptions { deduplication: Some(Dedup::simple("d")), ..plain() };
    q.add(vec![named("owner", owner.clone())], T0).await;
    let parent = Node { queue: q.queue.clone(), job: named("parent", plain()), parent: None };
    let under = Some(Under { parent: Parent::Node(0), on_failure: ChildFailure::Wait });
    let child = Node { queue: q.queue.clone(), job: named("child", plain()), parent: under };
    q.backend.add_flow(AddFlow { nodes: vec![parent, child] }, T0).await.expect("a family");
    let hourly = Repeat::named("s", Schedule::Every(Duration::from_secs(3_600)), "text", &1).expect("JSON");
    q.edit(Edit::Schedule(Put { repeat: Arc::new(hourly), first: at(1) }), T0).await;
    q.backend.control(&q.queue, Control::Concurrency(NonZeroU32::new(3)), T0).await.expect("limited");
    q.beat(Vec::new(), T0).await;
    pause(&q).await;

    assert_eq!(remove(&q, 100, at(2)).await, 10);
    assert_eq!(step(&q, HeldJobs::Refuse, 100, at(2)).await, Obliterated::All(0), "it is gone already");
    assert!(q.backend.queues().await.expect("queues").is_empty());
    assert_eq!(q.counts().await, Default::default());
    let info = q.backend.info(&q.queue, at(2)).await.expect("info");
    assert!(!info.paused && info.workers.is_empty() && info.limits == Limits::default(), "{info:?}");
    let all = Repeats::Ids(vec!["s".into()]);
    assert!(q.backend.repeats(&q.queue, &all, 9).await.expect("schedulers").found.is_empty());
    assert!(q.backend.ticks(&q.queue, "s", 9).await.expect("ticks").is_empty());
    assert!(q.backend.metrics(&q.queue, None, 9).await.expect("minutes").is_empty());
    assert!(q.events().await.is_empty());

    let added = q.add(vec![job(owner)], at(3)).await;
    let new: Vec<&str> =
        added.iter().filter(|added| matches!(added, Added::New(_))).map(|added| added.id().as_str()).collect();
    assert_eq!(new, ["1"], "the deduplication id is free, ids begin again");
    assert_eq!(q.take_ids(9, at(3)).await, ["1"]);
    assert_eq!(q.backend.queues().await.expect("queues").len(), 1);
}

/// Seven jobs by three; no step without a size, or with one that is too large.
pub async fn a_queue_is_removed_in_bounded_steps(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d", "e", "f", "g"], T0).await;
    pause(&q).await;
    for most in [0, MAX_READ + 1] {
        let refused = q.backend.obliterate(&q.queue, HeldJobs::Refuse, most, T0).await;
        assert!(matches!(refused, Err(StoreError::OutOfBounds(_))), "{most}: {refused:?}");
    }
    for left in [4, 1] {
        assert_eq!(step(&q, HeldJobs::Refuse, 3, T0).await, Obliterated::More(3));
        assert_eq!(q.counts().await.waiting, left);
    }
    assert_eq!(step(&q, HeldJobs::Refuse, 3, T0).await, Obliterated::All(1));
}

/// Whoever holds a job that was removed all the same learns that it is gone.
pub async fn only_a_paused_queue_without_held_jobs_is_removed(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(step(&q, HeldJobs::Refuse, 9, T0).await, Obliterated::All(0), "there is none");
    let lock = q.in_each_state(T0).await;
    assert_eq!(step(&q, HeldJobs::Remove, 9, T0).await, Obliterated::NotPaused);
    pause(&q).await;
    assert_eq!(step(&q, HeldJobs::Refuse, 9, T0).await, Obliterated::Held);
    assert_eq!(q.counts().await.total(), 6, "nothing was removed");
    assert_eq!(step(&q, HeldJobs::Remove, 9, T0).await, Obliterated::All(6));
    assert_eq!(q.end(&lock, done(), at(1)).await, End::Gone);
}

/// And reads on from what comes after it.
pub async fn a_reader_of_events_learns_that_the_queue_was_removed(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a"], T0).await;
    let before = q.newest().await;
    q.waiting(&["b"], T0).await;
    pause(&q).await;
    remove(&q, 9, at(1)).await;
    q.waiting(&["c"], at(2)).await;
    let read = q.backend.events(&q.queue, before, 9).await.expect("events");
    let told: Vec<String> = read.events.iter().map(|(_, event)| brief(event)).collect();
    assert!(read.gap, "{read:?}");
    assert_eq!(told, ["added:c", "waiting:c"]);
    assert_eq!(q.told(Position::START).await, told);
}

/// As if their children had been removed one by one; a parent of a group takes its turn beside other groups.
pub async fn parents_in_other_queues_go_on_when_a_queue_is_removed(h: &impl Harness) {
    let (p, c) = (Given::queue(h, "reports"), Given::queue(h, "texts"));
    let top = Node { queue: p.queue.clone(), job: named("p", plain()), parent: None };
    let under = |text: &str| {
        let parent = Some(Under { parent: Parent::Node(0), on_failure: ChildFailure::Wait });
        Node { queue: c.queue.clone(), job: named(text, plain()), parent }
    };
    p.backend.add_flow(AddFlow { nodes: vec![top, under("a"), under("b")] }, T0).await.expect("a flow");
    let grouped = |group: &str| JobOptions { group: Some(group.into()), ..plain() };
    let top = Node { queue: p.queue.clone(), job: named("g", grouped("x")), parent: None };
    p.backend.add_flow(AddFlow { nodes: vec![top, under("c")] }, T0).await.expect("a flow");
    p.add(vec![named("y", grouped("y"))], T0).await;
    pause(&c).await;
    assert_eq!(remove(&c, 2, at(1)).await, 3);
    assert_eq!(p.list(State::Waiting).await, ["p"]);
    assert_eq!(p.take_ids(9, at(2)).await, ["p", "y", "g"]);
}
