//! What a store knows about where a job stands: one bounded read.

use super::verbs::Info;
use crate::job::{JobId, Record};
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
    /// How many ready jobs are taken before this ready one; [`MAX_AHEAD`] and one more when there are more than that.
    pub ahead: u32,
    /// The running owner of its deduplication id, at whose end a job is added that the queue does not hold yet.
    pub follows: Option<JobId>,
    /// The queue and its workers.
    pub info: Info,
}
