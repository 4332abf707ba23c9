//! What policies change at the seam: the time to start in, and the step that has to wait.

use launchkit_queue::{FailureKind, Keep, Misfire, Overlap};

use super::*;

/// A scheduler whose runs wait for each other.
fn alone(id: &str) -> Repeat {
    Repeat { overlap: Overlap::Skip, ..hourly(id) }
}

/// Taken at its last moment it runs, also when it is tried again later; a millisecond after, it is expired.
pub async fn a_job_beyond_its_tolerance_is_handed_out_as_expired(h: &impl Harness) {
    let q = Given::on(h);
    let skip = |id| Repeat { misfire: Misfire::Skip { after: Duration::from_secs(5) }, ..hourly(id) };
    for misfire in [Misfire::One, Misfire::All] {
        let id = format!("{misfire:?}");
        put(&q, Repeat { misfire, ..hourly(&id) }, 0, 0).await;
        assert_eq!(q.get(&job_of(&id, 0)).await.options.start_before, None);
        let held = q.one(at(9_000_000)).await;
        assert_eq!(held.failed_already, None);
        q.settle(&held.lock, done(), at(9_000_001)).await;
    }
    put(&q, skip("in time"), 500, 0).await;
    let held = q.one(at(5_500)).await;
    assert_eq!((held.options.start_before, held.failed_already), (Some(at(5_500)), None));
    q.settle(&held.lock, retry(at(6_000)), at(5_600)).await;
    let again = q.one(at(6_000)).await;
    assert_eq!(again.failed_already, None);
    q.settle(&again.lock, done(), at(6_001)).await;
    put(&q, skip("late"), 500, 0).await;
    let expired = q.one(at(5_501)).await.failed_already.map(|why| why.kind);
    assert_eq!(expired, Some(FailureKind::Expired));
}

/// Active, put back after a stall, waiting for another try: Locked, nothing made. After its end, however it came, one is.
pub async fn a_run_that_has_not_ended_holds_up_the_next_one(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, alone("r"), 0, 0).await;
    q.one(T0).await;
    let blocked = async |now| {
        assert_eq!(advance(&q, "r", 0, Some(90_000), now).await, Edited::Locked);
        assert_eq!((stands(&q, "r").await, q.counts().await.total()), ((Some(T0), 1), 1));
    };
    blocked(1).await;
    q.rescue(5, T0.plus(LOCK)).await;
    blocked(30_000).await;
    let lock = q.one(at(30_000)).await.lock;
    q.settle(&lock, retry(at(30_010)), at(30_001)).await;
    blocked(30_002).await;
    let lock = q.one(at(30_010)).await.lock;
    q.settle(&lock, done(), at(30_011)).await;
    assert_eq!(advance(&q, "r", 0, Some(90_000), 30_012).await, Edited::Due(at(90_000)));
    for again in [Some(90_000), Some(99_000), None] {
        assert_eq!(advance(&q, "r", 0, again, 30_013).await, Edited::Missing);
    }
    let lock = q.one(at(90_000)).await.lock;
    assert_eq!(q.end_keeping(&lock, dead(), Keep::NONE, at(90_001)).await, End::Applied);
    assert_eq!(advance(&q, "r", 90_000, Some(95_000), 90_002).await, Edited::Due(at(95_000)));
    q.edit(Edit::Remove(id(&job_of("r", 95_000))), at(90_003)).await;
    assert_eq!(advance(&q, "r", 95_000, Some(99_000), 95_001).await, Edited::Due(at(99_000)));
    assert_eq!((stands(&q, "r").await, q.counts().await.total()), ((Some(at(99_000)), 4), 2));
}

/// It is looked for again once it has ended or is gone.
pub async fn a_run_that_is_waited_for_does_not_stand_still(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, alone("active"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    put(&q, alone("again"), 1, 1).await;
    let again = q.one(at(1)).await.lock;
    q.settle(&again, retry(at(900)), at(2)).await;
    put(&q, alone("removed"), 3, 3).await;
    q.edit(Edit::Remove(id(&job_of("removed", 3))), at(4)).await;
    put(&q, hourly("beside"), 4, 4).await;
    q.one(at(4)).await;
    assert_eq!(names(&stuck(&q, 500, None, 10).await), ["removed", "beside"]);
    q.settle(&lock, dead(), at(5)).await;
    assert_eq!(names(&stuck(&q, 500, None, 10).await), ["active", "removed", "beside"]);
}

/// What was taken runs on, whatever becomes of its definition; it still holds up the next one.
pub async fn a_job_that_is_tried_again_outlives_put_and_drop(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, alone("r"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    q.settle(&lock, retry(at(500)), at(1)).await;
    let before = q.newest().await;
    let other = Repeat { data: json("2"), ..alone("r") };
    assert_eq!(put(&q, other, 2, 2).await, Edited::Due(T0));
    assert_eq!(advance(&q, "r", 0, Some(900), 3).await, Edited::Locked);
    assert_eq!(q.edit(Edit::Unschedule("r".into()), at(4)).await, Edited::Done);
    assert_eq!(q.told(before).await, [] as [&str; 0]);
    let job = q.get(&job_of("r", 0)).await;
    assert_eq!((job.state, job.made, job.data.as_str()), (State::Delayed, 1, "1"));
}
