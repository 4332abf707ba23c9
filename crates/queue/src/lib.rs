//! A job queue with BullMQ's semantics over interchangeable stores: memory, one SQLite file (cargo feature `sqlite`), Redis
//! or Valkey in BullMQ's layout (`redis`).
//!
//! A job has a kind: a type that serde can write, with a name and the type of its result. A [`Queue`] of a [`Store`] takes
//! jobs, a [`Worker`] runs them.
//!
//! ```
//! use std::time::Duration;
//!
//! use launchkit_queue::{Active, Exit, JobKind, Queue, Store, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Count {
//!     text: String,
//! }
//!
//! impl JobKind for Count {
//!     const NAME: &'static str = "count";
//!     type Output = usize;
//! }
//!
//! async fn count(job: Active<Count>) -> Result<usize, Exit> {
//!     Ok(job.data().text.split_whitespace().count())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = Store::memory(); // or, with the feature `sqlite`: Store::sqlite("jobs.db").await?
//!     let queue = Queue::new(&store, "texts")?;
//!     let worker = Worker::builder(&queue).concurrency(16).on(count).build()?.start();
//!
//!     let added = queue.add(Count { text: "three little words".into() }).attempts(3).await?;
//!     let words = queue.outcome::<Count>(added.id(), Duration::from_secs(5)).await?;
//!     assert_eq!(words, 3);
//!
//!     let report = worker.stop().await;
//!     assert_eq!(report.done, 1);
//!     Ok(())
//! }
//! ```
//!
//! In Cargo.toml: `launchkit-queue` with `features = ["sqlite"]`, `serde` with `derive`, `tokio` with `macros` and
//! `rt-multi-thread`. Where to read on: [`Queue`] (adding, reading, following events), [`AddOne`] (what a job can ask for),
//! [`Exit`] (how a handler ends), [`Handler`] (handlers that hold something), [`Queue::schedule`], [`Flow`],
//! [`Queue::groups`], [`Budget`], [`Queue::explain`], [`Admin`]; and the programs in `examples/`.

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

#[cfg(feature = "redis")]
pub use backend::redis::{
    BadRedisOptions, BadRedisUrl, RedisDisk, RedisHealth, RedisLack, RedisLine, RedisMemory, RedisOptions, RedisQueue,
    RedisReport, RedisRole,
};
pub use backend::{
    Added, BUCKETS, Budget, Child, ChildState, Children, Cursor, GroupDefaults, GroupInfo, GroupSettings, GroupStatus,
    HeldJobs, Histogram, Info, List, Logs, MAX_WEIGHT, Made, Minute, Page, Pick, Rate, Refusal, Scheduled, Spend,
    Spent, Swept, WorkerInfo,
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
pub use worker::{Active, BadWorker, Cause, Handler, Report, Running, Worker, WorkerBuilder};
