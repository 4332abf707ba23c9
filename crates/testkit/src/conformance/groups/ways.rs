//! Every way out of active and into ready.

use launchkit_queue::{Keep, Outcome};

use super::*;

/// A cap of one, and two jobs: whatever becomes of the first, the group goes on.
pub async fn every_way_out_of_active_frees_the_groups_slot(h: &impl Harness) {
    let ways = [
        ("done", done(), Keep::ALL, "a2", at(3)),
        ("done, not kept", done(), Keep::NONE, "a2", at(3)),
        ("dead", dead(), Keep::ALL, "a2", at(3)),
        ("dead, not kept", dead(), Keep::NONE, "a2", at(3)),
        ("retry at once", retry(at(2)), Keep::ALL, "a2", at(3)),
        ("retry later", retry(at(900)), Keep::ALL, "a2", at(3)),
        ("put off", Outcome::Later(at(900)), Keep::ALL, "a2", at(3)),
        ("given back", Outcome::Back, Keep::ALL, "a1", at(3)),
        ("slow down", Outcome::SlowDown(at(50)), Keep::ALL, "a1", at(50)),
        ("slow the group down", Outcome::SlowDownGroup(at(50)), Keep::ALL, "a1", at(50)),
    ];
    for (way, outcome, keep, next, when) in ways {
        let q = Given::queue(h, way);
        cap(&q, "a", 1, T0).await;
        fill(&q, "a", 2, T0).await;
        let held = q.one(at(1)).await;
        assert_eq!(take(&q, 9, at(1)).await, (vec![], Next::Full), "{way}");
        assert_eq!(q.end_keeping(&held.lock, outcome.clone(), keep, at(2)).await, End::Applied, "{way}");
        let repeated = q.end_keeping(&held.lock, outcome, keep, at(2)).await;
        assert!(matches!(repeated, End::AlreadyApplied | End::Gone), "{way}");
        assert_eq!(take(&q, 9, when).await.0, [next], "{way}");
        let now = info(&q, "a").await;
        assert_eq!((now.active, now.in_turn), (1, false), "{way}");
    }
}

/// By a rescue and by hand; the slot is free, and a lost verdict frees none.
pub async fn a_vanished_worker_keeps_no_slot_of_a_group(h: &impl Harness) {
    for way in ["rescue", "remove"] {
        let q = Given::queue(h, way);
        cap(&q, "a", 1, T0).await;
        fill(&q, "a", 3, T0).await;
        let held = q.one(at(1)).await;
        let late = at(1).plus(LOCK);
        let next = if way == "rescue" {
            assert_eq!(q.rescue(1, late).await.jobs, [id("a1")]);
            "a1"
        } else {
            assert_eq!(q.edit(Edit::Remove(id("a1")), late).await, Edited::Done);
            "a2"
        };
        assert_eq!(take(&q, 9, late).await, (vec![next.into()], Next::Full), "{way}");
        let lost = q.end(&held.lock, done(), late).await;
        assert!(matches!(lost, End::LockLost | End::Gone), "{way}");
        assert_eq!((info(&q, "a").await.active, q.next(late).await), (1, Next::Full), "{way}");
    }
}

/// Before its own group's others, not before other groups'.
pub async fn a_given_back_job_goes_to_the_front_of_its_group(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 3, T0).await;
    fill(&q, "b", 2, T0).await;
    let held = q.take(2, at(1)).await;
    assert_eq!(ids(&held), ["a1", "b1"]);
    q.settle(&held[0].lock, Outcome::Back, at(2)).await;
    assert_eq!(q.take_ids(9, at(3)).await, ["a1", "b2", "a2", "a3"]);
    let again = q.get("a1").await;
    assert_eq!((again.made, again.started), (0, 2));
}

/// Those that were to expire first end up in front.
pub async fn stalled_jobs_go_to_the_front_of_their_group(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 5, T0).await;
    fill(&q, "b", 1, T0).await;
    assert_eq!(q.take_ids(4, at(1)).await, ["a1", "b1", "a2", "a3"]);
    let late = at(1).plus(LOCK);
    assert_eq!(q.rescue(0, late).await.jobs.len(), 4);
    let held = q.take(9, late).await;
    let of_a: Vec<String> = ids(&held).into_iter().filter(|id| id.starts_with('a')).collect();
    assert_eq!(of_a, ["a1", "a2", "a3", "a4", "a5"]);
    assert_eq!(held.iter().filter(|held| held.failed_already.is_some()).count(), 4);
}

/// Newest first and before the rest, also while the group gives out nothing.
pub async fn lifo_goes_to_the_front_of_the_group(h: &impl Harness) {
    let q = Given::on(h);
    let front = || JobOptions { lifo: true, ..of("a") };
    fill(&q, "a", 2, T0).await;
    fill(&q, "b", 1, T0).await;
    q.add(vec![named("l1", front())], T0).await;
    order(&q, "a", GroupControl::Pause, at(1)).await;
    q.add(vec![named("l2", front()), named("a3", of("a"))], at(1)).await;
    order(&q, "a", GroupControl::Resume, at(2)).await;
    assert_eq!(q.take_ids(9, at(3)).await, ["l2", "b1", "l1", "a1", "a2", "a3"]);
}

/// At once to the back, later through a delay, and by hand.
pub async fn retried_jobs_go_to_the_back_of_their_group(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 4, T0).await;
    fill(&q, "b", 1, T0).await;
    let held = q.take(4, at(1)).await;
    assert_eq!(ids(&held), ["a1", "b1", "a2", "a3"]);
    q.settle(&held[0].lock, retry(at(2)), at(2)).await;
    q.settle(&held[1].lock, done(), at(2)).await;
    q.settle(&held[2].lock, retry(at(700)), at(2)).await;
    q.settle(&held[3].lock, dead(), at(2)).await;
    assert_eq!(q.edit(Edit::Retry(id("a3"), Made::Reset), at(3)).await, Edited::Done);
    assert_eq!(q.edit(Edit::Retry(id("b1"), Made::Keep), at(3)).await, Edited::Done);
    assert_eq!(take(&q, 1, at(699)).await.0, ["a4"]);
    assert_eq!(take(&q, 9, at(700)).await, (vec!["b1".into(), "a1".into(), "a3".into(), "a2".into()], Next::Empty));
    assert_eq!(q.get("a2").await.made, 1);
}

/// When they are due, and by hand; while they are delayed they belong to no line.
pub async fn delayed_jobs_join_their_group_when_they_are_due(h: &impl Harness) {
    let q = Given::on(h);
    let late = |millis| JobOptions { delay: Duration::from_millis(millis), ..of("a") };
    q.add(vec![named("d1", late(100)), named("d2", JobOptions { lifo: true, ..late(200) })], T0).await;
    q.add(vec![named("d3", late(9_000))], T0).await;
    assert_eq!((find(&q, "a").await, q.counts().await.delayed), (None, 3));
    fill(&q, "a", 1, at(1)).await;
    assert_eq!(q.edit(Edit::Promote(id("d3")), at(2)).await, Edited::Done);
    assert_eq!(info(&q, "a").await.waiting, 2);
    assert_eq!(take(&q, 0, at(200)).await.1, Next::More);
    assert_eq!(take(&q, 9, at(200)).await, (vec!["a1".into(), "d3".into(), "d1".into(), "d2".into()], Next::Empty));
    order(&q, "a", GroupControl::Pause, at(201)).await;
    q.add(vec![named("d4", late(10))], at(201)).await;
    assert_eq!(take(&q, 9, at(300)).await, (vec![], Next::Full));
    assert_eq!(q.get("d4").await.state, State::Prioritized);
}

/// The last job that came while its owner ran is added to its group; a scheduler's jobs carry one too.
pub async fn deduplicated_and_scheduled_jobs_have_groups(h: &impl Harness) {
    use launchkit_queue::{Dedup, Repeat, Schedule};
    let q = Given::on(h);
    let kept = JobOptions { deduplication: Some(Dedup::keep_last("d")), ..of("a") };
    q.add(vec![named("a1", kept.clone())], T0).await;
    let held = q.one(at(1)).await;
    q.add(vec![named("a2", kept)], at(2)).await;
    q.settle(&held.lock, done(), at(3)).await;
    assert_eq!((info(&q, "a").await.waiting, q.get("a2").await.state), (1, State::Prioritized));
    let hourly = Schedule::Every(Duration::from_secs(3_600));
    let repeat = Repeat::named("r", hourly, "n", &1).expect("a scheduler");
    let repeat = std::sync::Arc::new(Repeat { options: of("b"), ..repeat });
    let put = |first| Edit::Schedule(Put { repeat: repeat.clone(), first });
    assert_eq!(q.edit(put(at(4)), at(4)).await, Edited::Due(at(4)));
    assert_eq!(info(&q, "b").await.waiting, 1);
    let other = std::sync::Arc::new(Repeat { start: Some(at(9)), ..(*repeat).clone() });
    assert_eq!(q.edit(Edit::Schedule(Put { repeat: other, first: at(9) }), at(5)).await, Edited::Due(at(9)));
    assert_eq!(find(&q, "b").await, None, "its job was withdrawn");
    assert_eq!(take(&q, 9, at(9)).await.0.len(), 2);
}
