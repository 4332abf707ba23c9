//! What was done, minute by minute.

use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Outcome, Timestamp};

use crate::Harness;
use crate::given::*;

const MINUTE: i64 = 60_000;

/// The start of a minute, so that cases can count in minutes from it.
fn minute(number: i64) -> Timestamp {
    Timestamp::from_millis(T0.millis().div_euclid(MINUTE) * MINUTE + number * MINUTE)
}

fn after(start: Timestamp, millis: u64) -> Timestamp {
    start.plus(Duration::from_millis(millis))
}

async fn minutes(q: &Given, before: Option<Timestamp>, most: u32) -> Vec<Minute> {
    q.backend.metrics(&q.queue, before, most).await.expect("metrics")
}

/// Adds a job, takes it and ends it, all at once.
async fn done_at(q: &Given, outcome: Outcome, now: Timestamp) {
    q.add(vec![job(plain())], now).await;
    let held = q.one(now).await;
    q.end(&held.lock, outcome, now).await;
}

/// Completed and failed for good; a failure that is tried again, a snooze and a give-back are neither.
pub async fn ends_are_counted_in_their_minute(h: &impl Harness) {
    let q = Given::on(h);
    for outcome in [done(), done(), dead(), Outcome::Back] {
        done_at(&q, outcome, after(minute(0), 59_999)).await;
    }
    q.one(after(minute(0), 59_999)).await;
    q.add(vec![named("j", tries(2))], minute(1)).await;
    let held = q.one(minute(1)).await;
    q.end(&held.lock, Outcome::Retry { at: minute(1), failure: boom() }, minute(1)).await;
    let held = q.one(minute(1)).await;
    q.end(&held.lock, done(), minute(1)).await;
    let found = minutes(&q, None, 10).await;
    let counts: Vec<_> = found.iter().map(|m| (m.at, m.completed, m.failed)).collect();
    assert_eq!(counts, [(minute(1), 1, 0), (minute(0), 2, 1)]);
}

/// From becoming ready: a delay is no wait, and a second try waits anew.
pub async fn waits_are_counted_from_becoming_ready(h: &impl Harness) {
    let q = Given::on(h);
    let start = minute(0);
    q.add(vec![job(plain()), job(delay(1_000))], start).await;
    q.take(1, after(start, 40)).await;
    q.take(1, after(start, 1_000)).await;
    let wait = minutes(&q, None, 1).await[0].wait;
    // At most 50 ms, and at most 1 ms.
    let mut expected = [0; BUCKETS.len() + 1];
    (expected[5], expected[0]) = (1, 1);
    assert_eq!((wait.counts, wait.sum), (expected, 40));
}

/// As the worker says; an end that is refused or repeated is not counted.
pub async fn run_times_are_counted_once(h: &impl Harness) {
    let q = Given::on(h);
    q.add((0..3).map(|_| job(tries(2))).collect(), minute(0)).await;
    let held = q.take(3, minute(0)).await;
    let ran = |held: &Held, outcome, ran| Verdict { ran, ..verdict(&held.lock, outcome) };
    let ends = || {
        vec![
            ran(&held[0], done(), Some(Duration::from_millis(7))),
            ran(&held[1], Outcome::Retry { at: minute(9), failure: boom() }, Some(Duration::from_secs(400))),
            ran(&held[2], dead(), None),
        ]
    };
    q.turn(ends(), None, minute(0)).await;
    let again = q.turn(ends(), None, minute(0)).await.ends;
    assert_eq!(again, [End::AlreadyApplied; 3]);
    let found = minutes(&q, None, 1).await[0];
    let mut expected = [0; BUCKETS.len() + 1];
    (expected[3], expected[16]) = (1, 1);
    assert_eq!((found.run.counts, found.run.sum, found.completed, found.failed), (expected, 400_007, 1, 1));
}

/// Newest first, from the one before a time on; quiet minutes are left out; other queues have their own.
pub async fn minutes_are_read_in_pages_newest_first(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(minutes(&q, None, 10).await, []);
    for number in [0, 1, 5, 6] {
        done_at(&q, done(), minute(number)).await;
    }
    let starts = |found: Vec<Minute>| found.iter().map(|m| m.at).collect::<Vec<_>>();
    let first = starts(minutes(&q, None, 3).await);
    assert_eq!(first, [minute(6), minute(5), minute(1)]);
    assert_eq!(starts(minutes(&q, Some(first[2]), 3).await), [minute(0)]);
    assert_eq!(starts(minutes(&q, Some(after(minute(5), 30_000)), 3).await), [minute(1), minute(0)]);
    assert_eq!(minutes(&Given::queue(h, "other"), None, 10).await, []);
    q.backend.metrics(&q.queue, None, MAX_READ + 1).await.expect_err("out of bounds");
}

/// Two weeks: what is older goes, a little with each new minute.
pub async fn minutes_of_more_than_two_weeks_ago_go(h: &impl Harness) {
    let q = Given::on(h);
    let weeks = i64::from(MAX_MINUTES);
    for number in [0, 1, 2, weeks + 1] {
        done_at(&q, done(), minute(number)).await;
    }
    let starts: Vec<_> = minutes(&q, None, 10).await.iter().map(|m| m.at).collect();
    assert_eq!(starts, [minute(weeks + 1), minute(2)]);
}
