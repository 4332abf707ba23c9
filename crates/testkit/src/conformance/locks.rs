//! Locks: how long they hold, who may extend them, and the workers that beat.

use launchkit_queue::backend::*;
use launchkit_queue::{Happened, State, StoreError};

use crate::Harness;
use crate::given::*;

/// The moment at which a lock taken at `T0` ends.
const END: i64 = 30_000;

/// From the beat on, not from the take on.
pub async fn a_beat_extends_the_lock(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    assert_eq!(q.beat(vec![lock.clone()], at(20_000)).await, Beaten::default());
    assert_eq!(q.beat(vec![lock.clone()], at(END + 10)).await, Beaten::default());
    assert_eq!(q.rescue(9, at(2 * END + 9)).await.jobs, []);
    q.settle(&lock, done(), at(2 * END + 9)).await;
}

/// Four ways to have no lock, in one beat with a good one.
pub async fn a_beat_reports_lost_and_foreign_locks(h: &impl Harness) {
    let q = Given::on(h);
    let expired = q.hold("expired", plain(), T0).await;
    let settled = q.hold("settled", plain(), at(10)).await;
    q.settle(&settled, done(), at(10)).await;
    let held = q.hold("held", plain(), at(10)).await;
    let live = q.hold("live", plain(), at(10)).await;
    let foreign = Lock { token: q.token(), ..held.clone() };
    let unknown = Lock { id: id("unknown"), token: live.token.clone(), row: 0 };
    let beaten = q.beat(vec![expired, foreign, live.clone(), unknown, settled], at(END)).await;
    assert_eq!(beaten.lost, ["expired", "held", "unknown", "settled"].map(id));
    assert_eq!((beaten.cancel, beaten.paused), (vec![], false));
    assert_eq!(q.rescue(9, at(2 * END - 1)).await.jobs, ["expired", "held"].map(id));
    q.settle(&live, done(), at(2 * END - 1)).await;
}

/// A lease is a lease.
pub async fn an_ended_lock_cannot_be_renewed_though_nobody_took_the_job(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    assert_eq!(q.beat(vec![lock], at(END)).await.lost, [id("a")]);
    assert_eq!(q.rescue(9, at(END)).await.jobs, [id("a")]);
}

/// To the millisecond.
pub async fn a_settle_counts_until_the_lock_ends_and_not_at_its_end(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let held = q.take(2, T0).await;
    assert_eq!(q.end(&held[0].lock, done(), at(END - 1)).await, End::Applied);
    assert_eq!(q.end(&held[1].lock, done(), at(END)).await, End::LockLost);
    assert_eq!(q.get("b").await.state, State::Active);
    assert_eq!(q.rescue(9, at(END)).await.jobs, [id("b")]);
}

/// The new holder alone has a say.
pub async fn a_rescued_job_taken_by_another_voids_the_old_lock(h: &impl Harness) {
    let q = Given::on(h);
    let old = q.hold("a", plain(), T0).await;
    q.rescue(9, at(END)).await;
    let new = q.one(at(END)).await.lock;
    let beaten = q.beat(vec![old.clone(), new.clone()], at(END + 1)).await;
    assert_eq!(beaten.lost, [id("a")]);
    assert_eq!(q.end(&old, dead(), at(END + 2)).await, End::LockLost);
    // The new lock holds as long as its beat said: the old one took nothing from it.
    q.settle(&new, done(), at(2 * END)).await;
    assert_eq!(q.get("a").await.state, State::Completed);
}

fn beat(q: &Given, worker: WorkerInfo, locks: Vec<Lock>) -> Beat {
    Beat { queue: q.queue.clone(), worker, locks, lock_for: LOCK }
}

/// Whoever beats is listed, once.
pub async fn a_beat_without_locks_registers_the_worker(h: &impl Harness) {
    let q = Given::on(h);
    let listed = async |millis| q.backend.info(&q.queue, at(millis)).await.expect("info").workers;
    q.backend.beat(beat(&q, worker("w1"), vec![]), T0).await.expect("beat");
    assert_eq!(listed(1).await, [worker("w1")]);
    let larger = WorkerInfo { slots: 9, name: "renamed".into(), ..worker("w1") };
    q.backend.beat(beat(&q, larger.clone(), vec![]), at(2)).await.expect("beat");
    q.backend.beat(beat(&q, worker("w2"), vec![]), at(2)).await.expect("beat");
    let mut workers = listed(3).await;
    workers.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(workers, [larger, worker("w2")]);
}

/// A minute of silence.
pub async fn a_silent_worker_is_no_longer_listed(h: &impl Harness) {
    let q = Given::on(h);
    q.beat(vec![], T0).await;
    let listed = async |millis| q.backend.info(&q.queue, at(millis)).await.expect("info").workers.len();
    assert_eq!((listed(59_999).await, listed(60_000).await), (1, 0));
    q.backend.beat(beat(&q, worker("w2"), vec![]), at(60_000)).await.expect("beat");
    let workers = q.backend.info(&q.queue, at(60_000)).await.expect("info").workers;
    assert_eq!(workers, [worker("w2")]);
}

/// Refused before the first lock.
pub async fn a_beat_beyond_the_bound_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    let failed = q.backend.beat(beat(&q, worker("w1"), vec![lock; MAX_BEAT + 1]), at(END - 1)).await;
    let failed = failed.expect_err("refused");
    assert!(matches!(failed.why, StoreError::OutOfBounds(_)), "{}", failed.why);
    assert_eq!((failed.happened, failed.input.locks.len()), (Happened::No, MAX_BEAT + 1));
    assert_eq!(q.rescue(9, at(END)).await.jobs, [id("a")]);
}
