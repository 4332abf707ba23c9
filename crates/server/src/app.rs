//! Builds the handles of a process, once, and runs its doers. Nothing here is global: two servers in one process are
//! independent.
//!
//! A stop has one deadline: from its moment on no request and no job is begun, and what runs may go on for the grace. The
//! loops that look after rows end after that, then the files are closed.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::{BadWorker, Clock, Queue, Store};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ai::{Ai, AiConfig, AiFailure, Answer, JobType};
use crate::auth::first::{FirstKey, first_key};
use crate::auth::{Auth, Tokens};
use crate::config::{Config, Database, QueueStore};
use crate::http::{self, Api, create, listen::Listener};
use crate::ledger::{DatabaseUrl, Ledger, Migrate, OpenError, OpenOptions};
use crate::work::{self, Owner, Processor, Pulse, Skew, WorkSettings};

pub(crate) mod queue;

/// The queue of AI jobs.
pub const AI_JOBS: &str = "ai-jobs";
/// The queue of webhook deliveries.
pub const WEBHOOKS: &str = "webhooks";
/// A loop that has not gone round for this long makes the process unhealthy.
const SILENT: Duration = Duration::from_secs(60);

/// What a server is when it has started.
#[derive(Debug)]
pub struct Started {
    /// `http://HOST:PORT`, the real port.
    pub url: String,
    /// The key that was made if the deployment had none.
    pub first_key: Option<FirstKey>,
}

/// Why a process could not start or went down.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A store cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// The handles that every process needs.
struct Handles {
    store: Store,
    ai_jobs: Queue,
    webhooks: Queue,
    ledger: Ledger,
    owner: Arc<Owner>,
    clock: Clock,
    /// Told when a row waits to be put into its queue.
    wake: Arc<Notify>,
    skew: Arc<Skew>,
}

/// What works beside the HTTP API: the worker, and the loops that look after rows.
struct Crew {
    worker: tokio::task::JoinHandle<Result<(), BadWorker>>,
    loops: JoinSet<()>,
    worker_stop: CancellationToken,
    loops_stop: CancellationToken,
    pulse: Arc<Pulse>,
}

/// Opens the service's database.
pub async fn open_ledger(database: &Database, migrate: Migrate, clock: &Clock) -> Result<Ledger, StartError> {
    let url = match database {
        Database::Sqlite(path) => {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                private_directory(dir)?;
            }
            private_file(path)?;
            DatabaseUrl::Sqlite(path.clone())
        }
        Database::Postgres(url) => DatabaseUrl::Postgres(url.expose_secret().to_owned()),
    };
    let options = OpenOptions { migrate, ..OpenOptions::default() };
    Ledger::open(&url, options, clock.now().millis()).await.map_err(|error| match error {
        OpenError::Unreachable { source, .. } => StartError::Unreachable(format!("cannot open the database: {source}")),
        other => StartError::Failed(other.to_string()),
    })
}

/// Serves until `stop`: HTTP, dispatcher, reconciler and workers in one process. A Redis that is not there is waited for;
/// the port is closed until then.
pub async fn serve(config: Config, stop: CancellationToken, ready: oneshot::Sender<Started>) -> Result<(), StartError> {
    serve_with(config, Arc::new(Ai::new(AiConfig::default())), stop, ready).await
}

/// Serves with a processor of the caller's.
pub async fn serve_with(
    config: Config,
    processor: Arc<dyn Processor>,
    stop: CancellationToken,
    ready: oneshot::Sender<Started>,
) -> Result<(), StartError> {
    let Some(handles) = Handles::open(&config, &stop).await? else { return Ok(()) };
    let listener = Listener::bind(&config.host, config.port, config.tls.as_ref()).await.map_err(failed)?;
    // Only now: a key that was made by a start that fails would never be shown.
    let first_key = first_key(&handles.ledger, handles.clock.now().millis()).await.map_err(failed)?;
    let crew = Crew::start(&handles, &config, processor, &stop)?;
    let (creates, creator) = create::creates(handles.ledger.clone(), handles.clock.clone(), handles.wake.clone());
    let creating = tokio::spawn(creator.run());
    let api = Api {
        ledger: handles.ledger.clone(),
        store: handles.store.clone(),
        ai_jobs: handles.ai_jobs.clone(),
        webhooks: handles.webhooks.clone(),
        clock: handles.clock.clone(),
        auth: Auth::new(handles.ledger.clone(), Tokens::new(&config.jwt)),
        creates,
        wake: handles.wake.clone(),
        owner: handles.owner.clone(),
        skew: handles.skew.clone(),
        pulse: crew.pulse(&handles.clock, creating.abort_handle()),
    };
    handles.announce();
    // Nobody waits for it when the process is on its way out.
    let _ = ready.send(Started { url: listener.url(), first_key });
    let served = listener.serve(http::router(Arc::new(api)), stop, config.shutdown_grace).await;
    creating.await.map_err(failed)?;
    crew.stop().await?;
    handles.close().await;
    served.map_err(failed)
}

/// Works on jobs until `stop`, beside a server on the same data.
pub async fn worker(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let Some(handles) = Handles::open(&config, &stop).await? else { return Ok(()) };
    let crew = Crew::start(&handles, &config, Arc::new(Ai::new(AiConfig::default())), &stop)?;
    handles.announce();
    stop.cancelled().await;
    crew.stop().await?;
    handles.close().await;
    Ok(())
}

/// Does one job in this process.
pub async fn run(kind: JobType, input: Map<String, Value>) -> Result<Answer, AiFailure> {
    Ai::new(AiConfig::default()).run(kind, &Value::Object(input), &CancellationToken::new()).await
}

impl Handles {
    /// `None` when the stop came while Redis was waited for.
    async fn open(config: &Config, stop: &CancellationToken) -> Result<Option<Handles>, StartError> {
        private_directory(&config.data_dir)?;
        let Some(store) = queue::open(config, stop).await? else { return Ok(None) };
        let clock = store.clock().clone();
        let ledger = open_ledger(&config.database, config.migrate, &clock).await?;
        if queue::claim(&store, config, ledger.deployment_id(), stop).await?.is_none() {
            ledger.close().await;
            store.close().await;
            return Ok(None);
        }
        let queue = |name| Queue::new(&store, name).map_err(failed);
        let (ai_jobs, webhooks) = (queue(AI_JOBS)?, queue(WEBHOOKS)?);
        let skew = Arc::new(Skew::default());
        skew.measure(&ledger, &clock).await.map_err(|error| StartError::Unreachable(error.to_string()))?;
        let owner = Arc::new(Owner::new(&store, ledger.deployment_id()));
        let wake = Arc::new(Notify::new());
        Ok(Some(Handles { store, ai_jobs, webhooks, ledger, owner, clock, wake, skew }))
    }

    fn announce(&self) {
        tracing::info!("QueueService initialized");
        tracing::info!("AI Jobs Queue: {AI_JOBS}");
        tracing::info!("Webhooks Queue: {WEBHOOKS}");
    }

    async fn close(self) {
        self.ledger.close().await;
        self.store.close().await;
    }
}

impl Crew {
    /// The worker takes nothing more once `stop` comes; all of it ends by [`Crew::stop`].
    fn start(
        handles: &Handles,
        config: &Config,
        processor: Arc<dyn Processor>,
        stop: &CancellationToken,
    ) -> Result<Crew, StartError> {
        let name = worker_name();
        let settings = WorkSettings {
            concurrency: config.worker_concurrency,
            grace: config.shutdown_grace,
            lock_for: config.lock_duration,
        };
        let (ledger, queue, owner) = (handles.ledger.clone(), handles.ai_jobs.clone(), handles.owner.clone());
        let hire = {
            let (ledger, queue, name) = (ledger.clone(), queue.clone(), name.clone());
            move || work::ai_worker(&queue, &ledger, processor.clone(), &name, &settings)
        };
        let first = hire().map_err(failed)?;
        let (worker_stop, loops_stop) = (stop.child_token(), CancellationToken::new());
        let pulse = Arc::new(Pulse::default());
        pulse.beat(handles.clock.now());
        let mut loops = JoinSet::new();
        let (wake, skew) = (handles.wake.clone(), handles.skew.clone());
        let carried = work::Carried {
            ledger: ledger.clone(),
            queue: queue.clone(),
            owner: owner.clone(),
            wake,
            pulse: pulse.clone(),
        };
        loops.spawn(work::dispatch(carried, loops_stop.clone()));
        if matches!(config.queue, QueueStore::Redis(_)) {
            loops.spawn(work::watch_owner(owner.clone(), loops_stop.clone()));
        }
        let telling = work::tell_canceled(ledger.clone(), queue.clone(), name.clone(), loops_stop.clone());
        loops.spawn(telling);
        let watched = work::Watched { ledger, queue, owner: owner.clone(), holder: name, skew };
        loops.spawn(work::reconcile(watched, config.lock_duration, loops_stop.clone()));
        let worker = tokio::spawn(work::work_while_ours(first, hire, owner, worker_stop.clone()));
        Ok(Crew { worker, loops, worker_stop, loops_stop, pulse })
    }

    /// Whether the loops turn and the worker and whoever writes new jobs live: what `/healthz` tells.
    fn pulse(&self, clock: &Clock, creating: AbortHandle) -> http::Pulse {
        let (pulse, clock, worker) = (self.pulse.clone(), clock.clone(), self.worker.abort_handle());
        Arc::new(move || {
            if worker.is_finished() {
                return Err("the worker has ended".to_owned());
            }
            if creating.is_finished() {
                return Err("nobody writes new jobs any more".to_owned());
            }
            match pulse.age(clock.now()) {
                age if age < SILENT => Ok(()),
                age => Err(format!("no job has been carried to the queue, or looked for, since {} s", age.as_secs())),
            }
        })
    }

    async fn stop(mut self) -> Result<(), StartError> {
        self.worker_stop.cancel();
        self.worker.await.map_err(failed)?.map_err(failed)?;
        self.loops_stop.cancel();
        while let Some(ended) = self.loops.join_next().await {
            ended.map_err(failed)?;
        }
        Ok(())
    }
}

/// Who we are in lists of workers: host and process.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(64).collect();
    let host = if host.is_empty() { "host".to_owned() } else { host };
    format!("{host}-{}", std::process::id())
}

fn private_directory(dir: &std::path::Path) -> Result<(), StartError> {
    let made = crate::config::secrets::private_directory(dir);
    made.map_err(|error| StartError::Failed(format!("cannot make the directory {}: {error}", dir.display())))
}

/// Makes a file that is not there as one that only its owner may read; its log files take its mode over.
fn private_file(path: &std::path::Path) -> Result<(), StartError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| StartError::Unreachable(format!("cannot open {}: {error}", path.display())))
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Failed(error.to_string())
}
