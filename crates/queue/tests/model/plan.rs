//! What the next step of a history is. It favours trouble: ids that are there, ends that come twice, locks that have run out.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{
    Budget, ChildFailure, Dedup, Failure, FailureKind, Fate, JobId, JobOptions, Keep, Outcome, Overlap, Repeat,
    Schedule, Spend, State, Tick, Timestamp,
};
use launchkit_testkit::given::*;

use super::dice::Dice;
use super::side::Side;

/// What one step does. Locks and takes are named by their number, since each store has its own.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Add(usize, Vec<NewJob>),
    Flow(Vec<(usize, NewJob, Option<Under>)>),
    Turn { queue: usize, ends: Vec<(usize, Outcome, Keep)>, take: Option<(usize, Option<Rate>)> },
    Resume(usize, usize),
    Beat(usize),
    Rescue(usize, u32),
    Edit(usize, Vec<Edit>),
    Sweep(usize, Sweep),
    Control(usize, Control),
    Spend(Vec<Spend>),
    Page(usize, State, u32),
}

pub(crate) async fn step(dice: &mut Dice, side: &Side, now: Timestamp) -> Step {
    let queue = usize::from(dice.once_in(3));
    match dice.roll(40) {
        0..=8 => Step::Add(queue, (0..=dice.roll(3)).map(|_| new_job(dice, now)).collect()),
        9 | 10 if !dice.classes => flow(dice, side, now).await,
        9 | 10 => Step::Add(queue, vec![new_job(dice, now)]),
        11..=23 => turn(dice, queue, now),
        24 => Step::Resume(queue, dice.size(3)),
        25 => Step::Beat(queue),
        26 | 27 if !dice.classes => Step::Rescue(queue, dice.number(2)),
        26..=33 => {
            let ids = side.ids(queue).await;
            let mut edits = Vec::new();
            for _ in 0..=dice.roll(3) {
                edits.push(edit(dice, side, queue, &ids, now).await);
            }
            Step::Edit(queue, edits)
        }
        34 | 35 => Step::Sweep(queue, sweep(dice, side, queue, now)),
        36 | 37 => Step::Control(queue, control(dice, now)),
        38 => Step::Spend(spends(dice, side.seed)),
        _ => Step::Page(queue, *dice.one(&State::ALL), 1 + dice.number(4)),
    }
}

fn new_job(dice: &mut Dice, now: Timestamp) -> NewJob {
    let options = options(dice, now);
    match dice.once_in(3) {
        true => job(options),
        false => named(&format!("j{}", dice.roll(14)), options),
    }
}

fn options(dice: &mut Dice, now: Timestamp) -> JobOptions {
    let delay = if dice.once_in(4) { dice.roll(2_000) } else { 0 };
    let group = dice.once_in(3).then(|| (*dice.one(&["a", "b", "c"])).into());
    JobOptions {
        priority: if group.is_none() && dice.classes { dice.number(4) } else { 0 },
        delay: Duration::from_millis(delay),
        lifo: dice.once_in(6),
        attempts: dice.number(4),
        keep_logs: dice.once_in(3).then(|| dice.number(3)),
        start_before: dice.once_in(8).then(|| now.plus(Duration::from_millis(dice.roll(3_000)))),
        deduplication: dice.once_in(3).then(|| dedup(dice)),
        group,
        ..plain()
    }
}

fn dedup(dice: &mut Dice) -> Dedup {
    Dedup {
        ttl: dice.once_in(2).then(|| Duration::from_millis(1 + dice.roll(2_000))),
        extend: dice.once_in(3),
        replace: dice.once_in(3),
        keep_last_if_active: dice.once_in(3),
        reschedule: dice.once_in(3),
        ..Dedup::simple(*dice.one(&["d", "e"]))
    }
}

fn turn(dice: &mut Dice, queue: usize, now: Timestamp) -> Step {
    let mut ends: Vec<(usize, Outcome, Keep)> = Vec::new();
    for _ in 0..dice.roll(4) {
        let (lock, outcome) = (dice.size(8), outcome(dice, now));
        let last = is_last(&outcome);
        // Of jobs that end in one millisecond stores may keep either for the older one, and a parent that one of them releases
        // comes before or after what is given back in the same turn.
        if last && !(dice.classes && ends.iter().all(|(_, outcome, _)| !is_last(outcome))) {
            ends.clear();
        }
        ends.push((lock, outcome, keep(dice)));
        if last && !dice.classes {
            break;
        }
    }
    let take = (!dice.once_in(6)).then(|| (dice.size(4), dice.rate));
    Step::Turn { queue, ends, take }
}

fn is_last(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_) | Outcome::Dead(_))
}

fn outcome(dice: &mut Dice, now: Timestamp) -> Outcome {
    let soon = now.plus(Duration::from_millis(dice.roll(400))).minus(Duration::from_millis(100));
    match dice.roll(12) {
        0..=3 => Outcome::Done(json(&format!("{}", dice.roll(100)))),
        4 | 5 => Outcome::Dead(failure(dice)),
        6 | 7 => Outcome::Retry { at: soon, failure: failure(dice) },
        8 => Outcome::Later(soon),
        _ if dice.classes => Outcome::Later(soon),
        9 => Outcome::SlowDown(now.plus(hold(dice))),
        10 => Outcome::AwaitChildren,
        _ => Outcome::Back,
    }
}

/// Longer than any window: on Redis a hold ends the window that runs, as in BullMQ.
fn hold(dice: &mut Dice) -> Duration {
    Duration::from_millis(500 + dice.roll(300))
}

fn failure(dice: &mut Dice) -> Failure {
    let kinds = [FailureKind::Error, FailureKind::Panic, FailureKind::Timeout, FailureKind::GaveUp];
    let kind = *dice.one(&kinds);
    let message: &str = dice.one::<&str>(&["boom", "bang"]);
    Failure::new(kind, message)
}

fn keep(dice: &mut Dice) -> Keep {
    match dice.roll(5) {
        0 => Keep::NONE,
        1 => Keep { count: Some(dice.roll(3)), age: None },
        2 => Keep { count: None, age: Some(Duration::from_secs(dice.roll(60))) },
        _ => Keep::ALL,
    }
}

pub(crate) fn rate(dice: &mut Dice) -> Rate {
    let max = NonZeroU32::new(1 + dice.number(3)).expect("not 0");
    Rate { max, per: Duration::from_millis(1 + dice.roll(500)) }
}

/// Up to five jobs over both queues, some of which are there already.
async fn flow(dice: &mut Dice, side: &Side, now: Timestamp) -> Step {
    let stored = [side.ids(0).await, side.ids(1).await];
    let mut nodes = Vec::new();
    for index in 0..=dice.size(5) {
        let queue = dice.size(2);
        let id = (!dice.once_in(3)).then(|| id(&format!("f{index}-{}", dice.roll(6))));
        let id = match dice.once_in(8) && !stored[queue].is_empty() {
            true => Some(dice.one(&stored[queue]).clone()),
            false => id,
        };
        let job = NewJob { id, ..job(JobOptions { deduplication: None, ..options(dice, now) }) };
        let parent = match dice.roll(6) {
            0 if !stored[1].is_empty() => Some(Parent::Job(side.queue(1), dice.one(&stored[1]).clone())),
            _ if index > 0 => Some(Parent::Node(dice.size(index))),
            _ => None,
        };
        let policies = [
            ChildFailure::Wait,
            ChildFailure::FailParent,
            ChildFailure::ContinueParent,
            ChildFailure::Ignore,
            ChildFailure::Remove,
        ];
        nodes.push((queue, job, parent.map(|parent| Under { parent, on_failure: *dice.one(&policies) })));
    }
    Step::Flow(nodes)
}

async fn edit(dice: &mut Dice, side: &Side, queue: usize, ids: &[JobId], now: Timestamp) -> Edit {
    let job = match ids.is_empty() || dice.once_in(8) {
        true => id(&format!("j{}", dice.roll(14))),
        false => dice.one(ids).clone(),
    };
    match dice.roll(13) {
        0 => Edit::Progress(job, json(&format!("{}", dice.roll(100)))),
        1 => Edit::Log(job, (0..=dice.roll(3)).map(|n| format!("line {n}").into()).collect()),
        2 => Edit::Data(job, json(&format!("{{\"n\":{}}}", dice.roll(100)))),
        3 => Edit::Promote(job),
        4 | 5 => Edit::Retry(job, *dice.one(&[Made::Keep, Made::Reset])),
        6 => Edit::Remove(job),
        7 => Edit::Cancel(job),
        8 => Edit::FreeDedup((*dice.one(&["d", "e"])).into()),
        9 => Edit::Detach(job),
        10 => Edit::Schedule(put(dice, now)),
        11 => side.advance(queue, now).await.unwrap_or(Edit::Remove(job)),
        _ => Edit::Unschedule((*dice.one(&["s", "t"])).into()),
    }
}

fn put(dice: &mut Dice, now: Timestamp) -> Put {
    let every = Schedule::Every(Duration::from_secs(1 + dice.roll(2)));
    let mut repeat = Repeat::named(*dice.one(&["s", "t"]), every, "tick", &dice.roll(3)).expect("JSON");
    repeat.limit = dice.once_in(3).then(|| 1 + dice.roll(3));
    let priority = if dice.classes { dice.number(2) } else { 0 };
    repeat.options = JobOptions { priority, lifo: dice.once_in(4), ..plain() };
    repeat.overlap = *dice.one(&[Overlap::Allow, Overlap::Skip]);
    let first = now.plus(Duration::from_millis(dice.roll(3) * dice.roll(1_000)));
    Put { repeat: Arc::new(repeat), first }
}

/// The step that a worker would take from where a scheduler stands.
pub(crate) fn advance(repeat: &Repeat, slot: Timestamp, now: Timestamp) -> Edit {
    let tick = Tick::one(Fate::Run, slot, now);
    Edit::Advance(Advance { id: repeat.id.clone(), slot, next: repeat.next(slot, now), tick, left: None })
}

fn sweep(dice: &mut Dice, side: &Side, queue: usize, now: Timestamp) -> Sweep {
    let before = now.minus(Duration::from_millis(dice.roll(2_000)));
    let what = match dice.roll(6) {
        0 => SweepWhat::Clean(State::Completed, before),
        1 => SweepWhat::Clean(State::Failed, before),
        // A parent that its last child's removal releases may be drained as well, or not.
        2 if dice.classes => SweepWhat::DrainWaiting,
        3 => SweepWhat::DrainDelayed,
        4 => SweepWhat::RetryFailed(before),
        _ => SweepWhat::PromoteDelayed,
    };
    let failed = matches!(what, SweepWhat::Clean(State::Failed, _) | SweepWhat::RetryFailed(_));
    let pick = Pick {
        name: dice.once_in(4).then(|| "tick".into()),
        kind: (failed && dice.once_in(4)).then_some(FailureKind::Error),
        error: (failed && dice.once_in(4)).then(|| "oo".into()),
        since: dice.once_in(4).then(|| now.minus(Duration::from_millis(dice.roll(4_000)))),
        group: None,
    };
    let most = 1 + dice.number(4);
    Sweep { pick, dry: dice.once_in(4), ..Sweep::all(side.queue(queue), what, most) }
}

fn control(dice: &mut Dice, now: Timestamp) -> Control {
    match dice.roll(9) {
        0 => Control::Pause,
        1 | 2 => Control::Resume,
        3 => Control::Concurrency(NonZeroU32::new(1 + dice.number(3))),
        4 => Control::Concurrency(None),
        5 if dice.rate.is_none() => Control::Rate(Some(rate(dice))),
        6 if dice.rate.is_none() => Control::Rate(None),
        7 => Control::HoldUntil(now.plus(hold(dice))),
        _ => Control::ClearRate,
    }
}

fn spends(dice: &mut Dice, seed: u64) -> Vec<Spend> {
    let budget = |name: &str, max| {
        let name = format!("{name}-{seed}");
        Budget::new(&name, NonZeroU32::new(max).expect("not 0"), Duration::from_secs(1)).expect("a budget")
    };
    let (small, large) = (budget("small", 3), budget("large", 50));
    match dice.roll(3) {
        0 => vec![small.want(1 + dice.number(3))],
        1 => vec![small.want(1), large.want(dice.number(50))],
        _ => vec![large.correct(-(i32::try_from(dice.roll(20)).expect("small")))],
    }
}
