//! Builds the handles of a process and runs its doers. For now: ledger, queues and HTTP, without
//! workers, a dispatcher or a reconciler.

use std::sync::Arc;

use launchkit_queue::{Clock, Queue, Store};
use serde_json::{Map, Value};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ai::{Ai, AiConfig, AiFailure, Answer, JobType};
use crate::auth::first::{FirstKey, first_key};
use crate::auth::{Auth, Tokens};
use crate::config::{Config, Database};
use crate::http::{self, Api, create, listen::Listener};
use crate::ledger::{DatabaseUrl, Ledger, Migrate, OpenError, OpenOptions};

use secrecy::ExposeSecret;

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

/// Opens the service's database.
pub async fn open_ledger(database: &Database, migrate: Migrate, clock: &Clock) -> Result<Ledger, StartError> {
    let url = match database {
        Database::Sqlite(path) => {
            if let Some(dir) = path.parent() {
                crate::config::secrets::private_directory(dir).map_err(|error| {
                    StartError::Failed(format!("cannot make the directory {}: {error}", dir.display()))
                })?;
            }
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

/// Serves until `stop`.
pub async fn serve(config: Config, stop: CancellationToken, ready: oneshot::Sender<Started>) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
    let store = Store::memory();
    let clock = store.clock().clone();
    let ledger = open_ledger(&config.database, Migrate::Apply, &clock).await?;
    let first_key = first_key(&ledger, clock.now().millis()).await.map_err(|error| failed(&error))?;
    let listener = Listener::bind(&config.host, config.port, config.tls.as_ref()).await.map_err(|error| failed(&error))?;
    let wake = Arc::new(Notify::new());
    let (creates, creator) = create::creates(ledger.clone(), clock.clone(), wake.clone());
    let api = Api {
        ai_jobs: Queue::new(&store, "ai-jobs").map_err(|error| failed(&error))?,
        webhooks: Queue::new(&store, "webhooks").map_err(|error| failed(&error))?,
        auth: Auth::new(ledger.clone(), Tokens::new(&config.jwt)),
        ledger: ledger.clone(),
        clock,
        creates,
        wake,
        pulse: Arc::new(|| Ok(())),
    };
    let creating = tokio::spawn(creator.run());
    // Nobody waits for it when the process is on its way out.
    let _ = ready.send(Started { url: listener.url(), first_key });
    let served = listener.serve(http::router(Arc::new(api)), stop, config.shutdown_grace).await;
    creating.await.map_err(|error| failed(&error))?;
    ledger.close().await;
    served.map_err(|error| failed(&error))
}

/// Works on jobs until `stop`.
pub async fn worker(_config: Config, _stop: CancellationToken) -> Result<(), StartError> {
    Err(StartError::Failed("this build has no workers yet".to_owned()))
}

/// Does one job in this process.
pub async fn run(kind: JobType, input: Map<String, Value>) -> Result<Answer, AiFailure> {
    Ai::new(AiConfig::default()).run(kind, &Value::Object(input), &CancellationToken::new()).await
}
