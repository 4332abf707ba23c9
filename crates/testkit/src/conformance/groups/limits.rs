//! What is set for a group: pauses, caps, rates, holds.

use launchkit_queue::Rate;

use super::*;

fn a_second(max: u32) -> Rate {
    Rate { max: NonZeroU32::new(max).expect("not zero"), per: Duration::from_secs(1) }
}

async fn rated(q: &Given, group: &str, max: u32, now: Timestamp) {
    let settings = GroupSettings { rate: Some(a_second(max)), ..GroupSettings::default() };
    order(q, group, GroupControl::Set(settings), now).await;
}

async fn default(q: &Given, concurrency: u32, rate: Option<Rate>, now: Timestamp) {
    let defaults = GroupDefaults { concurrency: NonZeroU32::new(concurrency), rate };
    q.backend.control(&q.queue, Control::GroupDefaults(defaults), now).await.expect("control");
}

/// Its jobs stay where they are and in their order; adding and holding go on.
pub async fn a_paused_group_gives_out_nothing_and_the_others_go_on(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 3, T0).await;
    fill(&q, "b", 2, T0).await;
    let held = q.one(at(1)).await;
    assert_eq!(held.lock.id, id("a1"));
    order(&q, "a", GroupControl::Pause, at(2)).await;
    assert_eq!(info(&q, "a").await.status(at(2)), GroupStatus::Paused);
    q.add(vec![named("late", of("a"))], at(2)).await;
    assert_eq!(take(&q, 9, at(3)).await, (vec!["b1".into(), "b2".into()], Next::Full));
    q.settle(&held.lock, done(), at(4)).await;
    assert_eq!((q.next(at(5)).await, q.counts().await.prioritized), (Next::Full, 3));
    q.backend.wait(&q.queue, Duration::ZERO).await.expect("wait");
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let (woken, ()) = tokio::join!(wait, order(&q, "a", GroupControl::Resume, at(6)));
    woken.expect("is woken").expect("wait");
    assert_eq!(take(&q, 9, at(7)).await, (vec!["a2".into(), "a3".into(), "late".into()], Next::Empty));
}

/// The rest waits for an end, which calls somebody; other groups do not wait.
pub async fn no_more_of_a_group_are_active_than_its_cap(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 4, T0).await;
    cap(&q, "a", 2, T0).await;
    let held = q.take(9, at(1)).await;
    assert_eq!(ids(&held), ["a1", "a2"]);
    assert_eq!((q.next(at(2)).await, info(&q, "a").await.status(at(2))), (Next::Full, GroupStatus::Full));
    fill(&q, "b", 1, at(2)).await;
    assert_eq!(take(&q, 9, at(3)).await, (vec!["b1".into()], Next::Full));
    q.backend.wait(&q.queue, Duration::ZERO).await.expect("wait");
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let end = async { q.turn(vec![verdict(&held[0].lock, done())], None, at(4)).await };
    let (woken, _) = tokio::join!(wait, end);
    woken.expect("is woken").expect("wait");
    assert_eq!(take(&q, 9, at(5)).await, (vec!["a3".into()], Next::Full));
    cap(&q, "a", 3, at(6)).await;
    assert_eq!(take(&q, 9, at(7)).await, (vec!["a4".into()], Next::Empty));
}

/// In fixed windows, as a queue's; whoever finds nothing to do is told when to come again.
pub async fn a_group_starts_no_more_than_its_rate(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 5, T0).await;
    rated(&q, "a", 2, T0).await;
    assert_eq!(take(&q, 9, at(300)).await, (vec!["a1".into(), "a2".into()], Next::Limited(at(1_300))));
    assert_eq!(info(&q, "a").await.status(at(301)), GroupStatus::Limited(at(1_300)));
    q.add(vec![named("d", delay(100)), named("e", of("b"))], at(400)).await;
    assert_eq!(take(&q, 9, at(400)).await, (vec!["e".into()], Next::Limited(at(500))));
    assert_eq!(take(&q, 9, at(1_299)).await, (vec!["d".into()], Next::Limited(at(1_300))));
    assert_eq!(take(&q, 1, at(1_300)).await, (vec!["a3".into()], Next::More));
    assert_eq!(take(&q, 9, at(1_400)).await, (vec!["a4".into()], Next::Limited(at(2_300))));
    order(&q, "a", GroupControl::ClearRate, at(1_500)).await;
    assert_eq!(take(&q, 9, at(1_500)).await, (vec!["a5".into()], Next::Empty));
}

/// A job that is handed out only to be failed starts nothing.
pub async fn doomed_jobs_of_a_group_do_not_count_as_starts(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 3, T0).await;
    rated(&q, "a", 1, T0).await;
    q.edit(Edit::Cancel(id("a1")), T0).await;
    assert_eq!(take(&q, 9, at(1)).await, (vec!["a1".into(), "a2".into()], Next::Limited(at(1_001))));
}

/// Lowered and lifted, they hold for the groups that there are; a setting of its own goes before.
pub async fn defaults_hold_for_groups_without_settings(h: &impl Harness) {
    let q = Given::on(h);
    for group in ["a", "b", "own"] {
        fill(&q, group, 4, T0).await;
    }
    cap(&q, "own", 3, T0).await;
    default(&q, 1, None, at(1)).await;
    let (taken, next) = take(&q, 12, at(1)).await;
    assert_eq!(
        (taken, next),
        (vec!["a1".into(), "b1".into(), "own1".into(), "own2".into(), "own3".into()], Next::Full)
    );
    assert_eq!(info(&q, "a").await.limits.concurrency, NonZeroU32::new(1));
    assert_eq!(info(&q, "own").await.limits.concurrency, NonZeroU32::new(3));
    let told = q.backend.info(&q.queue, at(1)).await.expect("info");
    assert_eq!((told.groups, told.group_defaults.concurrency), (3, NonZeroU32::new(1)));
    default(&q, 0, Some(a_second(2)), at(2)).await;
    let (taken, next) = take(&q, 12, at(2)).await;
    assert_eq!((taken, next), (vec!["a2".into(), "b2".into(), "a3".into(), "b3".into()], Next::Limited(at(1_002))));
    default(&q, 0, None, at(3)).await;
    assert_eq!(take(&q, 12, at(3)).await, (vec!["a4".into(), "b4".into()], Next::Full));
}

/// A queue has more groups than one turn looks at.
pub async fn lifted_defaults_reach_every_group(h: &impl Harness) {
    let q = Given::on(h);
    let groups = 2 * MAX_PROMOTE + 50;
    q.add((0..2 * groups).map(|n| job(of(&format!("t{}", n % groups)))).collect(), T0).await;
    default(&q, 1, None, T0).await;
    assert_eq!(take(&q, 999, at(1)).await.0.len(), groups);
    default(&q, 2, None, at(2)).await;
    let mut taken = 0;
    while q.counts().await.prioritized > 0 {
        let (ids, next) = take(&q, 999, at(3)).await;
        assert!(!ids.is_empty() || next == Next::More, "{taken} and then {next:?}");
        taken += ids.len();
    }
    assert_eq!(taken, groups);
}

/// Never shortened, only cleared; the others go on.
pub async fn a_hold_keeps_one_group_back_until_its_time(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 1, T0).await;
    fill(&q, "b", 2, T0).await;
    order(&q, "a", GroupControl::HoldUntil(at(500)), T0).await;
    order(&q, "a", GroupControl::HoldUntil(at(20)), T0).await;
    assert_eq!(take(&q, 1, at(30)).await, (vec!["b1".into()], Next::More));
    assert_eq!(take(&q, 9, at(40)).await, (vec!["b2".into()], Next::Limited(at(500))));
    assert_eq!(take(&q, 9, at(500)).await, (vec!["a1".into()], Next::Empty));
    fill(&q, "c", 1, at(600)).await;
    order(&q, "c", GroupControl::HoldUntil(at(9_000)), at(600)).await;
    assert_eq!(take(&q, 9, at(700)).await, (vec![], Next::Limited(at(9_000))));
    order(&q, "c", GroupControl::ClearRate, at(701)).await;
    assert_eq!(take(&q, 9, at(701)).await, (vec!["c1".into()], Next::Empty));
}

/// More groups come to their time at once than one turn looks at.
pub async fn many_groups_whose_time_has_come_are_woken_in_steps(h: &impl Harness) {
    let q = Given::on(h);
    let groups = 2 * MAX_PROMOTE + 50;
    default(&q, 0, Some(a_second(1)), T0).await;
    q.add((0..2 * groups).map(|n| job(of(&format!("t{}", n % groups)))).collect(), T0).await;
    assert_eq!(take(&q, 999, at(1)).await.0.len(), groups);
    assert_eq!(take(&q, 999, at(1_000)).await, (vec![], Next::Limited(at(1_001))));
    let step = take(&q, 999, at(1_001)).await;
    assert_eq!((step.0.len(), step.1), (MAX_PROMOTE, Next::More));
    let rest = take(&q, 999, at(1_001)).await.0.len() + take(&q, 999, at(1_001)).await.0.len();
    assert_eq!((rest, q.next(at(1_002)).await), (MAX_PROMOTE + 50, Next::Empty));
}

/// It is the group's first again, uncounted, and only its group waits.
pub async fn slowing_down_a_group_gives_the_job_back_and_holds_the_group(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 2, T0).await;
    fill(&q, "b", 1, T0).await;
    q.waiting(&["w"], T0).await;
    let held = q.take(2, at(1)).await;
    assert_eq!(ids(&held), ["w", "a1"]);
    let slow = launchkit_queue::Outcome::SlowDownGroup(at(500));
    let ends = held.iter().map(|held| verdict(&held.lock, slow.clone())).collect();
    let turned = q.turn(ends, Some(q.wish(9)), at(2)).await;
    // A job without a group is only given back.
    assert_eq!((turned.ends, ids(&turned.held)), (vec![End::Applied; 2], vec!["w".into(), "b1".into()]));
    assert_eq!(turned.next, Next::Limited(at(500)));
    let again = q.get("a1").await;
    assert_eq!((again.state, again.made), (State::Prioritized, 0));
    assert_eq!(q.turn(vec![verdict(&held[1].lock, slow)], None, at(3)).await.ends, [End::AlreadyApplied]);
    assert_eq!(take(&q, 9, at(500)).await, (vec!["a1".into(), "a2".into()], Next::Empty));
}
