//! A queue as its users see it: adding, reading, and single jobs. Whole-queue operations are in [`Admin`].

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::backend::{self, Added, Backend, Edit, EditAll, Edited, Info, List, Logs, Made, Minute, NewJob, Page};
use crate::clock::Clock;
use crate::error::{AddError, BadName, EditError, StoreError};
use crate::event::Position;
use crate::exit::Failure;
use crate::job::{JobId, JobKind, Payload, QueueName, Record};
use crate::options::JobOptions;
use crate::state::{Counts, State};
use crate::store::Store;
use crate::time::Timestamp;

mod add;
mod admin;
mod events;
mod explain;
mod flow;
mod groups;
mod repeat;

pub(crate) use repeat::Passed;

pub use add::{AddOne, Planned};
pub use admin::{Admin, DeadLetters};
pub use events::{EventStream, Told};
pub use explain::{Explanation, Reason, Why, explain};
pub use flow::{Flow, FlowError, RemoveError, Removed};
pub use groups::Groups;

/// A queue of a store. Cloning it is cheap; making one touches nothing.
///
/// ```
/// # use launchkit_queue::{Queue, Store, JobKind};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl JobKind for Greet { const NAME: &'static str = "greet"; type Output = String; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::memory();
/// let queue = Queue::new(&store, "texts")?;
/// let added = queue.add(Greet { name: "Ada".into() }).priority(5).attempts(3).await?;
/// assert_eq!(queue.counts().await?.prioritized, 1);
/// assert!(queue.get(added.id()).await?.is_some());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Queue {
    backend: Arc<dyn Backend>,
    clock: Clock,
    name: QueueName,
}

/// Why an outcome could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// There is no such job, or it ended and was removed.
    #[error("there is no such job")]
    Missing,
    /// The job failed for good.
    #[error("the job failed: {}", .0.message)]
    Failed(Failure),
    /// It had not ended when the time was over.
    #[error("the job had not ended in time")]
    NotYet,
    /// Its result is not of the expected type.
    #[error("the result is of another type: {0}")]
    Type(#[source] serde_json::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Queue {
    /// A queue by name: 1 to 255 bytes without `:` and control characters.
    pub fn new(store: &Store, name: &str) -> Result<Self, BadName> {
        let name = QueueName::new(name)?;
        Ok(Self { backend: store.backend().clone(), clock: store.clock().clone(), name })
    }

    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Adds a job when awaited; options can be set before.
    pub fn add<J: JobKind>(&self, job: J) -> AddOne<'_> {
        AddOne::new(self, Planned::new(&job), J::options())
    }

    /// Adds a job for a worker that knows it by name only.
    pub fn add_named<D: Serialize>(&self, name: &str, data: D) -> AddOne<'_> {
        AddOne::new(self, Planned::named(name, &data), JobOptions::default())
    }

    /// Adds up to 10,000 jobs in one trip, all or none. Jobs whose own id exists already are answered as
    /// [`Added::Existing`] and left as they are. Those that lose to the owner of their deduplication id are answered as
    /// [`Added::Deduplicated`]; each sees what became of those before it.
    pub async fn add_all(&self, jobs: Vec<Planned>) -> Result<Vec<Added>, AddError> {
        if jobs.len() > backend::MAX_ADD {
            return Err(AddError::TooMany(jobs.len()));
        }
        let jobs = jobs.into_iter().map(Planned::check).collect::<Result<Vec<NewJob>, AddError>>()?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let add = backend::Add { queue: self.name.clone(), jobs };
        self.backend
            .add(add, self.clock.now())
            .await
            .map_err(|failed| AddError::Store { why: failed.why, happened: failed.happened })
    }

    /// Reads one job.
    pub async fn get(&self, id: &JobId) -> Result<Option<Record>, StoreError> {
        Ok(self.backend.get(&self.name, std::slice::from_ref(id)).await?.pop().flatten())
    }

    /// Reads up to 1,000 jobs by id.
    pub async fn get_all(&self, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.backend.get(&self.name, ids).await
    }

    /// One page of the jobs in a state: next to run first, finished ones newest first; at most 1,000.
    pub async fn list(&self, list: &List) -> Result<Page, StoreError> {
        self.backend.list(&self.name, list).await
    }

    /// How many jobs are in each state.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.backend.counts(&self.name).await
    }

    /// Counts, pause, age of the oldest ready job, and who works here.
    pub async fn info(&self) -> Result<Info, StoreError> {
        self.backend.info(&self.name, self.clock.now()).await
    }

    /// Log lines of a job, oldest first; at most 1,000 from the `skip`-th on.
    pub async fn logs(&self, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        self.backend.logs(&self.name, id, skip, most).await
    }

    /// What happens in the queue after a position. [`Position::START`] begins with the oldest kept event.
    pub fn events(&self, after: Position) -> EventStream {
        EventStream::new(self.backend.clone(), self.name.clone(), after)
    }

    /// Where the events end just now: the position to listen from for what comes next.
    pub async fn newest_event(&self) -> Result<Position, StoreError> {
        Ok(self.info().await?.newest_event)
    }

    /// Waits for the end of a job, at most this long, and answers its result, decoded as that of a `J`. With no time at all
    /// it tells how a job stands that may have ended.
    ///
    /// A job that is not kept (`Keep::NONE`) is gone when it has ended, and answers [`OutcomeError::Missing`]; its result is
    /// told by its event.
    pub async fn outcome<J: JobKind>(&self, id: &JobId, wait: Duration) -> Result<J::Output, OutcomeError> {
        let record = match self.get(id).await?.ok_or(OutcomeError::Missing)? {
            record if record.state.is_final() => record,
            _ => tokio::time::timeout(wait, self.ended(id)).await.map_err(|_| OutcomeError::NotYet)??,
        };
        match record.failure {
            Some(failure) if record.state == State::Failed => Err(OutcomeError::Failed(failure)),
            _ => record.result.unwrap_or_else(Payload::null).decode().map_err(OutcomeError::Type),
        }
    }

    async fn ended(&self, id: &JobId) -> Result<Record, OutcomeError> {
        // Register before looking, so that an end between the two is not missed.
        let mut events = self.events(self.newest_event().await?);
        loop {
            let record = self.get(id).await?.ok_or(OutcomeError::Missing)?;
            if record.state.is_final() {
                return Ok(record);
            }
            events.about(id).await?;
        }
    }

    /// What the queue did in the minutes before `before` (or until now), newest first; at most 1,000. Minutes in which
    /// nothing happened are left out; two weeks are kept.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let store = launchkit_queue::Store::memory();
    /// let queue = launchkit_queue::Queue::new(&store, "texts").unwrap();
    /// for minute in queue.metrics(None, 60).await.unwrap() {
    ///     println!("{} completed, {} failed, {} ms run", minute.completed, minute.failed, minute.run.sum);
    /// }
    /// # });
    /// ```
    pub async fn metrics(&self, before: Option<Timestamp>, most: u32) -> Result<Vec<Minute>, StoreError> {
        self.backend.metrics(&self.name, before, most).await
    }

    /// Why a job is not running now, or that it is; see [`explain`].
    pub async fn explain(&self, id: &JobId) -> Result<Explanation, StoreError> {
        let now = self.clock.now();
        Ok(explain(&self.backend.facts(&self.name, id, now).await?, now))
    }

    /// Makes a delayed job ready.
    pub async fn promote(&self, id: &JobId) -> Result<(), EditError> {
        self.edit(Edit::Promote(id.clone())).await
    }

    /// Makes a finished job ready again, with its priority.
    pub async fn retry(&self, id: &JobId, made: Made) -> Result<(), EditError> {
        self.edit(Edit::Retry(id.clone(), made)).await
    }

    /// Removes a job that no worker holds.
    pub async fn remove(&self, id: &JobId) -> Result<(), EditError> {
        self.edit(Edit::Remove(id.clone())).await
    }

    /// Asks a job to stop. A running one is told within a second; another one is failed as canceled when its turn comes.
    pub async fn cancel(&self, id: &JobId) -> Result<(), EditError> {
        self.edit(Edit::Cancel(id.clone())).await
    }

    /// Replaces a job's payload; a running handler does not see it.
    pub async fn update_data<D: Serialize>(&self, id: &JobId, data: &D) -> Result<(), EditError> {
        self.edit(Edit::Data(id.clone(), Payload::encode(data)?)).await
    }

    /// Frees a deduplication id, whoever owns it: the next job that carries it is added. Answers whether it was owned. The
    /// owner stays as it is, and the last job kept for its end is still added then. See [`crate::Dedup`].
    pub async fn remove_deduplication(&self, label: &str) -> Result<bool, StoreError> {
        let freed = self.edit_one(Edit::FreeDedup(label.into())).await?;
        Ok(freed == Some(Edited::Done))
    }

    async fn edit_one(&self, edit: Edit) -> Result<Option<Edited>, StoreError> {
        let all = EditAll { queue: self.name.clone(), edits: vec![edit] };
        let edited = self.backend.edit(all, self.clock.now()).await.map_err(|failed| failed.why)?;
        Ok(edited.first().copied())
    }

    async fn edit(&self, edit: Edit) -> Result<(), EditError> {
        match self.edit_one(edit).await? {
            Some(Edited::Done | Edited::Due(_)) => Ok(()),
            Some(Edited::WrongState(state)) => Err(EditError::WrongState(state)),
            Some(Edited::Locked) => Err(EditError::Locked),
            Some(Edited::Missing | Edited::NoParent) | None => Err(EditError::Missing),
        }
    }

    /// Operations on the whole queue.
    pub fn admin(&self) -> Admin<'_> {
        Admin::new(self)
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(&self.name).finish()
    }
}
