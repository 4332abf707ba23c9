//! Where a job can be, which moves are legal, and what an attempt's end means. The table stands in `docs/states.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::{Failure, FailureKind, Outcome, Ran};
use crate::options::JobOptions;
use crate::time::Timestamp;

/// Where a job is: BullMQ's states under BullMQ's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Ready to run, without a priority.
    Waiting,
    /// Ready to run, with a priority or in a group.
    Prioritized,
    /// Not due yet.
    Delayed,
    /// Held by a worker under a lock.
    Active,
    /// A parent whose children are pending.
    WaitingChildren,
    /// Ended well.
    Completed,
    /// Ended badly, for good.
    Failed,
}

impl State {
    /// Every state, in the order of the table.
    pub const ALL: [State; 7] = [
        State::Waiting,
        State::Prioritized,
        State::Delayed,
        State::Active,
        State::WaitingChildren,
        State::Completed,
        State::Failed,
    ];

    /// BullMQ's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Prioritized => "prioritized",
            State::Delayed => "delayed",
            State::Active => "active",
            State::WaitingChildren => "waiting-children",
            State::Completed => "completed",
            State::Failed => "failed",
        }
    }

    /// Whether a job in this state has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Failed)
    }

    /// Whether a job in this state may be taken when its turn comes.
    pub fn is_ready(self) -> bool {
        matches!(self, State::Waiting | State::Prioritized)
    }

    /// The state of a job that is ready to run with this priority.
    pub fn ready(priority: u32) -> State {
        if priority == 0 { State::Waiting } else { State::Prioritized }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a store keeps a job: the states, with both kinds of ready jobs in one order, as they are taken.
///
/// Every place is ordered by two numbers: (priority, turn) when ready, (due, turn) when delayed, (lock's end, turn) when
/// active, (finish, turn) when finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Ready = 0,
    Delayed = 1,
    Active = 2,
    WaitingChildren = 3,
    Completed = 4,
    Failed = 5,
}

impl Place {
    #[cfg(feature = "sqlite")]
    pub(crate) const ALL: [Place; 6] =
        [Place::Ready, Place::Delayed, Place::Active, Place::WaitingChildren, Place::Completed, Place::Failed];

    pub(crate) fn state(self, priority: u32) -> State {
        match self {
            Place::Ready => State::ready(priority),
            Place::Delayed => State::Delayed,
            Place::Active => State::Active,
            Place::WaitingChildren => State::WaitingChildren,
            Place::Completed => State::Completed,
            Place::Failed => State::Failed,
        }
    }

    pub(crate) fn of(state: State) -> Place {
        match state {
            State::Waiting | State::Prioritized => Place::Ready,
            State::Delayed => Place::Delayed,
            State::Active => Place::Active,
            State::WaitingChildren => Place::WaitingChildren,
            State::Completed => Place::Completed,
            State::Failed => Place::Failed,
        }
    }

    /// The priorities that a list of this state shows, as a range of the first order number of [`Place::Ready`].
    pub(crate) fn keys(state: State) -> (i64, i64) {
        match state {
            State::Waiting => (0, 0),
            State::Prioritized => (1, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        }
    }
}

/// What makes the next taker fail a job instead of running it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doom {
    pub(crate) stalled_out: bool,
    pub(crate) canceled: bool,
    pub(crate) start_before: Option<Timestamp>,
    /// Whether some worker had started it before.
    pub(crate) started: bool,
}

impl Doom {
    /// The failure to settle the job with, if any. Messages are BullMQ's where it has one.
    pub(crate) fn failure(self, now: Timestamp) -> Option<Failure> {
        if self.canceled {
            return Some(Failure::new(FailureKind::Canceled, "the job was canceled"));
        }
        if self.stalled_out {
            return Some(Failure::new(FailureKind::Stalled, "job stalled more than allowable limit"));
        }
        match self.start_before {
            Some(limit) if !self.started && limit < now => {
                Some(Failure::new(FailureKind::Expired, "no worker started the job in time"))
            }
            _ => None,
        }
    }
}

/// How many jobs are in each state: BullMQ's seven disjoint counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Ready without a priority.
    pub waiting: u64,
    /// Ready with a priority or in a group.
    pub prioritized: u64,
    /// Not due yet.
    pub delayed: u64,
    /// Held by workers.
    pub active: u64,
    /// Parents with pending children.
    pub waiting_children: u64,
    /// Ended well and still kept.
    pub completed: u64,
    /// Ended badly and still kept.
    pub failed: u64,
}

impl Counts {
    /// The count of one state.
    pub fn of(&self, state: State) -> u64 {
        let mut copy = *self;
        *copy.slot(state)
    }

    /// All jobs.
    pub fn total(&self) -> u64 {
        State::ALL.iter().map(|&state| self.of(state)).sum()
    }

    pub(crate) fn slot(&mut self, state: State) -> &mut u64 {
        match state {
            State::Waiting => &mut self.waiting,
            State::Prioritized => &mut self.prioritized,
            State::Delayed => &mut self.delayed,
            State::Active => &mut self.active,
            State::WaitingChildren => &mut self.waiting_children,
            State::Completed => &mut self.completed,
            State::Failed => &mut self.failed,
        }
    }
}

/// What the end of an attempt means for its job.
///
/// `made` is the number of counted attempts before this one, `draw` a random number in [0, 1) for jitter.
/// Follows BullMQ's outcome table: an unrecoverable failure is final, another one is tried again after its backoff
/// while `made + 1 < attempts`, and neither a snooze nor a give-back counts.
pub fn decide(ran: Ran, made: u32, options: &JobOptions, now: Timestamp, draw: f64) -> Outcome {
    match ran {
        Ran::Done(result) => Outcome::Done(result),
        Ran::Later(wait) => Outcome::Later(now.plus(wait)),
        Ran::SlowDown(wait) => Outcome::SlowDown(now.plus(wait)),
        Ran::AwaitChildren => Outcome::AwaitChildren,
        Ran::SlowDownGroup(wait) if options.group.is_some() => Outcome::SlowDownGroup(now.plus(wait)),
        Ran::SlowDownGroup(wait) => Outcome::SlowDown(now.plus(wait)),
        Ran::Interrupted => Outcome::Back,
        Ran::Failed(failure) => after_failure(failure, made, options, now, draw),
    }
}

fn after_failure(failure: Failure, made: u32, options: &JobOptions, now: Timestamp, draw: f64) -> Outcome {
    let attempt = made.saturating_add(1);
    if is_final_kind(failure.kind) || attempt >= options.attempts {
        return Outcome::Dead(failure);
    }
    let at = now.plus(options.backoff.delay(attempt, draw));
    Outcome::Retry { at, failure }
}

fn is_final_kind(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Error | FailureKind::Panic | FailureKind::Timeout => false,
        FailureKind::Stalled
        | FailureKind::GaveUp
        | FailureKind::Canceled
        | FailureKind::Expired
        | FailureKind::Damaged
        | FailureKind::Child => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backoff::Backoff;
    use crate::job::Payload;

    fn failed(kind: FailureKind) -> Ran {
        Ran::Failed(Failure::new(kind, "no"))
    }

    fn options(attempts: u32) -> JobOptions {
        JobOptions { attempts, backoff: Backoff::exponential(Duration::from_secs(2)), ..JobOptions::default() }
    }

    #[test]
    fn three_attempts_wait_two_and_four_seconds_then_die() {
        let now = Timestamp::from_millis(1_000);
        let at = |made| match decide(failed(FailureKind::Error), made, &options(3), now, 0.0) {
            Outcome::Retry { at, .. } => Some(at.millis() - 1_000),
            Outcome::Dead(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!([at(0), at(1), at(2), at(3)], [Some(2_000), Some(4_000), None, None]);
    }

    #[test]
    fn only_errors_panics_and_timeouts_are_tried_again() {
        for kind in FailureKind::ALL {
            let again =
                matches!(decide(failed(kind), 0, &options(3), Timestamp::default(), 0.0), Outcome::Retry { .. });
            let expected = matches!(kind, FailureKind::Error | FailureKind::Panic | FailureKind::Timeout);
            assert_eq!(again, expected, "{kind:?}");
        }
    }

    #[test]
    fn zero_and_one_attempts_both_mean_one_try() {
        for attempts in [0, 1] {
            let out = decide(failed(FailureKind::Error), 0, &options(attempts), Timestamp::default(), 0.0);
            assert!(matches!(out, Outcome::Dead(_)));
        }
    }

    #[test]
    fn success_snooze_and_interruption_pass_through() {
        let now = Timestamp::from_millis(10);
        assert!(matches!(decide(Ran::Done(Payload::null()), 9, &options(1), now, 0.0), Outcome::Done(_)));
        assert!(matches!(decide(Ran::Interrupted, 9, &options(1), now, 0.0), Outcome::Back));
        let Outcome::Later(at) = decide(Ran::Later(Duration::from_millis(5)), 9, &options(1), now, 0.0) else {
            panic!()
        };
        assert_eq!(at.millis(), 15);
    }

    #[test]
    fn a_job_without_a_group_slows_down_the_queue() {
        let slow = |options: &JobOptions| {
            decide(Ran::SlowDownGroup(Duration::from_millis(5)), 0, options, Timestamp::from_millis(10), 0.0)
        };
        let until = Timestamp::from_millis(15);
        assert_eq!(slow(&options(1)), Outcome::SlowDown(until));
        assert_eq!(slow(&JobOptions { group: Some("g".into()), ..options(1) }), Outcome::SlowDownGroup(until));
    }
}
