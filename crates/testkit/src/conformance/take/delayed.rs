//! When delayed jobs are ready, and where they stand then.

use launchkit_queue::backend::*;
use launchkit_queue::{JobOptions, State};

use crate::Harness;
use crate::given::*;

/// To the millisecond.
pub async fn a_delayed_job_is_taken_at_its_time_and_not_a_millisecond_before(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", delay(500))], T0).await;
    let early = q.turn(Vec::new(), Some(q.wish(9)), at(499)).await;
    assert_eq!((early.held.len(), early.next), (0, Next::At(at(500))));
    assert_eq!(q.take_ids(9, at(500)).await, ["a"]);
}

/// Whenever it is looked at.
pub async fn the_delay_counts_from_the_adding(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", delay(500))], at(20)).await;
    assert_eq!(q.next(at(300)).await, Next::At(at(520)));
    let found = q.get("a").await;
    assert_eq!((found.state, found.due, found.since), (State::Delayed, Some(at(520)), at(20)));
}

/// Whatever delays brought them there.
pub async fn jobs_due_in_the_same_millisecond_run_in_the_order_of_their_adding(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("d", delay(300)), named("a", delay(300))], T0).await;
    q.add(vec![named("c", delay(200))], at(100)).await;
    q.add(vec![named("b", delay(100))], at(200)).await;
    assert_eq!(q.take_ids(9, at(300)).await, ["d", "a", "c", "b"]);
}

/// Due is not the same as next.
pub async fn a_due_job_goes_behind_what_waits_already(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("old", delay(100))], T0).await;
    q.waiting(&["new"], at(50)).await;
    assert_eq!(q.take_ids(9, at(100)).await, ["new", "old"]);
}

/// LIFO is a wish at the adding only.
pub async fn promotion_ignores_lifo(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("a", JobOptions { lifo: true, ..delay(100) }), named("b", plain())], T0).await;
    assert_eq!(q.take_ids(9, at(100)).await, ["b", "a"]);
}

/// It enters its class, not the front.
pub async fn a_due_job_keeps_its_priority(h: &impl Harness) {
    let q = Given::on(h);
    let late = JobOptions { priority: 5, ..delay(100) };
    q.add(vec![named("late 5", late), named("p9", priority(9)), named("p5", priority(5))], T0).await;
    assert_eq!(q.next(at(100)).await, Next::More);
    let found = q.get("late 5").await;
    assert_eq!((found.state, found.due, found.since), (State::Prioritized, None, at(100)));
    assert_eq!(q.take_ids(9, at(100)).await, ["p5", "late 5", "p9"]);
}

/// No turn takes long: what is left over becomes ready in the next ones.
pub async fn one_turn_promotes_at_most_two_hundred_due_jobs(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![job(delay(10)); 450], T0).await;
    for (ready, delayed) in [(200, 250), (400, 50), (450, 0)] {
        assert_eq!(q.next(at(10)).await, Next::More);
        let counts = q.counts().await;
        assert_eq!((counts.waiting, counts.delayed), (ready, delayed));
    }
    let all: Vec<String> = (1..=450).map(|n| n.to_string()).collect();
    assert_eq!(q.take_ids(450, at(10)).await, all);
    // Taking all that became ready hides nothing of what did not.
    let q = Given::queue(h, "taken at once");
    q.add(vec![job(delay(10)); 450], T0).await;
    for (range, next) in [(0..200, Next::More), (200..400, Next::More), (400..450, Next::Empty)] {
        let turned = q.turn(Vec::new(), Some(q.wish(300)), at(10)).await;
        assert_eq!((&*ids(&turned.held), turned.next), (&all[range], next));
    }
}
