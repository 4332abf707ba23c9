//! Groups: whose turn it is.

use std::num::NonZeroU32;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Group, JobOptions, State, Timestamp};

use crate::Harness;
use crate::given::*;

mod history;
mod limits;
mod moves;
mod settings;
mod ways;

pub use history::*;
pub use limits::*;
pub use moves::*;
pub use settings::*;
pub use ways::*;

/// Options of a job of a group.
fn of(group: &str) -> JobOptions {
    JobOptions { group: Some(group.into()), ..plain() }
}

/// Adds `<group>1`, `<group>2`, … to a group.
async fn fill(q: &Given, group: &str, count: u32, now: Timestamp) {
    let options = std::sync::Arc::new(of(group));
    let new = |n: u32| NewJob { options: options.clone(), ..named(&format!("{group}{n}"), plain()) };
    let jobs: Vec<NewJob> = (1..=count).map(new).collect();
    for jobs in jobs.chunks(MAX_ADD) {
        q.add(jobs.to_vec(), now).await;
    }
}

async fn order(q: &Given, group: &str, what: GroupControl, now: Timestamp) {
    q.backend.group(&q.queue, &group.into(), what, now).await.expect("an order to a group");
}

async fn weigh(q: &Given, group: &str, weight: u32, now: Timestamp) {
    order(q, group, GroupControl::Set(GroupSettings { weight, ..GroupSettings::default() }), now).await;
}

/// At most so many active ones.
async fn cap(q: &Given, group: &str, most: u32, now: Timestamp) {
    let settings = GroupSettings { concurrency: NonZeroU32::new(most), ..GroupSettings::default() };
    order(q, group, GroupControl::Set(settings), now).await;
}

/// How a group stands that is there.
async fn info(q: &Given, group: &str) -> GroupInfo {
    find(q, group).await.unwrap_or_else(|| panic!("the group {group} is there"))
}

async fn find(q: &Given, group: &str) -> Option<GroupInfo> {
    let wanted = GroupsWanted::Ids(vec![group.into()]);
    q.backend.groups(&q.queue, &wanted, 1).await.expect("groups").pop()
}

/// What a take brings: ids, and what comes next.
async fn take(q: &Given, most: usize, now: Timestamp) -> (Vec<String>, Next) {
    let turned = q.turn(Vec::new(), Some(q.wish(most)), now).await;
    (ids(&turned.held), turned.next)
}

/// Whatever the number of the jobs that were there before.
pub async fn a_tenant_with_many_jobs_delays_another_by_one_turn(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 100_000, T0).await;
    fill(&q, "b", 1, T0).await;
    assert_eq!(q.take_ids(2, at(1)).await, ["a1", "b1"]);
    assert_eq!(q.take_ids(1, at(2)).await, ["a2"]);
    fill(&q, "c", 1, at(3)).await;
    assert!(q.take_ids(2, at(4)).await.contains(&"c1".to_owned()));
    let total = info(&q, "a").await;
    assert_eq!((total.waiting + total.active, total.in_turn), (100_000, true));
    // A case ends with a look at every job; these were only there to be many.
    while !q.sweep(SweepWhat::DrainWaiting, MAX_READ, at(5)).await.done.is_empty() {}
    assert_eq!(info(&q, "a").await.waiting, 0);
}

/// Behind every priority, and they show as prioritized.
pub async fn jobs_without_a_group_go_first(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("g", of("a")), named("p", priority(2_097_151)), named("w", plain())], T0).await;
    assert_eq!(q.list(State::Prioritized).await, ["p", "g"]);
    assert_eq!(q.get("g").await.state, State::Prioritized);
    assert_eq!(take(&q, 9, at(1)).await, (vec!["w".into(), "p".into(), "g".into()], Next::Empty));
    assert_eq!(q.told(launchkit_queue::Position::START).await.last().map(String::as_str), Some("active:g"));
}

/// However many are taken at once.
pub async fn groups_take_turns_and_within_one_the_oldest_goes_first(h: &impl Harness) {
    for most in [1, 2, 9] {
        let q = Given::queue(h, &format!("takes of {most}"));
        fill(&q, "a", 3, T0).await;
        fill(&q, "b", 3, T0).await;
        fill(&q, "c", 1, T0).await;
        assert_eq!(q.list(State::Prioritized).await, ["a1", "b1", "c1", "a2", "a3", "b2", "b3"], "heads, then lines");
        let mut taken = Vec::new();
        while taken.len() < 7 {
            taken.extend(q.take_ids(most, at(1)).await);
        }
        assert_eq!(taken, ["a1", "b1", "c1", "a2", "b2", "a3", "b3"], "{most}");
        assert_eq!(q.next(at(2)).await, Next::Empty);
    }
}

/// Ten to one in every eleven takes, in takes of any size.
pub async fn a_weight_is_a_share_of_the_turns(h: &impl Harness) {
    for most in [1, 4, 55] {
        let q = Given::queue(h, &format!("takes of {most}"));
        weigh(&q, "heavy", 10, T0).await;
        fill(&q, "light", 60, T0).await;
        fill(&q, "heavy", 60, T0).await;
        let mut taken = Vec::new();
        while taken.len() < 55 {
            taken.extend(q.take_ids(most.min(55 - taken.len()), at(1)).await);
        }
        for eleven in taken.chunks(11) {
            assert_eq!(eleven.iter().filter(|id| id.starts_with("light")).count(), 1, "{most}: {taken:?}");
        }
    }
}

/// It goes on from now, and takes nobody's turns for what it did not use.
pub async fn a_group_that_was_away_has_no_claim_to_turns_missed(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 60, T0).await;
    fill(&q, "b", 60, T0).await;
    order(&q, "b", GroupControl::Pause, T0).await;
    assert_eq!(q.take(50, at(1)).await.len(), 50);
    order(&q, "b", GroupControl::Resume, at(2)).await;
    fill(&q, "c", 60, at(2)).await;
    let taken = q.take_ids(9, at(3)).await;
    for group in ["a", "b", "c"] {
        assert_eq!(taken.iter().filter(|id| id.starts_with(group)).count(), 3, "{taken:?}");
    }
}

/// Also for the head that stands in the order already.
pub async fn a_new_weight_holds_at_once(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 30, T0).await;
    fill(&q, "b", 30, T0).await;
    assert_eq!(q.take_ids(4, at(1)).await, ["a1", "b1", "a2", "b2"]);
    weigh(&q, "b", 10, at(2)).await;
    let taken = q.take_ids(11, at(3)).await;
    assert_eq!(taken.iter().filter(|id| id.starts_with('b')).count(), 10, "{taken:?}");
    assert_eq!(taken[0], "b3");
}

/// The queue is paused, full, limited: no group changes that.
pub async fn a_queues_own_limits_stand_above_its_groups(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, "a", 3, T0).await;
    fill(&q, "b", 3, T0).await;
    let control = async |what| q.backend.control(&q.queue, what, T0).await.expect("control");
    control(Control::Pause).await;
    assert_eq!(take(&q, 9, at(1)).await, (vec![], Next::Paused));
    control(Control::Resume).await;
    control(Control::Concurrency(NonZeroU32::new(3))).await;
    assert_eq!(take(&q, 9, at(1)).await, (vec!["a1".into(), "b1".into(), "a2".into()], Next::Full));
    control(Control::Concurrency(None)).await;
    control(Control::HoldUntil(at(500))).await;
    assert_eq!(take(&q, 9, at(2)).await, (vec![], Next::Limited(at(500))));
    assert_eq!(take(&q, 9, at(500)).await.0, ["b2", "a3", "b3"]);
}

/// Orders, settings and turns are one queue's.
pub async fn groups_of_two_queues_are_independent(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    fill(&q, "a", 2, T0).await;
    fill(&other, "a", 2, T0).await;
    order(&q, "a", GroupControl::Pause, T0).await;
    assert_eq!(take(&q, 9, at(1)).await, (vec![], Next::Full));
    assert_eq!(take(&other, 9, at(1)).await, (vec!["a1".into(), "a2".into()], Next::Empty));
    assert_eq!((info(&q, "a").await.waiting, info(&other, "a").await.active), (2, 2));
    order(&q, "only", GroupControl::Pause, at(2)).await;
    assert_eq!((find(&other, "only").await, info(&q, "only").await.paused), (None, true));
}

/// The same jobs in the same order, also across many turns of the groups.
pub async fn resuming_a_take_of_groups_returns_the_same_jobs(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["w"], T0).await;
    weigh(&q, "a", 3, T0).await;
    for group in ["a", "b", "c"] {
        fill(&q, group, 400, T0).await;
    }
    let wish = q.wish(MAX_TURN);
    let first = q.turn(Vec::new(), Some(wish.clone()), at(1)).await.held;
    assert_eq!((first.len(), first[0].lock.id.as_str()), (MAX_TURN, "w"));
    let again = q.resume(&wish, at(2)).await;
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(again[5].options.group, Some(Group::new(&ids(&first)[5][..1])));
    let active: u64 = [info(&q, "a").await.active, info(&q, "b").await.active, info(&q, "c").await.active].iter().sum();
    assert_eq!(active, MAX_TURN as u64 - 1);
}
