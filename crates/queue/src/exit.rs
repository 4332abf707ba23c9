//! How an attempt can end: what a handler answers, what the runner makes of it, what a store is told.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::Payload;
use crate::time::Timestamp;

/// Any error of a handler.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The longest stored failure message, in bytes; longer ones are cut.
pub const MAX_MESSAGE: usize = 8 * 1024;

/// What a handler may answer besides a result. `?` on any error gives [`Exit::Fail`].
///
/// ```
/// use launchkit_queue::Exit;
/// fn parse(text: &str) -> Result<u32, Exit> {
///     if text.is_empty() {
///         return Err(Exit::give_up("nothing to parse"));
///     }
///     Ok(text.parse::<u32>()?)
/// }
/// assert!(matches!(parse("x"), Err(Exit::Fail(_))));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// Counts as a try; the backoff decides when the next one is.
    Fail(BoxError),
    /// Final, however many tries remain (BullMQ's `UnrecoverableError`).
    GiveUp(BoxError),
    /// Neither a failure nor a try: run again after this long.
    Later(Duration),
    /// Whoever does the work says that it is asked too often: not a try. The job goes back in front, and the whole queue
    /// starts nothing for this long (BullMQ's `rateLimit` with its `RateLimitError`).
    SlowDown(Duration),
    /// Run again when the children that this job has are done: not a try (BullMQ's `moveToWaitingChildren` with its
    /// `WaitingChildrenError`). With none pending it runs again at once, and sees all results; one that
    /// has never had any runs again a second later.
    AwaitChildren,
    /// The same for the job's group: it goes back in front of its group, and only that group starts nothing for this long
    /// (BullMQ Pro's `rateLimitGroup`). A job without a group slows down the queue.
    SlowDownGroup(Duration),
}

impl Exit {
    /// A final failure.
    pub fn give_up(why: impl Into<BoxError>) -> Self {
        Exit::GiveUp(why.into())
    }
}

impl<E: Into<BoxError>> From<E> for Exit {
    fn from(error: E) -> Self {
        Exit::Fail(error.into())
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure it was.
    pub kind: FailureKind,
    /// The sentence that users see (BullMQ `failedReason`).
    pub message: Arc<str>,
}

impl Failure {
    /// A failure with its message, cut to [`MAX_MESSAGE`] bytes.
    pub fn new(kind: FailureKind, message: &str) -> Self {
        Self { kind, message: message[..message.floor_char_boundary(MAX_MESSAGE)].into() }
    }

    /// The failure of a job whose record does not decode.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn damaged(why: &str) -> Self {
        Self::new(FailureKind::Damaged, &format!("the stored job is damaged: {why}"))
    }
}

/// What sort of failure it was. There is no queue state beside `failed`: canceled and expired jobs are failed jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The handler answered an error.
    Error,
    /// The handler panicked.
    Panic,
    /// The attempt took longer than the job allows.
    Timeout,
    /// Its workers vanished more often than allowed.
    Stalled,
    /// The handler said that another try is useless.
    GaveUp,
    /// Somebody asked for it to stop.
    Canceled,
    /// No worker started it in time.
    Expired,
    /// What the store holds of the job cannot be read.
    Damaged,
    /// A child failed for good, and its parent is to fail with it.
    #[serde(rename = "child-failed")]
    Child,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [FailureKind; 9] = [
        FailureKind::Error,
        FailureKind::Panic,
        FailureKind::Timeout,
        FailureKind::Stalled,
        FailureKind::GaveUp,
        FailureKind::Canceled,
        FailureKind::Expired,
        FailureKind::Damaged,
        FailureKind::Child,
    ];
}

/// What the runner saw.
#[derive(Debug)]
pub enum Ran {
    /// The handler answered a result.
    Done(Payload),
    /// The attempt failed.
    Failed(Failure),
    /// The handler asked to run again later.
    Later(Duration),
    /// The handler asked for the whole queue to wait.
    SlowDown(Duration),
    /// The handler asked to wait for the job's children.
    AwaitChildren,
    /// The handler asked for the job's group to wait.
    SlowDownGroup(Duration),
    /// The worker stopped before the attempt ended.
    Interrupted,
}

/// What becomes of a job at the end of an attempt. Done, Retry and Dead count as a try; the others do not.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Completed, with its result.
    Done(Payload),
    /// Runs again at this time; not after `now` means at once, behind what waits already.
    Retry {
        /// When.
        at: Timestamp,
        /// Why this attempt failed.
        failure: Failure,
    },
    /// Failed for good.
    Dead(Failure),
    /// Runs again at this time, not counted.
    Later(Timestamp),
    /// Given back: runs again at once, in front of what waits, not counted.
    Back,
    /// Given back likewise, and nothing of the queue starts before this time.
    SlowDown(Timestamp),
    /// Waits for its children; with none pending, given back. Not counted.
    AwaitChildren,
    /// Given back likewise, and nothing of its group starts before this time.
    SlowDownGroup(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_a_character() {
        let failure = Failure::new(FailureKind::Error, &"é".repeat(MAX_MESSAGE));
        assert_eq!(failure.message.len(), MAX_MESSAGE);
        let odd = Failure::new(FailureKind::Error, &format!("x{}", "é".repeat(MAX_MESSAGE)));
        assert_eq!(odd.message.len(), MAX_MESSAGE - 1);
    }

    #[test]
    fn question_mark_works_for_errors_and_texts() {
        fn boxed() -> Result<(), Exit> {
            Err(std::io::Error::other("disk"))?
        }
        fn text() -> Result<(), Exit> {
            Err("plain")?
        }
        assert!(matches!(boxed(), Err(Exit::Fail(_))));
        assert!(matches!(text(), Err(Exit::Fail(_))));
    }
}
