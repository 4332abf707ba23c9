//! Building a job before it is added.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Queue;
use crate::backend::{Added, NewJob};
use crate::backoff::Backoff;
use crate::error::{AddError, BadPayload};
use crate::job::{JobId, JobKind, Payload, job_name};
use crate::options::{Dedup, Group, JobOptions, Keep};
use crate::time::Timestamp;

/// A job to be added, for [`Queue::add_all`].
#[derive(Debug)]
pub struct Planned {
    id: Option<String>,
    name: String,
    data: Result<Payload, BadPayload>,
    options: Arc<JobOptions>,
}

impl Planned {
    /// A job of a known kind with the kind's options.
    pub fn new<J: JobKind>(job: &J) -> Self {
        Self::named(J::NAME, job).options(J::options())
    }

    /// A job known by name only.
    pub fn named<D: Serialize + ?Sized>(name: &str, data: &D) -> Self {
        Self { id: None, name: name.to_owned(), data: Payload::encode(data), options: Arc::default() }
    }

    /// The caller's own id; a job that exists under it already is not added again.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its options; an `Arc` can be shared between many jobs.
    pub fn options(mut self, options: impl Into<Arc<JobOptions>>) -> Self {
        self.options = options.into();
        self
    }

    pub(super) fn set_id(&mut self, id: String) {
        self.id = Some(id);
    }

    pub(super) fn check(self) -> Result<NewJob, AddError> {
        self.options.check()?;
        Ok(NewJob {
            id: self.id.as_deref().map(JobId::custom).transpose()?,
            name: job_name(&self.name)?,
            data: self.data?,
            options: self.options,
        })
    }
}

/// A job that is added when this is awaited.
#[derive(Debug)]
#[must_use = "a job is added when this is awaited"]
pub struct AddOne<'a> {
    queue: &'a Queue,
    planned: Planned,
    options: JobOptions,
    run_at: Option<Timestamp>,
}

impl<'a> AddOne<'a> {
    pub(super) fn new(queue: &'a Queue, planned: Planned, options: JobOptions) -> Self {
        Self { queue, planned, options, run_at: None }
    }

    /// The caller's own id; a job that exists under it already is not added again.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.planned = self.planned.id(id);
        self
    }

    /// 1 is the most urgent, 2,097,151 the least; 0 (none) comes before all of them, as in BullMQ.
    pub fn priority(mut self, priority: u32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Not before this long from now; at most 365 days.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay = delay;
        self
    }

    /// Not before this time.
    pub fn run_at(mut self, at: Timestamp) -> Self {
        self.run_at = Some(at);
        self
    }

    /// In front of what waits without a priority.
    pub fn lifo(mut self) -> Self {
        self.options.lifo = true;
        self
    }

    /// Tries in all.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// The wait between tries.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// How long it stays readable after a success.
    pub fn keep_completed(mut self, keep: Keep) -> Self {
        self.options.keep_completed = keep;
        self
    }

    /// How long it stays readable after its final failure.
    pub fn keep_failed(mut self, keep: Keep) -> Self {
        self.options.keep_failed = keep;
        self
    }

    /// What a tracer wants the job's worker to know; `Active::options` has it there.
    pub fn telemetry(mut self, metadata: impl Into<Arc<str>>) -> Self {
        self.options.telemetry = Some(metadata.into());
        self
    }

    /// How long one attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Failed as expired when no worker has started it by then.
    pub fn start_before(mut self, at: Timestamp) -> Self {
        self.options.start_before = Some(at);
        self
    }

    /// Dropped when another job owns the same deduplication id; see [`Dedup`].
    pub fn deduplicate(mut self, dedup: Dedup) -> Self {
        self.options.deduplication = Some(dedup);
        self
    }

    /// Takes turns with the jobs of other groups; see [`Group`].
    pub fn group(mut self, group: impl Into<Group>) -> Self {
        self.options.group = Some(group.into());
        self
    }

    /// All options at once.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    async fn send(mut self) -> Result<Added, AddError> {
        if let Some(at) = self.run_at {
            self.options.delay = at.since(self.queue.clock().now());
        }
        let planned = self.planned.options(self.options);
        let mut added = self.queue.add_all(vec![planned]).await?;
        added.pop().ok_or(AddError::NoAnswer)
    }
}

impl<'a> IntoFuture for AddOne<'a> {
    type Output = Result<Added, AddError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
