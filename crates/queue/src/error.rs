//! Errors, one small type per operation, named by what the caller can do.

use std::time::Duration;

use crate::job::{Flaw, MAX_PAYLOAD};
use crate::options::{MAX_DELAY, MAX_PRIORITY, MAX_TELEMETRY};

/// Why a store did not answer as asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Too much is waiting to be written: try again in a moment.
    #[error("the store is busy: too much is waiting to be written")]
    Busy,
    /// The store cannot be reached or written just now (locked, full disk, a file without rights, still loading): try again, or mend it.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store does not take this program, or these settings do not fit it (login, rights, version): waiting alone changes
    /// nothing.
    #[error("the store refuses this: {0}")]
    Refused(String),
    /// What was read makes no sense: a bug or a damaged file.
    #[error("the store holds something unreadable: {0}")]
    Damaged(String),
    /// The request breaks a bound of the seam.
    #[error("the request is out of bounds: {0}")]
    OutOfBounds(&'static str),
    /// This store cannot do it.
    #[error("this store cannot do that: {0}")]
    Unsupported(&'static str),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a queue was not removed, or not whole.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObliterateError {
    /// Workers hold jobs of it: stop them, or say that held jobs go too.
    #[error("workers hold jobs of this queue")]
    Held,
    /// Somebody resumed it meanwhile; what was removed by then is gone.
    #[error("the queue was resumed while it was being removed")]
    Resumed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a failed write may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was not: repeating it is safe.
    No,
    /// It may have been: only what is idempotent may be repeated.
    Unknown,
}

/// A write that failed, with its input handed back.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failed<T: std::fmt::Debug> {
    /// What went wrong.
    pub why: StoreError,
    /// Whether it may have been carried out all the same.
    pub happened: Happened,
    /// What was asked for; boxed, since errors are rare and requests are large.
    pub input: Box<T>,
}

impl<T: std::fmt::Debug> Failed<T> {
    /// A write that was not carried out.
    pub fn before(why: StoreError, input: T) -> Self {
        Self { why, happened: Happened::No, input: Box::new(input) }
    }
}

/// A text that cannot be the id of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Integers are the queue's own counter.
    #[error("custom ids cannot be integers")]
    Integer,
    /// The word names a key of the queue itself.
    #[error("this word names a part of the queue itself")]
    Reserved,
    /// The text itself is unfit.
    #[error("bad job id: {0}")]
    Text(Flaw),
}

/// A text that cannot name a queue or a kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad name: {0}")]
pub struct BadName(pub Flaw);

/// A payload that cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum BadPayload {
    /// It is not JSON, or cannot be written as JSON.
    #[error("not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is larger than [`MAX_PAYLOAD`].
    #[error("the payload is {bytes} bytes long; at most {MAX_PAYLOAD} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Options that no store may hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOptions {
    /// Priorities end at 2,097,151.
    #[error("priority {0} is not between 0 and {MAX_PRIORITY}")]
    Priority(u32),
    /// Delays end at 365 days.
    #[error("a delay of {0:?} is longer than {MAX_DELAY:?}")]
    Delay(Duration),
    /// Jitter is a share.
    #[error("jitter {0} is not between 0 and 1")]
    Jitter(f64),
    /// A job that may take no time cannot run.
    #[error("a timeout of less than a millisecond lets no job run")]
    Timeout,
    /// Unfit to be a deduplication id.
    #[error("bad deduplication id: {0}")]
    DedupId(Flaw),
    /// A deduplication id is owned for 1 ms to 365 days, or without a limit.
    #[error("a deduplication id cannot be owned for {0:?}")]
    DedupTtl(Duration),
    /// Unfit to be the id of a group.
    #[error("bad group id: {0}")]
    Group(Flaw),
    /// Within a group the order is that of the adding.
    #[error("a job of a group cannot have a priority")]
    GroupPriority,
    /// Telemetry metadata ends at 4 kB.
    #[error("{0} bytes of telemetry metadata are more than {MAX_TELEMETRY}")]
    Telemetry(usize),
}

/// A scheduler that no store may hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRepeat {
    /// The id cannot be used.
    #[error("bad scheduler id: {0}")]
    Id(Flaw),
    /// The name of its jobs cannot be used.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The options of its jobs cannot be stored.
    #[error(transparent)]
    Options(#[from] BadOptions),
    /// An option that the scheduler's jobs cannot have.
    #[error("the jobs of a scheduler cannot have the option {0}")]
    Template(&'static str),
    /// Whole milliseconds, a second to 365 days.
    #[error("{0:?} is not a second to 365 days in whole milliseconds")]
    Every(Duration),
    /// A time of [`Misfire::Skip`](crate::Misfire::Skip): whole milliseconds, a second to 365 days.
    #[error("{0:?} to start in is not a second to 365 days in whole milliseconds")]
    Tolerance(Duration),
    /// The cron pattern cannot be read.
    #[error("bad cron pattern: {0}")]
    Pattern(String),
    /// The time zone is not known.
    #[error("{0:?} is no time zone of the IANA's list")]
    Zone(String),
    /// A limit of 0.
    #[error("a limit of 0 lets nothing run")]
    NoRuns,
    /// Both a start and at once.
    #[error("a scheduler begins at once or at its start, not both")]
    ImmediatelyWithStart,
}

/// Why a scheduler was not put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The definition cannot be used.
    #[error(transparent)]
    Bad(#[from] BadRepeat),
    /// Nothing would ever be due: its end has passed, or its pattern names no day that comes.
    #[error("nothing is due any more")]
    Ended,
    /// Jobs of an earlier definition stand in each of the next slots.
    #[error("jobs of an earlier definition stand in the next slots")]
    Taken,
    /// The store failed. Scheduling again is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What cannot be a budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBudget {
    /// The name cannot be used.
    #[error("bad name of a budget: {0}")]
    Name(Flaw),
    /// A budget's time is 1 ms to 365 days.
    #[error("a budget cannot be spread over {0:?}")]
    Time(Duration),
    /// A budget is to fill within 365 days.
    #[error("a budget that holds {0} units would take longer than 365 days to fill")]
    Burst(u32),
}

/// Why jobs were not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The id cannot be used.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The payload cannot be stored.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// The options cannot be stored.
    #[error(transparent)]
    Options(#[from] BadOptions),
    /// More than 10,000 jobs in one call.
    #[error("{0} jobs in one call; at most 10,000 are allowed")]
    TooMany(usize),
    /// The store broke its promise of one answer per job.
    #[error("the store gave no answer")]
    NoAnswer,
    /// The store failed. When `happened` is [`Happened::Unknown`], jobs with their own ids may be added again safely.
    #[error("{why}")]
    Store {
        /// What went wrong.
        why: StoreError,
        /// Whether the jobs may have been added all the same.
        happened: Happened,
    },
}

/// Why a change to one job was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no such job.
    #[error("there is no such job")]
    Missing,
    /// The job is in a state that does not allow it.
    #[error("the job is {0}")]
    WrongState(crate::state::State),
    /// A worker holds the job.
    #[error("a worker holds the job")]
    Locked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The value cannot be stored.
    #[error(transparent)]
    Payload(#[from] BadPayload),
}
