//! Requests and replies of the seam, as plain data.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::groups::GroupDefaults;
use super::limits::{Limits, Rate};
use super::repeat::{Advance, Put};
use crate::event::{Event, Position};
use crate::exit::{Failure, Outcome};
use crate::job::{JobId, Payload, QueueName, Record};
use crate::options::{JobOptions, Keep};
use crate::state::State;
use crate::time::Timestamp;

/// New jobs for one queue: 1 to [`MAX_ADD`](super::MAX_ADD).
#[derive(Clone, Debug)]
pub struct Add {
    /// The queue.
    pub queue: QueueName,
    /// The jobs, in order.
    pub jobs: Vec<NewJob>,
}

/// One new job, checked.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The caller's own id, or the queue's next number.
    pub id: Option<JobId>,
    /// The stored name of its kind.
    pub name: Arc<str>,
    /// The payload.
    pub data: Payload,
    /// Its options.
    pub options: Arc<JobOptions>,
}

/// What became of one new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was stored under this id.
    New(JobId),
    /// Its id existed already in the queue: nothing was changed.
    Existing(JobId),
    /// It was dropped: this job owns its deduplication id.
    Deduplicated(JobId),
}

impl Added {
    /// The id of the job that is there: the new one, or the one that kept it away.
    pub fn id(&self) -> &JobId {
        match self {
            Added::New(id) | Added::Existing(id) | Added::Deduplicated(id) => id,
        }
    }
}

/// The name of one take, chosen by the caller and fresh for each: it is the lock's secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

impl Token {
    /// Wraps a token; [`crate::Worker`] uses `<worker id>:<n>` as BullMQ does.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The right to end or extend one run of one job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// The job.
    pub id: JobId,
    /// The take that holds it.
    pub token: Token,
    /// Where the store finds the job; 0 when it looks it up by id. The token, not this, is what is checked.
    pub row: i64,
}

/// Ends and takes for one queue in one trip.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The queue.
    pub queue: QueueName,
    /// The worker's name, stored with the jobs that it takes.
    pub worker: Arc<str>,
    /// Held jobs that have ended; at most [`MAX_TURN`](super::MAX_TURN).
    pub ends: Vec<Verdict>,
    /// What to take, if anything.
    pub take: Option<Take>,
}

/// The end of one run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The right to say so.
    pub lock: Lock,
    /// What becomes of the job.
    pub outcome: Outcome,
    /// How long it stays if this is its end.
    pub keep: Keep,
    /// How long its handler ran; `None` when it did not run.
    pub ran: Option<Duration>,
}

/// A wish for jobs.
#[derive(Clone, Debug)]
pub struct Take {
    /// Fresh for each take, the same when a take is repeated because its answer was lost.
    pub token: Token,
    /// Whether this repeats a take whose answer was lost.
    pub mode: TakeMode,
    /// At most this many; at most [`MAX_TURN`](super::MAX_TURN).
    pub most: usize,
    /// How long the locks hold.
    pub lock_for: Duration,
    /// The taker's own rate, counted over all takers; the queue's goes before it.
    pub rate: Option<Rate>,
}

/// Whether a take is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeMode {
    /// New: its token has never been used.
    Fresh,
    /// A repetition: what the token holds already is returned, and only when that is nothing are jobs taken.
    Resume,
}

/// The answer to a turn.
#[derive(Debug)]
pub struct Turned {
    /// One answer per verdict, in order.
    pub ends: Vec<End>,
    /// The jobs taken.
    pub held: Vec<Held>,
    /// What comes next.
    pub next: Next,
}

/// The answer to one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was carried out.
    Applied,
    /// The same verdict had been carried out before.
    AlreadyApplied,
    /// The lock had expired or belongs to somebody else: nothing was changed.
    LockLost,
    /// The job is not there: nothing was changed.
    Gone,
}

/// What a worker can expect after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more: ask again when there is room.
    More,
    /// Nothing is ready, or only jobs whose groups are paused or full; a delayed job is due at this time.
    At(Timestamp),
    /// Jobs are ready, and none may start before this time; or a delayed job is due then.
    Limited(Timestamp),
    /// Jobs are ready, and as many are active as may be; or their groups are paused or full.
    Full,
    /// The queue is paused.
    Paused,
    /// Nothing is ready or delayed.
    Empty,
}

/// A job under a lock.
#[derive(Clone, Debug)]
pub struct Held {
    /// The right to end or extend the run.
    pub lock: Lock,
    /// The stored name of its kind.
    pub name: Arc<str>,
    /// The payload.
    pub data: Payload,
    /// Its options.
    pub options: Arc<JobOptions>,
    /// Counted attempts before this one.
    pub made: u32,
    /// Times it was started, this one included.
    pub started: u32,
    /// Times it was found stalled.
    pub stalls: u32,
    /// When it was added.
    pub timestamp: Timestamp,
    /// Settle it with this failure instead of running it: it stalled too often, was canceled while it waited, was not
    /// started in time, or is stored damaged. Lazy as in BullMQ, so that whoever listens to ends sees it.
    pub failed_already: Option<Failure>,
}

/// A sign of life.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The queue.
    pub queue: QueueName,
    /// Who lives.
    pub worker: WorkerInfo,
    /// The locks to renew; at most [`MAX_BEAT`](super::MAX_BEAT).
    pub locks: Vec<Lock>,
    /// How long they hold from now on.
    pub lock_for: Duration,
}

/// The answer to a beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beaten {
    /// Jobs whose lock is lost: whatever they do now is void.
    pub lost: Vec<JobId>,
    /// Jobs that somebody asked to stop.
    pub cancel: Vec<JobId>,
    /// Whether the queue is paused.
    pub paused: bool,
}

/// Who works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Unique for each started worker.
    pub id: Arc<str>,
    /// The name that jobs remember.
    pub name: Arc<str>,
    /// How many jobs it runs at once.
    pub slots: usize,
    /// When it started.
    pub started: Timestamp,
    /// The version of this library.
    pub version: Arc<str>,
    /// Its own rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// A search for jobs whose worker vanished.
#[derive(Clone, Debug)]
pub struct Rescue {
    /// The queue.
    pub queue: QueueName,
    /// A job that stalls more often than this is failed by its next taker.
    pub max_stalled: u32,
    /// At most this many; at most [`MAX_READ`](super::MAX_READ).
    pub most: u32,
}

/// The answer to a rescue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Jobs that are ready again.
    pub jobs: Vec<JobId>,
    /// Whether there may be more.
    pub more: bool,
}

/// Changes to single jobs of one queue; at most [`MAX_EDIT`](super::MAX_EDIT).
#[derive(Clone, Debug)]
pub struct EditAll {
    /// The queue.
    pub queue: QueueName,
    /// The changes, in order.
    pub edits: Vec<Edit>,
}

/// A change to one job, to one deduplication id or to one job scheduler.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Edit {
    /// Replaces its progress. Any state.
    Progress(JobId, Payload),
    /// Appends log lines. Any state.
    Log(JobId, Vec<Arc<str>>),
    /// Replaces its payload. Any state.
    Data(JobId, Payload),
    /// Makes a delayed job ready.
    Promote(JobId),
    /// Makes a finished job ready again.
    Retry(JobId, Made),
    /// Removes a job that no worker holds.
    Remove(JobId),
    /// Asks a job to stop: a held one is told by the next beat, another one is failed as canceled by its next taker.
    Cancel(JobId),
    /// Frees a deduplication id, whoever owns it; `Missing` when nobody does. The owner itself stays as it is, and what
    /// was to run after it still does.
    FreeDedup(Arc<str>),
    /// Puts a job scheduler in place, or another definition in the place of the one with its id: its job that nobody has
    /// taken is replaced. Answers `Due`, or `Done` when its limit is reached; `WrongState`, and nothing is changed, when a job
    /// of an earlier definition stands in the slot.
    Schedule(Put),
    /// Takes a pending child from its parent, which no longer waits for it; [`Edited::NoParent`] when it is none.
    Detach(JobId),
    /// Removes a scheduler, and its job if that is delayed.
    Unschedule(Arc<str>),
    /// Makes the next job of a scheduler that stands at a slot, and notes what became of that slot; `Missing` when it does not
    /// stand there. Answers `Due`, or `Done` when it makes no more; `WrongState` as with `Schedule`; `Locked` when the job in
    /// the slot has to end first, and then only what became of the slot is noted.
    Advance(Advance),
}

/// What a retry by hand does to the count of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It stays (BullMQ's default).
    Keep,
    /// It starts at zero.
    Reset,
}

/// The answer to one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It was made.
    Done,
    /// There is no such job.
    Missing,
    /// The job's state does not allow it.
    WrongState(State),
    /// A worker holds the job, or has still to end it.
    Locked,
    /// No parent waits for the job.
    NoParent,
    /// It was made: the scheduler's job is due then.
    Due(Timestamp),
}

/// An order to a whole queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Give out no jobs. Delayed jobs still become ready.
    Pause,
    /// Give out jobs again.
    Resume,
    /// At most so many active jobs, over all workers; `None` lifts the limit.
    Concurrency(Option<NonZeroU32>),
    /// At most so many starts in a time, whatever rates workers have; `None` leaves it to them.
    Rate(Option<Rate>),
    /// Give out no jobs before this time; never shortens what is said already.
    HoldUntil(Timestamp),
    /// Forget the starts of the running window, and any hold.
    ClearRate,
    /// What holds for the groups that have no setting of their own. It holds at once; that a group may start more than
    /// before comes true at the next takes, for 200 groups at each.
    GroupDefaults(GroupDefaults),
}

/// A wish for one page of jobs.
#[derive(Clone, Debug)]
pub struct List {
    /// The state.
    pub state: State,
    /// Where the page before ended, or the beginning.
    pub after: Option<Cursor>,
    /// At most this many; at most [`MAX_READ`](super::MAX_READ).
    pub most: u32,
}

/// Where a page ended: the order key of its last job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub i64, pub i64);

/// One page: next to run first; finished jobs newest first (BullMQ's orders).
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Record>,
    /// Where to go on, when there may be more.
    pub next: Option<Cursor>,
}

/// Log lines of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// The lines, oldest first.
    pub lines: Vec<Arc<str>>,
    /// How many are kept in all.
    pub total: u32,
}

/// Events after a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// The events with their positions, oldest first.
    pub events: Vec<(Position, Event)>,
    /// Whether events between the asked position and the first one here are no longer kept.
    pub gap: bool,
    /// Where to go on.
    pub next: Position,
}

/// A queue at a glance.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Jobs per state.
    pub counts: crate::state::Counts,
    /// Whether it gives out no jobs.
    pub paused: bool,
    /// How many may start.
    pub limits: Limits,
    /// Groups that hold jobs or settings.
    pub groups: u64,
    /// What holds for groups that have no setting of their own.
    pub group_defaults: GroupDefaults,
    /// When the job that would be taken next became ready.
    pub oldest_ready: Option<Timestamp>,
    /// Workers heard of within [`WORKER_GONE`](super::WORKER_GONE).
    pub workers: Vec<WorkerInfo>,
    /// The position of the newest event.
    pub newest_event: Position,
}

/// What a store promises. Where stores differ, tests ask here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// What an answered add or end survives.
    pub durable: Durable,
    /// Who can work on the same queues.
    pub shared: Shared,
}

/// What an answered add or end survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Nothing: it lives in this process.
    Process,
    /// Loss of power. A take, beat or progress may be undone by it: the job then waits again.
    Power,
    /// What the server's own persistence and replication are set to.
    Server,
}

/// Who can work on the same queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// This process.
    Process,
    /// Processes of this host.
    Host,
    /// Processes of all hosts that reach the server.
    Network,
}
