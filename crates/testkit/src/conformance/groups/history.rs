//! Long histories of everything that touches groups, beside the store in memory, which is the specification.

use std::sync::Arc;

use launchkit_queue::backend::memory::Memory;
use launchkit_queue::{Keep, Outcome, Rate};

use super::*;
use crate::Dice;

fn group(dice: &mut Dice) -> String {
    (*dice.one(&["a", "b", "c", "d", "e"])).to_owned()
}

/// One of the two stores, with the locks that are held there.
struct Side {
    q: Given,
    locks: Vec<Lock>,
}

/// What one step does; the same on both.
#[derive(Clone, Debug)]
enum Step {
    Add(Vec<NewJob>),
    Turn { ends: Vec<(usize, Outcome, Keep)>, take: Take },
    Order(Group, GroupControl),
    Control(Control),
    Edit(Edit),
    Rescue,
    Drain(SweepWhat, u32),
}

fn options(dice: &mut Dice) -> JobOptions {
    let group = (dice.roll(6) > 0).then(|| group(dice).into());
    let delay = if dice.roll(5) == 0 { dice.roll(400) } else { 0 };
    let priority = if group.is_none() { dice.roll(3) as u32 } else { 0 };
    JobOptions { group, priority, lifo: dice.roll(6) == 0, delay: Duration::from_millis(delay), ..plain() }
}

fn outcome(dice: &mut Dice, now: Timestamp) -> Outcome {
    let soon = now.plus(Duration::from_millis(dice.roll(300)));
    match dice.roll(8) {
        0 | 1 => done(),
        2 => dead(),
        3 => retry(soon),
        4 => Outcome::Later(soon),
        5 => Outcome::SlowDownGroup(soon),
        6 => Outcome::SlowDown(soon.minus(Duration::from_millis(250))),
        _ => Outcome::Back,
    }
}

fn rate(dice: &mut Dice) -> Option<Rate> {
    let max = NonZeroU32::new(dice.roll(3) as u32)?;
    Some(Rate { max, per: Duration::from_millis(1 + dice.roll(500)) })
}

fn order_of(dice: &mut Dice, now: Timestamp) -> GroupControl {
    match dice.roll(7) {
        0 | 1 => GroupControl::Pause,
        2 | 3 => GroupControl::Resume,
        4 => GroupControl::HoldUntil(now.plus(Duration::from_millis(dice.roll(300)))),
        5 => GroupControl::ClearRate,
        _ => {
            let (concurrency, rate) = (NonZeroU32::new(dice.roll(4) as u32), rate(dice));
            GroupControl::Set(GroupSettings { weight: 1 + dice.roll(4) as u32, concurrency, rate })
        }
    }
}

fn edit_of(dice: &mut Dice, jobs: u64) -> Edit {
    let job = id(&format!("j{}", dice.roll(jobs.max(1))));
    match dice.roll(4) {
        0 => Edit::Promote(job),
        1 => Edit::Retry(job, Made::Reset),
        2 => Edit::Cancel(job),
        _ => Edit::Remove(job),
    }
}

fn step(dice: &mut Dice, jobs: &mut u64, held: usize, wish: Take, now: Timestamp) -> Step {
    match dice.roll(20) {
        0..=5 => {
            let mut new = |_| {
                *jobs += 1;
                named(&format!("j{}", *jobs - dice.roll(8).saturating_sub(6)), options(dice))
            };
            Step::Add((0..4).map(&mut new).collect())
        }
        6..=12 => {
            let count = if held == 0 { 0 } else { dice.roll(4) as usize };
            let keep = |dice: &mut Dice| if dice.roll(2) == 0 { Keep::ALL } else { Keep::NONE };
            let end = |dice: &mut Dice| (dice.roll(held.max(1) as u64) as usize, outcome(dice, now), keep(dice));
            let ends = (0..count).map(|_| end(dice)).collect();
            Step::Turn { ends, take: Take { most: dice.roll(7) as usize, ..wish } }
        }
        13 | 14 => Step::Order(group(dice).into(), order_of(dice, now)),
        15 if dice.roll(2) == 0 => {
            let (concurrency, rate) = (NonZeroU32::new(dice.roll(3) as u32), rate(dice));
            Step::Control(Control::GroupDefaults(GroupDefaults { concurrency, rate }))
        }
        15 => Step::Control(Control::Concurrency(NonZeroU32::new(dice.roll(9) as u32))),
        16 | 17 => Step::Edit(edit_of(dice, *jobs)),
        18 => Step::Rescue,
        _ => match dice.roll(8) {
            0 => Step::Drain(SweepWhat::DrainWaiting, 1 + dice.roll(5) as u32),
            1 => Step::Drain(SweepWhat::RetryFailed(now), 3),
            _ => Step::Drain(SweepWhat::PromoteDelayed, 2),
        },
    }
}

impl Side {
    /// What a step answers, as text.
    async fn go(&mut self, step: &Step, now: Timestamp) -> String {
        match step {
            Step::Add(jobs) => format!("{:?}", self.q.add(jobs.clone(), now).await),
            Step::Turn { ends, take } => {
                let verdict = |(held, outcome, keep): &(usize, Outcome, Keep)| {
                    let lock = self.locks.get(held % self.locks.len().max(1))?.clone();
                    Some(Verdict { lock, outcome: outcome.clone(), keep: *keep, ran: None })
                };
                let ends = ends.iter().filter_map(verdict).collect();
                let turned = self.q.turn(ends, Some(take.clone()), now).await;
                self.locks.extend(turned.held.iter().map(|held| held.lock.clone()));
                let doomed: Vec<bool> = turned.held.iter().map(|held| held.failed_already.is_some()).collect();
                format!("{:?} {:?} {doomed:?} {:?}", turned.ends, ids(&turned.held), turned.next)
            }
            Step::Order(group, what) => {
                self.q.backend.group(&self.q.queue, group, *what, now).await.expect("an order to a group");
                String::new()
            }
            Step::Control(what) => {
                self.q.backend.control(&self.q.queue, *what, now).await.expect("control");
                String::new()
            }
            Step::Edit(edit) => format!("{:?}", self.q.edit(edit.clone(), now).await),
            // Jobs of several classes are answered in no order that is promised.
            Step::Rescue => {
                let mut rescued = self.q.rescue(1, now).await;
                rescued.jobs.sort();
                format!("{rescued:?}")
            }
            // Cursors are a store's own.
            Step::Drain(what, most) => {
                let swept = self.q.sweep(*what, *most, now).await;
                format!("{:?} {} {}", swept.done, swept.scanned, swept.next.is_some())
            }
        }
    }

    /// Everything that groups are about.
    async fn state(&self) -> String {
        let wanted = GroupsWanted::After(None);
        let groups = self.q.backend.groups(&self.q.queue, &wanted, MAX_READ).await.expect("groups");
        let lists = (self.q.list(State::Waiting).await, self.q.list(State::Prioritized).await);
        format!("{groups:?} {lists:?} {:?} {:?}", self.q.list(State::Active).await.len(), self.q.counts().await)
    }
}

/// Six histories of 400 steps: the same answers and the same order, and what must always hold holds.
pub async fn any_history_of_groups_goes_as_specified(h: &impl Harness) {
    for seed in 1..=6 {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new());
        let q = Given::queue(h, &format!("history {seed}"));
        let specified = Given::over(memory, q.queue.clone());
        let mut sides = [Side { q, locks: Vec::new() }, Side { q: specified, locks: Vec::new() }];
        let (mut dice, mut jobs, mut now, mut steps) = (Dice::new(seed), 0, T0, Vec::new());
        for n in 0..400 {
            now = now.plus(Duration::from_millis(if dice.roll(40) == 0 { 31_000 } else { dice.roll(60) }));
            let (held, wish) = (sides[0].locks.len(), sides[0].q.wish(0));
            let next = step(&mut dice, &mut jobs, held, wish, now);
            steps.push((now, next.clone()));
            let answers = [sides[0].go(&next, now).await, sides[1].go(&next, now).await];
            let last = &steps[steps.len().saturating_sub(3)..];
            assert_eq!(answers[0], answers[1], "seed {seed}, step {n}: {last:#?}");
            assert_eq!(sides[0].state().await, sides[1].state().await, "seed {seed}, step {n}: {last:#?}");
            for side in &mut sides {
                let newest = side.locks.len().saturating_sub(12);
                side.locks.drain(..newest);
            }
            if n % 20 == 0 {
                crate::invariants::check(&*sides[0].q.backend).await;
                crate::invariants::check(&*sides[1].q.backend).await;
            }
        }
        assert!(jobs > 200, "much has been added: {jobs}");
    }
}
