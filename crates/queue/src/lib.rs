//! A job queue with BullMQ's semantics over interchangeable stores.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))] // a test that cannot go on should say so and stop

pub mod backend;
mod backoff;
mod clock;
mod error;
mod event;
mod exit;
mod job;
mod options;
mod repeat;
mod state;
mod time;

pub use backend::{
    Added, BUCKETS, Budget, Child, ChildState, Children, GroupDefaults, GroupInfo, GroupSettings, GroupStatus,
    Histogram, MAX_WEIGHT, Minute, Pick, Rate, Refusal, Scheduled, Spend, Spent,
};
pub use backoff::{Backoff, MAX_BACKOFF};
pub use clock::Clock;
pub use error::*;
pub use event::{BadPosition, Event, MAX_EVENT_VALUE, Position};
pub use exit::{BoxError, Exit, Failure, FailureKind, MAX_MESSAGE, Outcome, Ran};
pub use job::{ChildFailure, Flaw, JobId, JobKind, MAX_NAME, MAX_PAYLOAD, ParentRef, Payload, QueueName, Record};
pub use options::{Dedup, Group, JobOptions, Keep, MAX_DELAY, MAX_PRIORITY, MAX_TELEMETRY};
pub use repeat::{
    Fate, LATE_AFTER, MAX_CATCH_UP, MAX_COUNTED, MAX_TICKS, MIN_EVERY, Misfire, Overlap, Repeat, Schedule, Tick,
};
pub use state::{Counts, State, decide};
pub use time::Timestamp;

mod journal;
mod queue;
mod store;
mod worker;

pub use journal::{Begin, Carry, Ending, Journal, JournalError};
pub use queue::{
    AddOne, Admin, DeadLetters, EventStream, Explanation, Flow, FlowError, Groups, OutcomeError, Planned, Queue,
    Reason, RemoveError, Removed, Told, Why, explain,
};
pub use store::Store;
pub use worker::{Active, BadWorker, Cause, Handler, Report, Worker, WorkerBuilder};
