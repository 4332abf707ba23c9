//! Opens the store of the queues, and makes sure whose it is: with the queue of another deployment every row would look
//! lost, and foreign jobs would be eaten. A Redis that is not there is waited for; nothing else takes its place.

use std::time::Duration;

use launchkit_queue::{Queue, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{AI_JOBS, StartError, WEBHOOKS, private_file};
use crate::config::{Config, QueueStore};

/// The shortest and the longest pause between two looks at a Redis that is not there.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What is said of a queue that is [`foreign`].
pub(crate) const FOREIGN: &str = "holds jobs of another program, which would be taken and failed";
/// So many looks make one more line in the log: at the longest pause, a line a minute.
const LOOKS_PER_LINE: u32 = 12;

/// Opens the store that the configuration names; `None` when the stop came before it was there.
pub(super) async fn open(config: &Config, stop: &CancellationToken) -> Result<Option<Store>, StartError> {
    match &config.queue {
        QueueStore::Embedded => {
            let file = config.data_dir.join("queue.db");
            private_file(&file)?;
            Store::sqlite(&file).await.map(Some).map_err(not_opened)
        }
        QueueStore::Redis(options) => {
            let opened = there(config, stop, || Store::redis(options)).await.map_err(not_opened)?;
            if let Some(store) = &opened {
                let server = store.redis_health().and_then(|health| health.server).unwrap_or_default();
                tracing::info!(at = options.address(), server, prefix = options.key_prefix(), "the queue is on Redis");
            }
            Ok(opened)
        }
    }
}

/// Claims the store for this deployment, or says whose it is; `None` when the stop came first.
pub(super) async fn claim(
    store: &Store,
    config: &Config,
    deployment: &str,
    stop: &CancellationToken,
) -> Result<Option<()>, StartError> {
    let Some(foreign) = there(config, stop, || foreign(store)).await.map_err(not_opened)? else {
        return Ok(None);
    };
    if let Some(queue) = foreign {
        let (place, elsewhere) = (place(config), elsewhere(config));
        return Err(StartError::Failed(format!("the queue {queue} in {place} {FOREIGN}: {elsewhere}")));
    }
    let Some(owner) = there(config, stop, || store.claim(deployment)).await.map_err(not_opened)? else {
        return Ok(None);
    };
    if *owner == *deployment {
        return Ok(Some(()));
    }
    Err(StartError::Failed(format!(
        "the queue in {} belongs to another deployment than the database: with this pair every job would look lost. Use the \
         database that belongs to it, or: {}",
        place(config),
        elsewhere(config)
    )))
}

/// Asks a store on Redis until it answers. What a wait does not cure is an error at once; the stop ends it with `None`.
async fn there<T, Answer: Future<Output = Result<T, StoreError>>>(
    config: &Config,
    stop: &CancellationToken,
    ask: impl Fn() -> Answer,
) -> Result<Option<T>, StoreError> {
    let QueueStore::Redis(options) = &config.queue else { return ask().await.map(Some) };
    let answered = async {
        let (mut looks, mut known) = (0_u32, String::new());
        loop {
            let why = match ask().await {
                Err(why @ (StoreError::Unavailable(_) | StoreError::Busy)) => why.to_string(),
                answer => return answer,
            };
            if looks.is_multiple_of(LOOKS_PER_LINE) || why != known {
                tracing::warn!(at = options.address(), why, "waiting for Redis; nothing is served or worked on before");
            }
            tokio::time::sleep(pause(looks)).await;
            (looks, known) = (looks.saturating_add(1), why);
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        answer = answered => answer.map(Some),
    }
}

/// Longer each time; never quite the same, since others wait as well.
fn pause(looks: u32) -> Duration {
    let (shortest, longest) = PAUSES;
    let pause = shortest.saturating_mul(2_u32.saturating_pow(looks)).min(longest);
    pause.mul_f64(rand::random_range(0.75..=1.0))
}

/// A queue of ours that holds jobs although no program of ours ever wrote to it.
pub(crate) async fn foreign(store: &Store) -> Result<Option<&'static str>, StoreError> {
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
fn place(config: &Config) -> String {
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

fn not_opened(error: StoreError) -> StartError {
    let told = format!("cannot open the queue: {error}");
    match error {
        StoreError::Refused(_) => StartError::Failed(format!("{told}. launchkit doctor shows what is in force")),
        _ => StartError::Unreachable(told),
    }
}
