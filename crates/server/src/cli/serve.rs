//! `serve` and `worker`: thin callers of `app` that show where it listens and pass on signals.

use std::io::IsTerminal;

use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::output::{Stop, note};
use super::{Context, logs};
use crate::app::{self, StartError, Started};
use crate::auth::first;
use crate::config::store::notes;
use crate::config::{Config, Logging};

/// Flags of `serve`; each wins over its variable.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address or name to listen on [HOST; default 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for a free one [PORT; default 3001]
    #[arg(long)]
    port: Option<String>,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// Flags of `worker`.
#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Jobs at once per queue [WORKER_CONCURRENCY; default 5]
    #[arg(long, value_name = "N")]
    concurrency: Option<String>,
    /// Time for open requests and running jobs after a stop, like 25s [SHUTDOWN_GRACE]
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
    /// text or json [LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Also log to this file [LOG_FILE]
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
}

impl ServeArgs {
    /// The variables that these flags stand for.
    pub(super) fn flags(&self) -> Vec<(&'static str, Option<String>)> {
        let mut flags = self.worker.flags();
        flags.extend([("HOST", self.host.clone()), ("PORT", self.port.clone())]);
        flags
    }
}

impl WorkerArgs {
    /// The variables that these flags stand for.
    pub(super) fn flags(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("WORKER_CONCURRENCY", self.concurrency.clone()),
            ("SHUTDOWN_GRACE", self.grace.clone()),
            ("LOG_FORMAT", self.log_format.clone()),
            ("LOG_FILE", self.log_file.clone()),
        ]
    }
}

/// `launchkit serve`
pub(super) async fn serve(context: &Context) -> Result<(), Stop> {
    let config = begin(context)?;
    let stop = CancellationToken::new();
    let (ready, started) = oneshot::channel();
    let data_dir = config.data_dir.clone();
    let announce = async {
        if let Ok(started) = started.await {
            announce(context, &started, &data_dir);
        }
        std::future::pending::<()>().await;
    };
    let serving = app::serve(config, stop.clone(), ready);
    tokio::select! {
        biased;
        done = serving => done.map_err(stopped),
        () = pass_on_signals(stop) => Ok(()),
        () = announce => Ok(()),
    }
}

/// `launchkit worker`
pub(super) async fn worker(context: &Context) -> Result<(), Stop> {
    let config = begin(context)?;
    let stop = CancellationToken::new();
    let working = app::worker(config, stop.clone());
    tokio::select! {
        biased;
        done = working => done.map_err(stopped),
        () = pass_on_signals(stop) => Ok(()),
    }
}

/// How a failed start ends the process.
pub(super) fn stopped(error: StartError) -> Stop {
    match error {
        StartError::Unreachable(what) => Stop::Unreachable(what),
        StartError::Failed(what) => Stop::Failed(what),
    }
}

fn begin(context: &Context) -> Result<Config, Stop> {
    logs::init(&Logging::from_settings(&context.settings)?)?;
    for warning in &context.settings.warnings {
        tracing::warn!("{warning}");
    }
    let config = Config::from_settings(&context.settings)?;
    for note in notes(&context.settings) {
        tracing::warn!("{note}");
    }
    Ok(config)
}

fn announce(context: &Context, started: &Started, data_dir: &std::path::Path) {
    if let Some(first) = &started.first_key {
        show_first_key(first, data_dir);
    }
    context.out.show(&json!({"listening": started.url}), |_| format!("Listening on {}", started.url));
}

/// Onto a terminal, where a person sees it once; anything else keeps what is written to it, so
/// there the key goes into a private file.
fn show_first_key(first: &first::FirstKey, data_dir: &std::path::Path) {
    if std::io::stderr().is_terminal() {
        note("");
        note("The first API key of this deployment (shown this once):");
        note(&format!("  {}", first.key.expose_secret()));
        note("");
        return;
    }
    match first::keep(first, data_dir) {
        Ok(path) => tracing::info!("The first API key was written to {}", path.display()),
        Err(error) => {
            tracing::error!(%error, "The first API key could not be written; make one with: launchkit keys create")
        }
    }
}

/// The first signal asks to stop, the second one does not wait. Ends only with the second.
async fn pass_on_signals(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; stop this process with SIGKILL");
        return std::future::pending().await;
    };
    for seen in 0..2 {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if seen == 0 {
            tracing::info!("Stopping: no new work; a second signal stops at once");
            stop.cancel();
        }
    }
    tracing::warn!("Stopped at once by a second signal");
    std::process::exit(130);
}
