//! One harness per store: an empty store for each case, and the same store after a restart.

use std::future::Future;
use std::sync::Arc;

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::memory::Memory;
use launchkit_queue::backend::sqlite::Sqlite;
use tempfile::TempDir;

use crate::invariants;

/// How a store is set up for a case.
pub trait Harness: Sized + Send + Sync + 'static {
    /// The store's name in failures.
    const NAME: &'static str;

    /// An empty store of its own, gone when dropped.
    fn fresh() -> impl Future<Output = Self> + Send;

    /// The store.
    fn backend(&self) -> Arc<dyn Backend>;

    /// Another handle on the same store, as another process has it; `None` when the store cannot be shared.
    fn another(&self) -> impl Future<Output = Option<Arc<dyn Backend>>> + Send;

    /// Closes the store and opens it again, as after a restart; `None` when it promises to keep nothing.
    fn reopen(self) -> impl Future<Output = Option<Self>> + Send;
}

/// Sets up a store, runs a case on it, and checks what must hold at the end of every case.
pub async fn run<H: Harness>(case: impl AsyncFnOnce(&H)) {
    let harness = H::fresh().await;
    case(&harness).await;
    invariants::check(&*harness.backend()).await;
}

/// The store in memory.
pub struct MemoryHarness(Arc<Memory>);

impl Harness for MemoryHarness {
    const NAME: &'static str = "memory";

    async fn fresh() -> Self {
        Self(Arc::new(Memory::new()))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.0.clone()
    }

    async fn another(&self) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn reopen(self) -> Option<Self> {
        None
    }
}

/// The store in one SQLite file.
pub struct SqliteHarness {
    store: Arc<Sqlite>,
    folder: TempDir,
}

impl SqliteHarness {
    /// The file.
    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("queue.db")
    }
}

impl Harness for SqliteHarness {
    const NAME: &'static str = "sqlite";

    async fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Arc::new(Sqlite::open(&folder.path().join("queue.db")).await.expect("a fresh file opens"));
        Self { store, folder }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.store.clone()
    }

    async fn another(&self) -> Option<Arc<dyn Backend>> {
        Some(Arc::new(Sqlite::open(&self.path()).await.expect("the file opens twice")))
    }

    async fn reopen(self) -> Option<Self> {
        self.store.close().await;
        let store = Arc::new(Sqlite::open(&self.path()).await.expect("the file opens again"));
        Some(Self { store, folder: self.folder })
    }
}
