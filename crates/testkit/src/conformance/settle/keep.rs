//! Retention: how long finished jobs stay, and that only a finish removes them.

use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Event, Keep, Outcome, State};

use crate::Harness;
use crate::given::*;

/// Runs one job to its end.
async fn finish(q: &Given, name: &str, outcome: Outcome, keep: Keep, millis: i64) {
    let lock = q.hold(name, plain(), at(millis)).await;
    assert_eq!(q.end_keeping(&lock, outcome, keep, at(millis)).await, End::Applied, "{name}");
}

/// Gone at once, but not unheard.
pub async fn keeping_nothing_removes_the_job_and_still_tells(h: &impl Harness) {
    let q = Given::on(h);
    finish(&q, "old good", done(), Keep::ALL, 0).await;
    finish(&q, "old bad", dead(), Keep::ALL, 0).await;
    for (name, outcome) in [("good", done()), ("bad", dead())] {
        let before = q.newest().await;
        finish(&q, name, outcome, Keep::NONE, 1).await;
        assert_eq!((q.find(name).await, q.counts().await.total()), (None, 2));
        let told: Vec<Event> = q.events_after(before).await.into_iter().map(|(_, event)| event).collect();
        let end = match name {
            "good" => Event::Completed { id: id(name), result: Some(json("7")) },
            _ => Event::Failed { id: id(name), failure: boom() },
        };
        assert!(told.contains(&end), "{told:?}");
        assert_eq!(told.last(), Some(&Event::Drained));
    }
}

/// The last three of ten.
pub async fn retention_by_count_keeps_the_newest(h: &impl Harness) {
    let q = Given::on(h);
    for n in 0..10 {
        finish(&q, &format!("job {n}"), done(), Keep::newest(3), n).await;
    }
    assert_eq!(q.list(State::Completed).await, ["job 9", "job 8", "job 7"]);
    assert_eq!((q.counts().await.total(), q.find("job 6").await), (3, None));
}

/// Exactly as old as allowed is too old.
pub async fn retention_by_age_removes_what_is_older(h: &impl Harness) {
    let q = Given::on(h);
    for (name, millis) in [("a", 0), ("b", 1_000), ("c", 1_001)] {
        finish(&q, name, dead(), Keep::ALL, millis).await;
    }
    finish(&q, "d", dead(), Keep::younger(Duration::from_secs(60)), 61_000).await;
    assert_eq!(q.list(State::Failed).await, ["d", "c"]);
}

/// No finish takes long; a long past is worked off little by little.
pub async fn a_finish_evicts_at_most_two_oldest_first(h: &impl Harness) {
    let q = Given::on(h);
    for n in 0..10 {
        finish(&q, &format!("old {n}"), done(), Keep::ALL, n).await;
    }
    finish(&q, "new 0", done(), Keep::newest(1), 20).await;
    let mut left: Vec<String> = (2..10).rev().map(|n| format!("old {n}")).collect();
    left.insert(0, "new 0".to_owned());
    assert_eq!(q.list(State::Completed).await, left);
    for n in 1..=8 {
        finish(&q, &format!("new {n}"), done(), Keep::newest(1), 20 + n).await;
    }
    assert_eq!(q.list(State::Completed).await, ["new 8"]);
}

/// There is no timer and no scan.
pub async fn nothing_is_evicted_before_a_finish(h: &impl Harness) {
    let q = Given::on(h);
    let rule = Keep::younger(Duration::from_secs(1));
    finish(&q, "a", done(), rule, 0).await;
    q.hold("b", plain(), at(90_000)).await;
    q.rescue(9, at(900_000)).await;
    assert_eq!(q.next(at(900_000)).await, Next::More);
    assert_eq!((q.get("a").await.state, q.list(State::Completed).await.len()), (State::Completed, 1));
    let lock = q.one(at(900_000)).await.lock;
    assert_eq!(q.end_keeping(&lock, done(), rule, at(900_001)).await, End::Applied);
    assert_eq!(q.list(State::Completed).await, ["b"]);
}

/// A flood of failures does not wash the successes away.
pub async fn retention_of_one_final_state_leaves_the_other_alone(h: &impl Harness) {
    let q = Given::on(h);
    for n in 0..3 {
        finish(&q, &format!("good {n}"), done(), Keep::ALL, n).await;
    }
    for n in 3..8 {
        finish(&q, &format!("bad {n}"), dead(), Keep { count: Some(1), age: Some(Duration::from_secs(1)) }, n).await;
    }
    assert_eq!(q.list(State::Completed).await, ["good 2", "good 1", "good 0"]);
    assert_eq!(q.list(State::Failed).await, ["bad 7"]);
}

/// Each rule then removes at most two for each of its own ends, oldest first, whichever end said it first.
pub async fn retention_is_applied_when_all_ends_of_a_turn_are_through(h: &impl Harness) {
    let q = Given::on(h);
    let old = q.hold("old", plain(), T0).await;
    q.end(&old, dead(), at(1)).await;
    let (a, b) = (q.hold("a", plain(), at(2)).await, q.hold("b", plain(), at(2)).await);
    let ends = vec![Verdict { keep: Keep::newest(2), ..verdict(&a, dead()) }, verdict(&b, dead())];
    assert_eq!(q.turn(ends, None, at(3)).await.ends, [End::Applied; 2]);
    assert_eq!(q.list(State::Failed).await, ["b", "a"]);
}

/// Of equal rules one for each final state, of different ones each for itself.
pub async fn each_rule_of_a_turn_counts_its_own_ends(h: &impl Harness) {
    let q = Given::on(h);
    for n in 0..6 {
        finish(&q, &format!("good {n}"), done(), Keep::ALL, n).await;
    }
    for n in 0..3 {
        finish(&q, &format!("bad {n}"), dead(), Keep::ALL, n).await;
    }
    let mut ends = Vec::new();
    for (name, outcome, count) in [("a", done(), 1), ("b", done(), 1), ("c", dead(), 1), ("d", done(), 100)] {
        let lock = q.hold(name, plain(), at(9)).await;
        ends.push(Verdict { keep: Keep::newest(count), ..verdict(&lock, outcome) });
    }
    assert_eq!(q.turn(ends, None, at(9)).await.ends, [End::Applied; 4]);
    // Two for each of the two ends, and two for the one that failed; the last rule has nothing to remove.
    assert_eq!(q.list(State::Completed).await[3..], ["good 5", "good 4"]);
    assert_eq!(q.list(State::Failed).await, ["c", "bad 2"]);
}
