//! The configuration of a server or worker process, and of the command line as a client.
//!
//! Text comes from `layers`; here it gets types, bounds and the rules between variables. What is
//! not available in this version is refused by name instead of being ignored. Secrets are kept in
//! `SecretString`, so that printing a configuration never shows one.

pub mod facts;
pub mod layers;
mod read;
pub mod secrets;
pub mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::ledger::Migrate;

pub use layers::{BadLayer, Origin, Settings, VARIABLES};
use read::{MakeSecret, database, grace, kept_secret, lock_duration, number, production, refuse_later, refused, tls};
pub use read::{duration, migrate};
pub use store::{QueueStore, queue_store};

/// Where data lives unless something else is said, relative to the current directory.
pub const DATA_DIR: &str = "./launchkit-data";
/// The address of a server on this machine.
pub const LOCAL_URL: &str = "http://localhost:3001";

/// What is logged unless `RUST_LOG` says otherwise. The file watcher tells of every watch that it
/// ends, which is no news to anybody.
const LOG_FILTER: &str = "info,notify=warn";

/// What a `serve` or `worker` process runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Embedded files and made secrets.
    pub data_dir: PathBuf,
    /// The queue.
    pub queue: QueueStore,
    /// The service's database.
    pub database: Database,
    /// Whether a start may bring its schema up to date.
    pub migrate: Migrate,
    /// Name or address to listen on.
    pub host: String,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Certificate and key, when the server itself speaks TLS.
    pub tls: Option<Tls>,
    /// Operators' tokens.
    pub jwt: Jwt,
    /// Encrypts secrets at rest.
    pub secret_key: SecretString,
    /// Jobs at once per queue and process, 1 to 1,000.
    pub worker_concurrency: usize,
    /// How long a job stays with a worker that gives no sign of life, 1 s to an hour.
    pub lock_duration: Duration,
    /// How long running jobs and open requests may take to end after a stop, at most an hour.
    pub shutdown_grace: Duration,
}

/// Where the service's rows are.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the address may hold a password.
    Postgres(SecretString),
}

/// Files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// How operators' tokens are signed and checked: HS256 with one shared secret.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// At least 32 bytes.
    pub secret: SecretString,
    /// `iss` that a token must carry, when set.
    pub issuer: Option<String>,
    /// `aud` that a token must carry, when set.
    pub audience: Option<String>,
}

/// What the command line needs to talk to a server.
#[derive(Debug, Clone)]
pub struct Client {
    /// Address of the server, without a slash at its end.
    pub url: String,
    /// For the jobs API.
    pub api_key: Option<SecretString>,
    /// For administration.
    pub token: Option<SecretString>,
}

/// How a process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Lines for people or JSON.
    pub format: LogFormat,
    /// Filter in `RUST_LOG`'s language.
    pub filter: String,
    /// Also append to this file.
    pub file: Option<PathBuf>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text per event.
    Text,
    /// A JSON object per event.
    Json,
}

/// Why a process with these settings is not started.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// A value is not acceptable, or two do not go together.
    #[error("{variable} (from {origin}): {what}")]
    Refused {
        /// The variable that decides.
        variable: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// What is expected, and what to do.
        what: String,
    },
    /// A variable is needed and not set.
    #[error("{variable} must be set: {why}")]
    Missing {
        /// The variable.
        variable: &'static str,
        /// Why it is needed here.
        why: &'static str,
    },
    /// A secret could neither be read nor made.
    #[error("cannot keep the secret in {path}: {source}")]
    Secret {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Config {
    /// Decides what is in force. Secrets that are unset are made in the data directory, if the
    /// rules allow that.
    pub fn from_settings(settings: &Settings) -> Result<Config, BadConfig> {
        Config::decide(settings, secrets::keep)
    }

    /// The same decisions, without making anything: a secret that `from_settings` would make is a
    /// random one that nobody keeps. For looking, not for running.
    pub fn preview(settings: &Settings) -> Result<Config, BadConfig> {
        Config::decide(settings, secrets::kept_or_passing)
    }

    fn decide(settings: &Settings, make: MakeSecret) -> Result<Config, BadConfig> {
        let queue = queue_store(settings)?;
        refuse_later(settings)?;
        let production = production(settings)?;
        let data_dir = data_dir(settings);
        let database = database(settings, &queue, &data_dir)?;
        let shared = matches!(database, Database::Postgres(_));
        let must = match (shared, production) {
            (true, _) => Some("with PostgreSQL several nodes must share it"),
            (_, true) => Some("LAUNCHKIT_ENV=production requires explicit secrets"),
            _ => None,
        };
        Ok(Config {
            queue,
            database,
            migrate: migrate(settings)?,
            host: settings.get("HOST").unwrap_or("127.0.0.1").to_owned(),
            port: number(settings, "PORT", 3001, 0..=65_535)? as u16,
            tls: tls(settings)?,
            jwt: Jwt {
                secret: kept_secret(settings, "JWT_SECRET", &data_dir.join("jwt-secret"), must, make)?,
                issuer: settings.get("JWT_ISSUER").map(str::to_owned),
                audience: settings.get("JWT_AUDIENCE").map(str::to_owned),
            },
            secret_key: kept_secret(settings, "LAUNCHKIT_SECRET_KEY", &data_dir.join("secret-key"), must, make)?,
            worker_concurrency: number(settings, "WORKER_CONCURRENCY", 5, 1..=1_000)? as usize,
            lock_duration: lock_duration(settings)?,
            shutdown_grace: grace(settings)?,
            data_dir,
        })
    }
}

impl Client {
    /// The server and credentials that the command line uses.
    pub fn from_settings(settings: &Settings) -> Result<Client, BadConfig> {
        let url = settings.get("LAUNCHKIT_URL").unwrap_or(LOCAL_URL).trim_end_matches('/');
        let parsed = reqwest::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if parsed.is_none() {
            return Err(refused(settings, "LAUNCHKIT_URL", "expected http://HOST:PORT or https://HOST".to_owned()));
        }
        let secret = |name| settings.get(name).map(SecretString::from);
        Ok(Client { url: url.to_owned(), api_key: secret("LAUNCHKIT_API_KEY"), token: secret("LAUNCHKIT_TOKEN") })
    }
}

impl Logging {
    /// Format, filter and file of the logs.
    pub fn from_settings(settings: &Settings) -> Result<Logging, BadConfig> {
        let format = match settings.get("LOG_FORMAT").unwrap_or("text") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err(refused(settings, "LOG_FORMAT", "expected text or json".to_owned())),
        };
        let filter = settings.get("RUST_LOG").unwrap_or(LOG_FILTER).to_owned();
        Ok(Logging { format, filter, file: settings.get("LOG_FILE").map(PathBuf::from) })
    }
}

/// The data directory alone, for commands that need nothing else.
pub fn data_dir(settings: &Settings) -> PathBuf {
    PathBuf::from(settings.get("LAUNCHKIT_DATA_DIR").unwrap_or(DATA_DIR))
}

/// The database alone, for commands that need nothing else.
pub fn database_of(settings: &Settings) -> Result<Database, BadConfig> {
    database(settings, &queue_store(settings)?, &data_dir(settings))
}
