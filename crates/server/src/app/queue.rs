//! Opens the store of the queues, and makes sure whose it is: with the queue of another deployment every row would look
//! lost, and foreign jobs would be eaten.

use launchkit_queue::{Queue, Store, StoreError};

use super::{AI_JOBS, StartError, WEBHOOKS, private_file};
use crate::config::{Config, QueueStore};

/// Opens the store that the configuration names.
pub(super) async fn open(config: &Config) -> Result<Store, StartError> {
    match &config.queue {
        QueueStore::Embedded => {
            let file = config.data_dir.join("queue.db");
            private_file(&file)?;
            Store::sqlite(&file).await.map_err(unreachable)
        }
        QueueStore::Redis(options) => {
            let store = Store::redis(options).await.map_err(|error| {
                let advice = "see `redis-cli ping` and `launchkit doctor`";
                StartError::Unreachable(format!("cannot open the queue on Redis ({error}); {advice}"))
            })?;
            let server = store.redis_health().and_then(|health| health.server).unwrap_or_default();
            tracing::info!(at = options.address(), server, prefix = options.key_prefix(), "the queue is on Redis");
            Ok(store)
        }
    }
}

/// Claims the store for this deployment, or says whose it is.
pub(super) async fn claim(store: &Store, config: &Config, deployment: &str) -> Result<(), StartError> {
    if let Some(queue) = foreign(store).await.map_err(unreachable)? {
        return Err(StartError::Failed(format!(
            "{} holds a queue {queue} that another program filled: its jobs would be taken and failed. {}",
            place(config),
            elsewhere(config)
        )));
    }
    let owner = store.claim(deployment).await.map_err(unreachable)?;
    if *owner == *deployment {
        return Ok(());
    }
    Err(StartError::Failed(format!(
        "the queue in {} belongs to another deployment than the database: with this pair every job would look lost. Use the \
         database that belongs to it, or: {}",
        place(config),
        elsewhere(config)
    )))
}

/// A queue of ours that holds jobs although no program of ours ever wrote to it.
async fn foreign(store: &Store) -> Result<Option<&'static str>, StoreError> {
    let known = store.queues().await?;
    for name in [AI_JOBS, WEBHOOKS] {
        if known.iter().any(|queue| queue.as_str() == name) {
            continue;
        }
        let Ok(queue) = Queue::new(store, name) else { continue };
        if queue.counts().await?.total() > 0 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Where the queue is, for people.
pub fn place(config: &Config) -> String {
    match &config.queue {
        QueueStore::Embedded => config.data_dir.display().to_string(),
        QueueStore::Redis(options) => {
            format!("Redis at {} under the prefix {}", options.address(), options.key_prefix())
        }
    }
}

fn elsewhere(config: &Config) -> &'static str {
    match &config.queue {
        QueueStore::Embedded => "use another LAUNCHKIT_DATA_DIR",
        QueueStore::Redis(_) => "set another QUEUE_PREFIX",
    }
}

fn unreachable(error: StoreError) -> StartError {
    StartError::Unreachable(format!("cannot open the queue: {error}"))
}
