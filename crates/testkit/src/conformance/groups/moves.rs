//! Heads that go, and groups that go with their last job.

use launchkit_queue::Pick;

use super::*;

/// Head, middle, last: the group goes on in its turn.
pub async fn removing_a_head_brings_the_next(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 4, T0).await;
    fill(&q, "b", 4, T0).await;
    for gone in ["a1", "a3", "b4"] {
        assert_eq!(q.edit(Edit::Remove(id(gone)), at(1)).await, Edited::Done);
    }
    assert_eq!(q.list(State::Prioritized).await, ["a2", "b1", "a4", "b2", "b3"]);
    assert_eq!(q.take_ids(9, at(2)).await, ["a2", "b1", "a4", "b2", "b3"]);
    fill(&q, "c", 1, at(3)).await;
    order(&q, "c", GroupControl::Pause, at(3)).await;
    assert_eq!(q.edit(Edit::Remove(id("c1")), at(4)).await, Edited::Done);
    assert_eq!((q.next(at(4)).await, info(&q, "c").await.waiting), (Next::Empty, 0));
}

/// In steps that go on where the one before ended, with a choice, and looked at without a change.
pub async fn draining_reaches_every_job_of_every_group(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 5, T0).await;
    fill(&q, "b", 3, T0).await;
    q.add(vec![NewJob { name: "other".into(), ..named("a6", of("a")) }, named("w", plain())], T0).await;
    let walk = async |dry: bool, pick: Pick| {
        let mut sweep = Sweep { dry, pick, ..Sweep::all(q.queue.clone(), SweepWhat::DrainWaiting, 2) };
        let mut done = Vec::new();
        loop {
            let swept = q.backend.sweep(sweep.clone(), at(1)).await.expect("sweep");
            done.extend(swept.done.iter().map(ToString::to_string));
            sweep.after = swept.next;
            if sweep.after.is_none() {
                done.sort();
                return done;
            }
        }
    };
    let texts = Pick { name: Some("text".into()), ..Pick::default() };
    let all = ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "w"];
    assert_eq!(walk(true, texts.clone()).await, all);
    assert_eq!(walk(false, texts).await, all);
    let left = info(&q, "a").await;
    assert_eq!((left.waiting, left.in_turn, find(&q, "b").await), (1, true, None));
    assert_eq!(walk(false, Pick::default()).await, ["a6"]);
    assert_eq!((find(&q, "a").await, q.next(at(2)).await), (None, Next::Empty));
}

/// So the rows of tenants that have left do not pile up; ended and delayed jobs keep none.
pub async fn a_group_without_jobs_or_settings_is_forgotten(h: &impl Harness) {
    let q = Given::on(h);
    let there = async || q.backend.info(&q.queue, T0).await.expect("info").groups;
    for n in 0..30 {
        q.add(vec![job(of(&format!("t{n}")))], at(n)).await;
        let held = q.one(at(n)).await;
        assert_eq!(there().await, 1);
        q.settle(&held.lock, if n % 2 == 0 { done() } else { retry(at(90_000)) }, at(n)).await;
        assert_eq!(there().await, 0);
    }
    weigh(&q, "kept", 2, at(40)).await;
    order(&q, "paused", GroupControl::Pause, at(40)).await;
    assert_eq!(there().await, 2);
    weigh(&q, "kept", 1, at(41)).await;
    order(&q, "paused", GroupControl::Resume, at(41)).await;
    assert_eq!((there().await, q.counts().await.total()), (0, 30));
}

/// Leaving and coming back starts no new window and lifts no hold; when its time is over, it goes.
pub async fn a_group_is_remembered_while_its_window_or_hold_lasts(h: &impl Harness) {
    let q = Given::on(h);
    let rate = launchkit_queue::Rate { max: NonZeroU32::MIN, per: Duration::from_secs(1) };
    let defaults = GroupDefaults { concurrency: None, rate: Some(rate) };
    q.backend.control(&q.queue, Control::GroupDefaults(defaults), T0).await.expect("control");
    q.finish("a1", of("a"), done(), at(1)).await;
    order(&q, "held", GroupControl::HoldUntil(at(1_500)), at(1)).await;
    q.add(vec![named("a2", of("a")), named("h1", of("held"))], at(2)).await;
    assert_eq!(take(&q, 9, at(3)).await, (vec![], Next::Limited(at(1_001))));
    assert_eq!(q.edit(Edit::Remove(id("a2")), at(4)).await, Edited::Done);
    assert_eq!(q.edit(Edit::Remove(id("h1")), at(4)).await, Edited::Done);
    assert!(find(&q, "a").await.is_some() && find(&q, "held").await.is_some());
    assert_eq!(q.next(at(5)).await, Next::Empty, "nobody needs to come for groups without jobs");
    q.finish("b1", of("b"), done(), at(1_500)).await;
    assert_eq!((find(&q, "a").await, find(&q, "held").await), (None, None), "two go for each that comes");
}
