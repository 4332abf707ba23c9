//! What a store knows about where a job stands: one bounded read.

use super::groups::GroupInfo;
use super::verbs::Info;
use crate::job::Record;
use crate::time::Timestamp;

/// Ready jobs in front of another that are counted at the most.
pub const MAX_AHEAD: u32 = 10_000;

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
    /// Its group, if it belongs to one that is there.
    pub group: Option<GroupInfo>,
    /// The queue and its workers.
    pub info: Info,
}
