//! `doctor`: what is configured, where it came from, and whether it works. Secrets stay hidden.

use std::io::ErrorKind;

use launchkit_queue::Clock;
use serde::Serialize;

use super::Context;
use super::output::Stop;
use super::table::fitted;
use crate::app;
use crate::config::facts::{Fact, facts};
use crate::config::store::notes;
use crate::config::{Config, Database, QueueStore, data_dir};
use crate::http::listen::{BindError, Listener};
use crate::ledger::Migrate;

mod redis;

#[derive(Serialize)]
struct Report {
    ok: bool,
    settings: Vec<Fact>,
    warnings: Vec<String>,
    checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    result: Verdict,
    detail: String,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Works without it, but less well.
    Note,
    Bad,
}

/// `launchkit doctor`: exit code 1 when something would keep `serve` from working.
pub(super) async fn doctor(context: &Context) -> Result<(), Stop> {
    let mut checks = vec![data_directory(context)];
    match Config::preview(&context.settings) {
        Ok(config) => {
            checks.push(good("configuration", "serve would accept it"));
            let (database, deployment) = database(&config).await;
            checks.push(database);
            if let QueueStore::Redis(options) = &config.queue {
                checks.extend(redis::checks(options, deployment.as_deref()).await);
            }
            checks.push(address(&config).await);
        }
        Err(error) => checks.push(bad("configuration", error.to_string())),
    }
    checks.push(apertium());
    let report = Report {
        ok: checks.iter().all(|check| check.result != Verdict::Bad),
        settings: facts(&context.settings),
        warnings: context.settings.warnings.iter().cloned().chain(notes(&context.settings)).collect(),
        checks,
    };
    context.out.show(&report, text);
    if report.ok { Ok(()) } else { Err(Stop::Told) }
}

/// Nothing is made: a directory that is missing is made by the first start.
fn data_directory(context: &Context) -> Check {
    let dir = data_dir(&context.settings);
    if !dir.exists() {
        return note("data directory", format!("{} will be made at the first start", dir.display()));
    }
    let probe = dir.join(format!(".doctor-{:016x}", rand::random::<u64>()));
    match std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => good("data directory", format!("{} can be written", dir.display())),
        Err(error) => bad("data directory", format!("{} cannot be written: {error}", dir.display())),
    }
}

/// And the deployment that the database is of.
async fn database(config: &Config) -> (Check, Option<String>) {
    let what = match &config.database {
        Database::Sqlite(path) if !path.exists() => {
            let detail = format!("the SQLite file {} will be made at the first start", path.display());
            return (note("database", detail), None);
        }
        Database::Sqlite(path) => format!("SQLite file {}", path.display()),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    match app::open_ledger(&config.database, Migrate::Check, &Clock::system()).await {
        Ok(ledger) => {
            let answered = ledger.ping().await;
            let deployment = ledger.deployment_id().to_owned();
            ledger.close().await;
            match answered {
                Ok(()) => (good("database", format!("{what} answers")), Some(deployment)),
                Err(error) => (bad("database", format!("{what}: {error}")), None),
            }
        }
        Err(error) => (bad("database", format!("{what}: {error}")), None),
    }
}

async fn address(config: &Config) -> Check {
    const NAME: &str = "address";
    match Listener::bind(&config.host, config.port, config.tls.as_ref()).await {
        Ok(listener) => good(NAME, format!("{} is free", listener.url())),
        Err(error) => match &error {
            BindError::Address { source, .. } if source.kind() == ErrorKind::AddrInUse => {
                note(NAME, format!("{error} (a server may be running there)"))
            }
            _ => bad(NAME, error.to_string()),
        },
    }
}

/// Translation is the one job type that needs another program.
fn apertium() -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("apertium")).find(|file| file.is_file());
    match found {
        Some(file) => good("translation", format!("{} is installed", file.display())),
        None => note(
            "translation",
            "Apertium is not installed: TRANSLATE jobs fail at once. On Debian: apt install apertium apertium-eng-spa",
        ),
    }
}

fn good(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, result: Verdict::Ok, detail: detail.into() }
}

fn note(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, result: Verdict::Note, detail: detail.into() }
}

fn bad(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, result: Verdict::Bad, detail: detail.into() }
}

fn text(report: &Report) -> String {
    let shown = |fact: &&Fact| fact.value.is_some();
    let rows: Vec<Vec<String>> = report
        .settings
        .iter()
        .filter(shown)
        .map(|fact| vec![fact.name.to_owned(), fact.value.clone().unwrap_or_default(), fact.origin.clone()])
        .collect();
    let mut lines = vec![fitted(&["SETTING", "VALUE", "FROM"], &rows), String::new()];
    lines.extend(report.warnings.iter().map(|warning| format!("warning  {warning}")));
    for check in &report.checks {
        let word = match check.result {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        lines.push(format!("{word:<8} {}: {}", check.name, check.detail));
    }
    lines.join("\n")
}
