//! The ledger of schedulers: each slot once, in the step that leaves it behind.

use launchkit_queue::Overlap;

use super::*;

async fn ticks(q: &Given, id: &str) -> Vec<Tick> {
    q.backend.ticks(&q.queue, id, MAX_READ).await.expect("a read")
}

fn left(first: i64, last: i64, count: u64, now: i64) -> Tick {
    Tick { fate: Fate::Missed, first: at(first), last: at(last), count, at: at(now) }
}

fn step_over(id: &str, slot: i64, next: Option<i64>, left: Tick) -> Edit {
    match step(id, slot, next, Fate::Late, 50) {
        Edit::Advance(step) => Edit::Advance(Advance { left: Some(left), ..step }),
        other => other,
    }
}

/// With the step, or while it has to wait; a step that is not made notes nothing, and no later word changes an earlier one.
pub async fn a_slot_is_noted_once_with_the_step_from_it(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 0, 0).await;
    q.one(T0).await;
    assert_eq!(ticks(&q, "r").await, []);
    let missed = left(100, 300, 3, 50);
    assert_eq!(q.edit(step_over("r", 0, Some(0), missed), at(50)).await, Edited::WrongState(State::Active));
    assert_eq!(q.edit(step_over("r", 7, Some(500), missed), at(50)).await, Edited::Missing);
    assert_eq!(ticks(&q, "r").await, []);
    assert_eq!(q.edit(step_over("r", 0, Some(500), missed), at(50)).await, Edited::Due(at(500)));
    let late = Tick::one(Fate::Late, T0, at(50));
    assert_eq!(ticks(&q, "r").await, [missed, late]);
    assert_eq!(q.edit(step("r", 0, Some(500), Fate::Missed, 60), at(60)).await, Edited::Missing);
    assert_eq!(ticks(&q, "r").await, [missed, late]);
    q.one(at(500)).await;
    assert_eq!(q.edit(step("r", 500, None, Fate::Run, 501), at(501)).await, Edited::Done);
    let run = Tick::one(Fate::Run, at(500), at(501));
    assert_eq!(ticks(&q, "r").await, [run, missed, late]);
    assert_eq!(q.backend.ticks(&q.queue, "r", 2).await.expect("a read"), [run, missed]);

    put(&q, Repeat { overlap: Overlap::Skip, ..hourly("alone") }, 600, 600).await;
    let lock = q.one(at(600)).await.lock;
    assert_eq!(q.edit(step("alone", 600, Some(900), Fate::Run, 601), at(601)).await, Edited::Locked);
    let run = Tick::one(Fate::Run, at(600), at(601));
    assert_eq!(ticks(&q, "alone").await, [run]);
    q.settle(&lock, done(), at(700)).await;
    let missed = left(650, 700, 2, 701);
    assert_eq!(q.edit(step_over("alone", 600, Some(900), missed), at(701)).await, Edited::Due(at(900)));
    assert_eq!(ticks(&q, "alone").await, [missed, run]);
}

/// Of each scheduler its own; more than a thousand are refused.
pub async fn the_newest_hundred_ticks_are_kept_while_their_scheduler_is(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("other"), 0, 0).await;
    assert_eq!(advance(&q, "other", 0, None, 1).await, Edited::Done);
    put(&q, hourly("r"), 0, 0).await;
    for slot in 0..130 {
        let edit = step("r", slot, Some(slot + 1), Fate::Run, slot);
        assert_eq!(q.edit(edit, at(slot)).await, Edited::Due(at(slot + 1)));
    }
    let kept = |from: i64| (from..130).rev().map(|slot| Tick::one(Fate::Run, at(slot), at(slot)));
    assert_eq!(ticks(&q, "r").await, kept(30).collect::<Vec<_>>());
    assert_eq!(q.backend.ticks(&q.queue, "r", 10).await.expect("a read"), kept(120).collect::<Vec<_>>());
    assert!(q.backend.ticks(&q.queue, "r", MAX_READ + 1).await.is_err());
    assert_eq!(ticks(&Given::queue(h, "elsewhere"), "r").await, []);
    q.edit(Edit::Unschedule("r".into()), at(200)).await;
    put(&q, hourly("r"), 500, 200).await;
    assert_eq!((ticks(&q, "r").await, ticks(&q, "nobody").await, ticks(&q, "other").await.len()), (vec![], vec![], 1));
}

/// Its time has passed and its job is gone: a definition that begins anew says so, one that gives it back does not.
pub async fn a_slot_whose_job_is_gone_is_noted_when_it_is_put_again(h: &impl Harness) {
    let q = Given::on(h);
    for (name, changed) in [("same", None), ("other", Some(at(99_000)))] {
        put(&q, hourly(name), 500, 0).await;
        q.edit(Edit::Remove(id(&job_of(name, 500))), at(1)).await;
        put(&q, hourly(name), 700, 2).await;
        assert_eq!((stands(&q, name).await.0, ticks(&q, name).await), (Some(at(500)), vec![]));
        q.edit(Edit::Remove(id(&job_of(name, 500))), at(3)).await;
        assert_eq!(put(&q, Repeat { end: changed, ..hourly(name) }, 700, 600).await, Edited::Due(at(700)));
        assert_eq!(ticks(&q, name).await, [Tick::one(Fate::Missed, at(500), at(600))]);
    }
}

/// With the policies of the definition.
pub async fn ticks_are_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    let misfire = launchkit_queue::Misfire::Skip { after: HOUR };
    let repeat = Repeat { misfire, overlap: Overlap::Skip, ..hourly("r") };
    put(&q, repeat.clone(), 0, 0).await;
    for slot in 0..4 {
        let fate = Fate::ALL[slot as usize];
        let held = q.one(at(slot)).await;
        q.settle(&held.lock, done(), at(slot)).await;
        q.edit(step("r", slot, Some(slot + 1), fate, 90 + slot), at(slot)).await;
    }
    let noted = ticks(&q, "r").await;
    assert_eq!(noted.len(), 4);
    let Some(h) = h.reopen().await else { return };
    let q = Given::on(&h);
    assert_eq!((ticks(&q, "r").await, find(&q, "r").await.map(|one| one.repeat)), (noted, Some(Arc::new(repeat))));
}
