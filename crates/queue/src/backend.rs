//! The seam: what every store does, and what the queue and the worker may ask of it.
//!
//! Rules that hold for every store, each pinned by conformance cases:
//!
//! * Whatever must be atomic is one verb. A verb answers only after what it promises is done ([`Promises`]).
//! * `now` is an argument: no store reads a clock.
//! * Input is owned and comes back when a write fails; [`Failed`] says whether the write may have happened.
//! * Every write that ends or extends a run carries its lock. A lost lock is an answer, not an error.
//! * A settle or renewal after the lock's expiry is lost, whether or not somebody took the job.
//! * Asking again is safe: a take with `resume` returns what its token already holds, a repeated verdict answers
//!   [`End::AlreadyApplied`]. Dropping a verb's future equals a lost answer.
//! * Work is bounded: no verb grows with the number of jobs stored.
//! * Time is bounded: a verb answers, or says that it cannot, within some seconds. A worker gives a call up that takes longer than
//!   [`ANSWER`] and asks again; other callers wait as long as they like.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Failed, StoreError};
use crate::event::Position;
use crate::job::{JobId, QueueName, Record};
use crate::options::Group;
use crate::repeat::Tick;
use crate::state::Counts;
use crate::time::Timestamp;

mod bounds;
mod dedup;
mod facts;
pub(crate) mod flow;
mod groups;
mod limits;
pub mod memory;
mod metrics;
#[cfg(feature = "redis")]
pub mod redis;
pub(crate) mod repeat;
pub(crate) mod spend;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod sweep;
pub mod verbs;

pub use bounds::*;
pub use facts::*;
pub use flow::{AddFlow, Child, ChildState, Children, Flowed, Node, Parent, Refusal, Refused, Under};
pub use groups::{GroupControl, GroupDefaults, GroupInfo, GroupSettings, GroupStatus, GroupsWanted, MAX_WEIGHT};
#[cfg(any(test, feature = "sqlite"))]
pub(crate) use limits::Room;
pub use limits::{Limits, MAX_RATE_TIME, Rate};
pub use metrics::{BUCKETS, Histogram, MAX_MINUTES, Minute};
pub use repeat::{Advance, Put, RepeatPage, Repeats, Scheduled};
pub use spend::{Budget, MAX_BUDGET_TIME, MAX_SPENDS, Spend, Spent};
pub use sweep::*;
pub use verbs::*;

/// What a store does. Implemented by this crate's stores and by the wrappers of its tests; not meant for others yet,
/// since verbs will be added.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Adds jobs in order, all or none; on Redis in steps of 1,000 jobs, each all or none, and what a step that failed leaves
    /// undone the steps before it do not: [`Failed`] then says [`Unknown`](crate::Happened::Unknown). A job whose own id exists already is left as it is and answered as such;
    /// likewise the owner of its deduplication id.
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>>;

    /// Adds jobs that wait for each other, over several queues, parents before their children, all or none. Those whose own
    /// id exists already are left as they are and linked; what cannot be linked is refused with everything else.
    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>>;

    /// Ends held jobs and takes new ones, in one trip; either part may be empty. Each verdict has its own answer: one
    /// that cannot be applied does not touch the others.
    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>>;

    /// Renews locks and registers the worker; also without locks, as a sign of life.
    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>>;

    /// Puts jobs whose lock has expired back in front of their class.
    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError>;

    /// Returns when work may have come, or after `at_most`. A hint: one waiter is woken for each reason to look, and the
    /// one who finds more than it can take wakes the next.
    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError>;

    /// Returns when there are events after `after`, or after `at_most`.
    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError>;

    /// Changes single jobs, in order; each change has its own answer.
    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>>;

    /// One bounded step of an operation over many jobs. Call again with the cursor it answers until that is `None`.
    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>>;

    /// Removes a paused queue in bounded steps: its jobs, at most `most` (which is at most [`MAX_READ`]) in each; with the last
    /// of them its schedulers, groups, settings, counters and events. Parents in other queues go on as if their children had been removed.
    /// What is added meanwhile may go with the rest. A queue that there is not is gone at once.
    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError>;

    /// Spends from budgets that the whole store shares, all or nothing; at most [`MAX_SPENDS`]. A lost answer may have spent.
    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError>;

    /// Pauses, resumes or limits a queue.
    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError>;

    /// Sets, pauses, resumes or holds one group; it need not hold jobs. A queue on Redis has at most 1,048,576 groups at once.
    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Reads groups, at most `most` of them, which is at most [`MAX_READ`].
    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError>;

    /// Reads jobs by id; at most [`MAX_READ`].
    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Reads one page of the jobs in a state.
    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError>;

    /// How many jobs are in each state.
    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError>;

    /// Reads log lines of a job, oldest first, from the `skip`-th kept one on; at most [`MAX_READ`].
    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError>;

    /// Reads children of a job in the order in which they were added, from the one after number `after` on; at most
    /// [`MAX_READ`]. What they ended with stays readable after they are gone themselves, as long as their parent is there.
    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError>;

    /// Reads events after a position; at most [`MAX_READ`] and what shares a transaction with the last of them.
    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError>;

    /// What an operator wants to know of a queue at a glance.
    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError>;

    /// Minutes in which anything was taken or ended, newest first, from the one before `before` on; at most [`MAX_READ`].
    async fn metrics(&self, queue: &QueueName, before: Option<Timestamp>, most: u32)
    -> Result<Vec<Minute>, StoreError>;

    /// Reads job schedulers; looks at no more than `most` of them, which is at most [`MAX_READ`].
    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError>;

    /// What became of a scheduler's slots, newest first; at most [`MAX_READ`], and no more than
    /// [`MAX_TICKS`](crate::MAX_TICKS) are kept.
    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError>;

    /// What is known about where a job stands.
    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError>;

    /// Names of all queues that hold or held anything.
    async fn queues(&self) -> Result<Vec<QueueName>, StoreError>;

    /// Claims the store for a deployment when nobody has yet, and answers whose it is.
    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError>;

    /// What this store promises.
    fn promises(&self) -> Promises;

    /// Finishes what is waiting to be written and lets go of files and threads. Later verbs answer
    /// [`StoreError::Closed`].
    async fn close(&self);
}
