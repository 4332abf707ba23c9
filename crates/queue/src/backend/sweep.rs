//! Operations over many jobs, as bounded steps.

use std::sync::Arc;

use super::verbs::Cursor;
use crate::exit::{Failure, FailureKind};
use crate::job::{JobId, QueueName};
use crate::options::Group;
use crate::state::State;
use crate::time::Timestamp;

/// One step of an operation over many jobs.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The queue.
    pub queue: QueueName,
    /// Which jobs, and what to do to them.
    pub what: SweepWhat,
    /// Only those of them; all by default.
    pub pick: Pick,
    /// Where the step before ended, or the beginning.
    pub after: Option<Cursor>,
    /// Look only: answers the jobs that it would be done to.
    pub dry: bool,
    /// At most this many are looked at in this step; at most [`MAX_READ`](super::MAX_READ).
    pub most: u32,
}

impl Sweep {
    /// The first step over all that `what` means.
    pub fn all(queue: QueueName, what: SweepWhat, most: u32) -> Self {
        Self { queue, what, pick: Pick::default(), after: None, dry: false, most }
    }
}

/// A choice among jobs; what is not given is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Of this name.
    pub name: Option<Arc<str>>,
    /// Of this group.
    pub group: Option<Group>,
    /// Failed in this way.
    pub kind: Option<FailureKind>,
    /// Failed with a message that contains this text.
    pub error: Option<Arc<str>>,
    /// In their state since this time or later.
    pub since: Option<Timestamp>,
}

impl Pick {
    /// Whether failures are asked about.
    pub(crate) fn asks_why(&self) -> bool {
        self.kind.is_some() || self.error.is_some()
    }

    /// Whether it chooses a job of this name and group, in its state since then, with this failure if it has failed.
    pub(crate) fn chooses(
        &self,
        name: &str,
        group: Option<&Group>,
        since: Timestamp,
        failure: Option<&Failure>,
    ) -> bool {
        let kind = |kind: FailureKind| failure.is_some_and(|failure| failure.kind == kind);
        let says = |text: &str| failure.is_some_and(|failure| failure.message.contains(text));
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.group.as_ref().is_none_or(|wanted| Some(wanted) == group)
            && self.since.is_none_or(|from| since >= from)
            && self.kind.is_none_or(kind)
            && self.error.as_deref().is_none_or(says)
    }
}

/// An operation over many jobs. None of them touches a job that a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SweepWhat {
    /// Removes jobs of a final state that finished at or before this time, oldest first.
    Clean(State, Timestamp),
    /// Removes jobs that wait, with or without a priority.
    DrainWaiting,
    /// Removes delayed jobs.
    DrainDelayed,
    /// Makes failed jobs ready again that failed at or before this time, oldest first; their attempts stay counted.
    RetryFailed(Timestamp),
    /// Makes delayed jobs ready, next due first.
    PromoteDelayed,
}

/// What becomes of jobs that workers hold while their queue is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldJobs {
    /// As long as there are any, nothing is removed.
    #[default]
    Refuse,
    /// They go with the rest; whoever runs one learns that it is gone.
    Remove,
}

/// The answer to one step of removing a whole queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obliterated {
    /// So many jobs are gone, and there is more: go on.
    More(u32),
    /// So many jobs are gone, and with them the queue.
    All(u32),
    /// Nothing was done: only a paused queue can be removed.
    NotPaused,
    /// Nothing was done: workers hold jobs.
    Held,
}

/// The answer to a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The jobs it was done to.
    pub done: Vec<JobId>,
    /// How many were looked at.
    pub scanned: u32,
    /// Where the next step begins, when there may be more.
    pub next: Option<Cursor>,
}
