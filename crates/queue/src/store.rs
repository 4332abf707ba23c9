//! The only room that names a store: opening one, and the handle that everything above shares.

use std::sync::Arc;

use crate::backend::memory::Memory;
use crate::backend::{Backend, Promises};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::job::QueueName;

/// A handle on a store; cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    clock: Clock,
}

impl Store {
    /// A store in this process's memory, for tests and throw-away work.
    pub fn memory() -> Self {
        Self::over(Arc::new(Memory::new()), Clock::system())
    }

    /// A store in one SQLite file, created when it does not exist. Several processes of one host may open it.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        let sqlite = crate::backend::sqlite::Sqlite::open(path.as_ref()).await?;
        Ok(Self::over(Arc::new(sqlite), Clock::system()))
    }

    /// A store over any backend and clock; for tests.
    pub fn over(backend: Arc<dyn Backend>, clock: Clock) -> Self {
        Self { backend, clock }
    }

    /// What this store promises.
    pub fn promises(&self) -> Promises {
        self.backend.promises()
    }

    /// Names of all queues that hold or held anything.
    pub async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.backend.queues().await
    }

    /// Claims the store for a deployment when nobody has yet, and answers whose it is.
    pub async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        self.backend.claim(deployment).await
    }

    /// Writes what is waiting to be written and lets go of files and threads.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// The seam itself, for tools and tests.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The clock that everything over this store goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("promises", &self.promises()).finish_non_exhaustive()
    }
}
