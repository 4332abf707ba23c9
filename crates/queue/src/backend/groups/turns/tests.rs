//! The rules on a line of jobs without anything in them.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::backend::Rate;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// Groups of this queue by number, each with as many jobs as it counts.
#[derive(Default)]
struct Queue {
    fair: Fair,
    groups: BTreeMap<u32, Standing>,
    heads: BTreeMap<Key, u32>,
}

impl Queue {
    fn group(&mut self, number: u32) -> Standing {
        *self.groups.entry(number).or_insert_with(|| Standing::new(number))
    }

    fn settle(&mut self, mut group: Standing, now: Timestamp) {
        match self.fair.settle(&mut group, now) {
            Move::Stay => {}
            Move::Raise(key) => assert_eq!(self.heads.insert(key, group.number), None, "keys are unique"),
            Move::Lower(key) => assert_eq!(self.heads.remove(&key), Some(group.number), "it was the head"),
        }
        self.groups.insert(group.number, group);
        let behind: u64 = self.groups.values().map(|group| group.waiting - u64::from(group.head)).sum();
        assert_eq!(self.fair.behind, behind);
        for (key, number) in &self.heads {
            assert_eq!((self.groups[number].key(), self.groups[number].head), (*key, true));
            assert!(key.0 >= i64::from(GROUPED_CLASS) && key.0 < BEHIND, "{key:?}");
        }
    }

    fn add(&mut self, number: u32, jobs: usize) {
        for _ in 0..jobs {
            let mut group = self.group(number);
            if let Entry::Head(key) = self.fair.enter(&mut group, false, NOW) {
                assert_eq!(self.heads.insert(key, number), None, "keys are unique");
            }
            self.settle(group, NOW);
        }
    }

    fn order(&mut self, number: u32, what: GroupControl) {
        let mut group = self.group(number);
        if let Move::Lower(key) = self.fair.order(&mut group, what) {
            self.heads.remove(&key);
        }
        self.settle(group, NOW);
    }

    fn take(&mut self) -> Option<u32> {
        let (_, number) = self.heads.pop_first()?;
        let mut group = self.group(number);
        self.fair.taken(&mut group, true, NOW);
        self.settle(group, NOW);
        Some(number)
    }
}

fn weight(weight: u32) -> GroupControl {
    GroupControl::Set(GroupSettings { weight, ..GroupSettings::default() })
}

#[test]
fn each_group_has_its_share_of_every_round() {
    let mut queue = Queue::default();
    let weights = [1, 2, 3, 10];
    for (number, share) in (0..).zip(weights) {
        queue.order(number, weight(share));
        queue.add(number, 1_000);
    }
    for round in 0..50 {
        let taken: VecDeque<u32> = (0..16).filter_map(|_| queue.take()).collect();
        for (number, share) in (0..).zip(weights) {
            let got = taken.iter().filter(|taken| **taken == number).count() as u32;
            assert!(got.abs_diff(share) <= 1, "round {round}: {got} of {share} in {taken:?}");
        }
    }
}

#[test]
fn a_head_that_was_not_taken_has_cost_nothing() {
    let mut queue = Queue::default();
    queue.add(0, 5);
    queue.add(1, 5);
    for _ in 0..20 {
        queue.order(1, GroupControl::Pause);
        queue.order(1, GroupControl::Resume);
        queue.order(1, weight(7));
        queue.order(1, weight(1));
    }
    assert_eq!([queue.take(), queue.take(), queue.take(), queue.take()], [Some(0), Some(1), Some(0), Some(1)]);
    let mut group = queue.group(0);
    queue.heads.remove(&group.key());
    queue.fair.removed(&mut group, true);
    queue.settle(group, NOW);
    assert_eq!([queue.take(), queue.take()], [Some(0), Some(1)]);
}

#[test]
fn the_latest_virtual_time_still_fits_the_order_numbers() {
    let mut queue = Queue { fair: Fair { time: END_OF_TIME, ..Fair::default() }, ..Queue::default() };
    queue.add(u32::MAX, 3);
    queue.add(0, 3);
    assert_eq!((0..6).filter_map(|_| queue.take()).count(), 6);
}

#[test]
fn what_is_set_decides_and_says_when_to_look_again() {
    let rate = Rate { max: NonZeroU32::MIN, per: Duration::from_millis(500) };
    let settings = GroupSettings { rate: Some(rate), concurrency: NonZeroU32::new(2), weight: 1 };
    let mut queue = Queue::default();
    queue.order(0, GroupControl::Set(settings));
    queue.add(0, 4);
    assert_eq!((queue.take(), queue.take()), (Some(0), None));
    let until = Timestamp::from_millis(1_500);
    assert_eq!((queue.group(0).due, queue.fair.due), (Some(until), Some(until)));
    let group = queue.group(0);
    queue.settle(group, until);
    assert_eq!((queue.take(), queue.group(0).due), (Some(0), None), "full: an end says when");
    let mut group = queue.group(0);
    queue.fair.ended(&mut group);
    queue.settle(group, NOW);
    assert_eq!(queue.group(0).status(&queue.fair.defaults, NOW), GroupStatus::Limited(until));
    queue.order(0, GroupControl::HoldUntil(Timestamp::from_millis(9_000)));
    assert_eq!(queue.group(0).due, Some(Timestamp::from_millis(9_000)));
}

#[test]
fn only_what_is_worth_remembering_is_kept() {
    let rate = Rate { max: NonZeroU32::new(9).unwrap(), per: Duration::from_millis(500) };
    let mut queue = Queue::default();
    queue.fair.defaults.rate = Some(rate);
    queue.order(0, GroupControl::ClearRate);
    assert!(queue.group(0).forgettable());
    queue.add(0, 1);
    assert!(queue.take().is_some() && !queue.group(0).forgettable());
    let mut group = queue.group(0);
    queue.fair.ended(&mut group);
    queue.settle(group, NOW);
    let end = Timestamp::from_millis(1_500);
    assert_eq!((queue.group(0).due, queue.group(0).forgettable()), (Some(end), false));
    let group = queue.group(0);
    queue.settle(group, end);
    assert!(queue.group(0).forgettable());
    for kept in [weight(2), GroupControl::Pause, GroupControl::HoldUntil(end)] {
        queue.order(1, kept);
        assert!(!queue.group(1).forgettable(), "{kept:?}");
        queue.groups.remove(&1);
    }
}

#[test]
fn a_sweep_of_ready_jobs_walks_the_lines_before_the_heads() {
    let start = Cursor(i64::MIN, i64::MIN);
    assert_eq!(ranges(Place::Failed, None, 7), [(start, 7)]);
    let heads = (start, BEHIND - 1);
    assert_eq!(ranges(Place::Ready, None, i64::MAX), [(Cursor(BEHIND, i64::MIN), i64::MAX), heads]);
    let line = Cursor(BEHIND + 3, 9);
    assert_eq!(ranges(Place::Ready, Some(line), i64::MAX), [(line, i64::MAX), heads]);
    assert_eq!(ranges(Place::Ready, Some(Cursor(0, 9)), i64::MAX), [(Cursor(0, 9), BEHIND - 1)]);
}
