//! The only room that names a store: opening one, and the handle that everything above shares.

use std::sync::Arc;

use crate::backend::memory::Memory;
#[cfg(feature = "redis")]
use crate::backend::redis::{Redis, RedisHealth, RedisMemory, RedisOptions, RedisReport};
use crate::backend::{Backend, Promises, Spend, Spent};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::job::QueueName;

/// A handle on a store; cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    clock: Clock,
    #[cfg(feature = "redis")]
    redis: Option<Arc<Redis>>,
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

    /// A store on Redis or Valkey, in BullMQ's layout. Fails at once when it is not there: [`StoreError::Unavailable`] and
    /// [`StoreError::Busy`] may pass, [`StoreError::Refused`] needs other options or rights.
    #[cfg(feature = "redis")]
    pub async fn redis(options: &RedisOptions) -> Result<Self, StoreError> {
        let redis = Arc::new(Redis::open(options).await?);
        Ok(Self { redis: Some(redis.clone()), ..Self::over(redis, Clock::system()) })
    }

    /// A store over any backend and clock; for tests.
    pub fn over(backend: Arc<dyn Backend>, clock: Clock) -> Self {
        Self {
            backend,
            clock,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// What this store promises.
    pub fn promises(&self) -> Promises {
        self.backend.promises()
    }

    /// Names of all queues that hold or held anything.
    pub async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.backend.queues().await
    }

    /// Spends from budgets that all queues and processes of this store share, all or nothing. At most 100 at once; a wish for
    /// more than its budget ever holds is refused. When the store fails, units may have been spent all the same.
    ///
    /// ```
    /// # use std::{num::NonZeroU32, time::Duration};
    /// # use launchkit_queue::{Budget, Spent, Store};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::memory();
    /// let tokens = Budget::new("model tokens", NonZeroU32::new(90_000).unwrap(), Duration::from_secs(60))?;
    /// let calls = Budget::new("model calls", NonZeroU32::new(500).unwrap(), Duration::from_secs(60))?;
    /// match store.spend(vec![tokens.want(1_200), calls.want(1)]).await? {
    ///     Spent::Granted(left) => assert_eq!(left, [88_800, 499]),
    ///     Spent::Wait(wait) => println!("not yet: {wait:?}"), // a handler answers Err(Exit::Later(wait))
    /// }
    /// store.spend(vec![tokens.correct(-200)]).await?; // the answer was shorter than expected
    /// # Ok(()) }
    /// ```
    pub async fn spend(&self, spends: Vec<Spend>) -> Result<Spent, StoreError> {
        self.backend.spend(spends, self.clock.now()).await
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

/// What only a store on Redis can tell; of others the answer is `None`.
#[cfg(feature = "redis")]
impl Store {
    /// How the connection has fared.
    pub fn redis_health(&self) -> Option<RedisHealth> {
        self.redis.as_ref().map(|redis| redis.health())
    }

    /// The server's memory: one small read. `None` also where the server does not tell this user.
    pub async fn redis_memory(&self) -> Result<Option<RedisMemory>, StoreError> {
        match &self.redis {
            Some(redis) => redis.memory().await,
            None => Ok(None),
        }
    }

    /// Everything about the server that decides whether these queues are safe on it. Takes some seventy small requests on a
    /// connection of its own, and leaves one key that goes by itself within 10 s: for an operator, not for a loop.
    pub async fn redis_report(&self, queues: &[QueueName]) -> Result<Option<RedisReport>, StoreError> {
        let Some(redis) = &self.redis else { return Ok(None) };
        let mut report = redis.report(queues, self.clock.now()).await?;
        let asked = self.clock.now().millis();
        // Without the server's clock the rest is worth knowing.
        if let Ok(theirs) = redis.server_time().await {
            let ours = asked + (self.clock.now().millis() - asked) / 2;
            report.time = Some(theirs);
            report.ahead = Some(theirs.millis() - ours);
        }
        Ok(Some(report))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("promises", &self.promises()).finish_non_exhaustive()
    }
}
