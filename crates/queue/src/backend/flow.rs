//! Flows: jobs that wait for other jobs. Requests and replies as data, and what a child's end means for its parent, decided
//! once for every store. How a flow fits to what is stored already is decided in `plan`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::{MAX_ADD, within};
use super::verbs::{Added, NewJob};
use crate::error::StoreError;
use crate::job::{ChildFailure, JobId, Payload, QueueName};
use crate::state::State;

mod plan;

pub(crate) use plan::{Fate, Known, plan};

/// For how long a job is put off that asks to wait for children and never had any: at once, it would run for ever.
pub(crate) const CHILDLESS: Duration = Duration::from_secs(1);

/// Jobs that wait for each other, parents before their children: 1 to [`MAX_ADD`].
#[derive(Clone, Debug)]
pub struct AddFlow {
    /// The jobs.
    pub nodes: Vec<Node>,
}

/// One job of a flow.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its queue.
    pub queue: QueueName,
    /// The job.
    pub job: NewJob,
    /// Who waits for it, if anybody.
    pub parent: Option<Under>,
}

/// The place of a child.
#[derive(Clone, Debug)]
pub struct Under {
    /// Who waits for it.
    pub parent: Parent,
    /// What its final failure means for that one.
    pub on_failure: ChildFailure,
}

/// Who waits for a child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// The job at this index of the same flow, which comes before the child.
    Node(usize),
    /// A job that is stored already.
    Job(QueueName, JobId),
}

/// What became of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flowed {
    /// One answer for each job, in order.
    Added(Vec<Added>),
    /// It does not fit to what is stored: nothing was changed.
    Refused(Refused),
}

/// The job at which a flow was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its index.
    pub node: usize,
    /// Why.
    pub why: Refusal,
}

/// Why a flow does not fit to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its parent is not there.
    #[error("its parent is not there")]
    ParentMissing,
    /// Its parent, or the job itself, which was to be a parent, has ended: nobody would wait.
    #[error("its parent is {0} already")]
    ParentEnded(State),
    /// It is there already, and another job that is there waits for it.
    #[error("another parent waits for it")]
    OtherParent,
    /// Its parent would have more than [`MAX_CHILDREN`](super::MAX_CHILDREN) children.
    #[error("its parent would have more than 10,000 children")]
    TooManyChildren,
    /// It is there already under a deduplication id, and another job may take its place.
    #[error("it has a deduplication id")]
    Deduplicated,
    /// It would wait for itself, or lies so deep that this cannot be ruled out.
    #[error("it would wait for itself")]
    Circle,
}

/// One page of the children of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Children {
    /// The children, in the order in which they were added.
    pub children: Vec<Child>,
    /// How many children are pending in all.
    pub pending: u32,
    /// The number to go on after, when there may be more.
    pub next: Option<u64>,
}

/// What a parent knows of one child.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its number among the children of its parent, from 1.
    pub number: u64,
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub id: JobId,
    /// What its final failure means.
    pub on_failure: ChildFailure,
    /// Where it stands.
    pub state: ChildState,
    /// What it answered, once completed.
    pub result: Option<Payload>,
    /// Why it failed. A pending child with a reason has failed under [`ChildFailure::Wait`].
    pub reason: Option<Arc<str>>,
}

/// Where a child stands, as its parent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Its parent waits for it.
    Pending,
    /// It has completed.
    Completed,
    /// It has failed, and its parent was failed or went on.
    Failed,
    /// It has failed, and that does not matter.
    Ignored,
}

impl AddFlow {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        within(self.nodes.len(), MAX_ADD, "more than 10,000 jobs in one flow")?;
        let mut own = HashSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match node.parent.as_ref().map(|under| &under.parent) {
                Some(Parent::Node(parent)) if *parent >= index => {
                    return Err(StoreError::OutOfBounds("a child before its parent"));
                }
                _ => {}
            }
            if node.job.id.as_ref().is_some_and(|id| !own.insert((&node.queue, id))) {
                return Err(StoreError::OutOfBounds("a job twice in one flow"));
            }
        }
        match self.nodes.iter().any(|node| node.job.options.deduplication.is_some()) {
            true => Err(StoreError::OutOfBounds("a deduplication id within a flow")),
            false => Ok(()),
        }
    }

    /// Whether jobs of the flow are to be children of each.
    pub(crate) fn parents(&self) -> Vec<bool> {
        let mut parents = vec![false; self.nodes.len()];
        for node in &self.nodes {
            if let Some(Under { parent: Parent::Node(index), .. }) = node.parent {
                parents[index] = true;
            }
        }
        parents
    }
}

/// What a parent's record of a child says; the first two are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Failed, and nothing says what then becomes of the parent.
    Stuck = 0,
    Pending = 1,
    Completed = 2,
    Failed = 3,
    Ignored = 4,
}

impl Mark {
    #[cfg(feature = "sqlite")]
    pub(crate) const ALL: [Mark; 5] = [Mark::Stuck, Mark::Pending, Mark::Completed, Mark::Failed, Mark::Ignored];

    pub(crate) fn is_pending(self) -> bool {
        self <= Mark::Pending
    }

    pub(crate) fn state(self) -> ChildState {
        match self {
            Mark::Stuck | Mark::Pending => ChildState::Pending,
            Mark::Completed => ChildState::Completed,
            Mark::Failed => ChildState::Failed,
            Mark::Ignored => ChildState::Ignored,
        }
    }
}

/// Policies by their stored numbers.
#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) const POLICIES: [ChildFailure; 5] = [
    ChildFailure::Wait,
    ChildFailure::FailParent,
    ChildFailure::ContinueParent,
    ChildFailure::Ignore,
    ChildFailure::Remove,
];

/// What happened to a child that concerns its parent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    Completed(Payload),
    /// Failed for good; `gone`: and not kept.
    Failed {
        reason: Arc<str>,
        gone: bool,
    },
    /// Removed by somebody, or evicted.
    Gone,
    /// Retried by hand.
    Again,
}

/// What news of a pending child mean for its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upshot {
    /// It waits as before.
    Nothing,
    /// One pending child less; the last one releases it.
    Less,
    /// One less, and it goes on at once.
    GoesOn,
    /// One less, and it fails.
    Fails,
}

/// What becomes of the record of a pending child (`None`: it is deleted), and of its parent.
pub(crate) fn rule(news: &News, policy: ChildFailure) -> (Option<Mark>, Upshot) {
    match (news, policy) {
        (News::Completed(_), _) => (Some(Mark::Completed), Upshot::Less),
        (News::Again, _) => (Some(Mark::Pending), Upshot::Nothing),
        (News::Gone, _) => (None, Upshot::Less),
        (News::Failed { gone: true, .. }, ChildFailure::Wait) => (None, Upshot::Less),
        (News::Failed { .. }, ChildFailure::Wait) => (Some(Mark::Stuck), Upshot::Nothing),
        (News::Failed { .. }, ChildFailure::FailParent) => (Some(Mark::Failed), Upshot::Fails),
        (News::Failed { .. }, ChildFailure::ContinueParent) => (Some(Mark::Failed), Upshot::GoesOn),
        (News::Failed { .. }, ChildFailure::Ignore) => (Some(Mark::Ignored), Upshot::Less),
        (News::Failed { .. }, ChildFailure::Remove) => (None, Upshot::Less),
    }
}

/// Why a parent fails whose child has failed (BullMQ's words, without a key's prefix).
pub(crate) fn doom(queue: &QueueName, child: &JobId) -> Arc<str> {
    format!("child {queue}:{child} failed").into()
}
