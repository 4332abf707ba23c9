//! What clients have noted.

use launchkit_queue::backend::{Edited, End, Token};
use launchkit_queue::{Counts, Event, JobId, Record, Timestamp};

/// One call of one client.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// When it was asked, and when it was answered, in one order over all clients.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// The time that it was asked with.
    pub(crate) now: Timestamp,
    pub(crate) what: What,
}

/// A job that a call has handed out.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: JobId,
    pub(crate) started: u32,
    pub(crate) doomed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Done,
    Dead,
    /// To run again, having used up an attempt.
    Retry,
    /// To run again, not before this.
    Later(Timestamp),
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// These jobs, in order, each with its priority, and when it may be taken.
    Added(Vec<(JobId, u32, Timestamp)>),
    Turned {
        ends: Vec<(JobId, Token, Way, End)>,
        token: Token,
        most: usize,
        got: Vec<Got>,
    },
    Beaten {
        kept: Vec<(JobId, Token)>,
        lost: Vec<(JobId, Token)>,
        canceled: Vec<JobId>,
    },
    Rescued(Vec<JobId>),
    Canceled(JobId, Edited),
    Retried(JobId, Edited),
    Removed(JobId, Edited),
}

/// The notes of all clients, and what was there when all had gone.
pub(crate) struct Notes {
    pub(crate) notes: Vec<Note>,
    pub(crate) left: Vec<Record>,
    pub(crate) counts: Counts,
    pub(crate) events: Vec<Event>,
}
