//! Takes whose answer was lost, asked for again.

use crate::Harness;
use crate::given::*;

/// Nothing is stranded, nothing counted twice.
pub async fn resuming_a_take_returns_the_same_jobs_once_started(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("p", priority(1)), named("a", plain()), named("l", lifo()), named("q", priority(2))], T0).await;
    let take = q.wish(3);
    let first = q.turn(Vec::new(), Some(take.clone()), at(1)).await.held;
    let newest = q.newest().await;
    let again = q.resume(&take, at(2)).await;
    assert_eq!(ids(&first), ["l", "a", "p"]);
    assert_eq!(ids(&again), ids(&first));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.started, again.started, again.data == first.data), (1, 1, true));
    }
    assert_eq!((q.newest().await, q.counts().await.active), (newest, 3));
    q.settle(&again[1].lock, done(), at(3)).await;
    q.settle(&first[0].lock, done(), at(3)).await;
}

/// The request was lost, not the answer.
pub async fn resuming_a_take_that_never_happened_takes(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let held = q.resume(&q.wish(1), at(1)).await;
    assert_eq!((ids(&held), held[0].started), (vec!["a".to_owned()], 1));
    q.settle(&held[0].lock, done(), at(2)).await;
}

/// What has ended does not come back.
pub async fn resuming_returns_what_is_still_held(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c", "d"], T0).await;
    let take = q.wish(3);
    let held = q.turn(Vec::new(), Some(take.clone()), at(1)).await.held;
    q.settle(&held[1].lock, done(), at(2)).await;
    assert_eq!(ids(&q.resume(&take, at(3)).await), ["a", "c"]);
}

/// An ended lock is not renewed by asking.
pub async fn resuming_after_the_lock_has_ended_does_not_return_the_job(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a"], T0).await;
    let take = q.wish(1);
    q.turn(Vec::new(), Some(take.clone()), T0).await;
    let end = T0.plus(LOCK);
    assert_eq!(q.resume(&take, at(29_999)).await.len(), 1);
    assert_eq!(q.resume(&take, end).await.len(), 0);
    q.rescue(9, end).await;
    let other = q.one(end).await;
    assert_eq!(q.resume(&take, end).await.len(), 0);
    q.settle(&other.lock, done(), end).await;
    assert_eq!(q.get("a").await.started, 2);
}
