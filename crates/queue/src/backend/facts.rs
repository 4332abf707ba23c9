//! What a store knows about where a job stands: one bounded read.

use super::flow::Child;
use super::groups::GroupInfo;
use super::verbs::Info;
use crate::job::{JobId, Record};
use crate::time::Timestamp;

/// Ready jobs in front of another that are counted at the most.
pub const MAX_AHEAD: u32 = 10_000;

/// Pending children of a job that are looked at.
pub const MAX_PENDING: u32 = 10;

/// What [`crate::explain`] goes by.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The job, if the queue holds it.
    pub job: Option<Record>,
    /// When the lock of an active job ends.
    pub lock_until: Option<Timestamp>,
    /// How many ready jobs are taken before this ready one, of a group's job: how many of its group; [`MAX_AHEAD`] and one
    /// more when there are more than that.
    pub ahead: u32,
    /// The running owner of its deduplication id, at whose end a job is added that the queue does not hold yet.
    pub follows: Option<JobId>,
    /// How many children of it are pending.
    pub pending: u32,
    /// Up to [`MAX_PENDING`] of those, the ones first that have failed without a word on what becomes of their parent.
    pub children: Vec<Child>,
    /// Its group, if it belongs to one that is there.
    pub group: Option<GroupInfo>,
    /// The queue and its workers.
    pub info: Info,
}
