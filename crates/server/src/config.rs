//! The configuration of a server or worker process, and of the command line as a client.
//!
//! Text comes from `layers`; here it gets types, bounds and the rules between variables. What is
//! not available in this version is refused by name instead of being ignored. Secrets are kept in
//! `SecretString`, so that printing a configuration never shows one.

pub mod facts;
pub mod layers;
pub mod secrets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

pub use layers::{BadLayer, Origin, Settings, VARIABLES};

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
    /// The service's database.
    pub database: Database,
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
        refuse_redis(settings)?;
        refuse_later(settings)?;
        let production = production(settings)?;
        let data_dir = data_dir(settings);
        let database = database(settings, &data_dir)?;
        let shared = matches!(database, Database::Postgres(_));
        let must = match (shared, production) {
            (true, _) => Some("with PostgreSQL several nodes must share it"),
            (_, true) => Some("LAUNCHKIT_ENV=production requires explicit secrets"),
            _ => None,
        };
        Ok(Config {
            database,
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
    database(settings, &data_dir(settings))
}

/// A length of time as people write it: `250ms`, `25s` (or `25`), `10m`, `1h`, `30d`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let amount: u64 = text[..digits].parse().ok()?;
    let ms = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    amount.checked_mul(ms).map(Duration::from_millis)
}

fn lock_duration(settings: &Settings) -> Result<Duration, BadConfig> {
    let Some(text) = settings.get("LOCK_DURATION") else { return Ok(Duration::from_secs(30)) };
    let range = Duration::from_secs(1)..=Duration::from_secs(3_600);
    duration(text)
        .filter(|time| range.contains(time))
        .ok_or_else(|| refused(settings, "LOCK_DURATION", "expected a time between 1s and 1h, like 30s".to_owned()))
}

fn refused(settings: &Settings, variable: &'static str, what: String) -> BadConfig {
    BadConfig::Refused { variable, origin: settings.origin(variable), what }
}

fn refuse_redis(settings: &Settings) -> Result<(), BadConfig> {
    let unset = "this version has no Redis store yet, and it will not put jobs into a private file while you expect \
                 them in Redis. Unset it to use the embedded store, which needs nothing installed";
    for variable in ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"] {
        if settings.get(variable).is_some() {
            return Err(refused(settings, variable, unset.to_owned()));
        }
    }
    match settings.get("LAUNCHKIT_STORE") {
        None | Some("embedded") => Ok(()),
        Some("redis") => Err(refused(settings, "LAUNCHKIT_STORE", unset.to_owned())),
        Some(_) => Err(refused(
            settings,
            "LAUNCHKIT_STORE",
            "expected embedded (redis is not available in this version)".to_owned(),
        )),
    }
}

fn refuse_later(settings: &Settings) -> Result<(), BadConfig> {
    if settings.get("JWT_JWKS_URL").is_some() {
        let what = "key sets are not available in this version; unset it and share JWT_SECRET (HS256)";
        return Err(refused(settings, "JWT_JWKS_URL", what.to_owned()));
    }
    match settings.get("AI_PROVIDER") {
        None | Some("local") => Ok(()),
        Some(_) => Err(refused(settings, "AI_PROVIDER", "only local is available in this version".to_owned())),
    }
}

fn production(settings: &Settings) -> Result<bool, BadConfig> {
    match settings.get("LAUNCHKIT_ENV") {
        None | Some("development") => Ok(false),
        Some("production") if settings.get("LAUNCHKIT_STORE").is_some() => Ok(true),
        Some("production") => Err(BadConfig::Missing {
            variable: "LAUNCHKIT_STORE",
            why: "LAUNCHKIT_ENV=production requires it, so that no node ends on a private file by mistake",
        }),
        Some(_) => Err(refused(settings, "LAUNCHKIT_ENV", "expected development or production".to_owned())),
    }
}

fn database(settings: &Settings, data_dir: &Path) -> Result<Database, BadConfig> {
    let Some(url) = settings.get("DATABASE_URL") else {
        return Ok(Database::Sqlite(data_dir.join("launchkit.db")));
    };
    if let Some(path) = url.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
        if path.contains(['?', '#']) || path == ":memory:" {
            return Err(refused(
                settings,
                "DATABASE_URL",
                "expected sqlite://PATH with nothing after the path".to_owned(),
            ));
        }
        return Ok(Database::Sqlite(PathBuf::from(path)));
    }
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(refused(settings, "DATABASE_URL", "expected postgres://… or sqlite://PATH".to_owned()));
    }
    if settings.get("LAUNCHKIT_STORE") != Some("embedded") {
        let what = "PostgreSQL is shared and the embedded queue is not: a second node would not see the jobs of the first. \
                    Set LAUNCHKIT_STORE=embedded if one node is what you mean";
        return Err(refused(settings, "DATABASE_URL", what.to_owned()));
    }
    Ok(Database::Postgres(SecretString::from(url)))
}

type MakeSecret = fn(&Path) -> std::io::Result<SecretString>;

fn kept_secret(
    settings: &Settings,
    variable: &'static str,
    path: &Path,
    must: Option<&'static str>,
    make: MakeSecret,
) -> Result<SecretString, BadConfig> {
    match (settings.get(variable), must) {
        (Some(value), _) if value.len() < 32 => {
            Err(refused(settings, variable, "expected at least 32 bytes".to_owned()))
        }
        (Some(value), _) => Ok(SecretString::from(value)),
        (None, Some(why)) => Err(BadConfig::Missing { variable, why }),
        (None, None) => make(path).map_err(|source| BadConfig::Secret { path: path.to_owned(), source }),
    }
}

fn tls(settings: &Settings) -> Result<Option<Tls>, BadConfig> {
    match (settings.get("TLS_CERT"), settings.get("TLS_KEY")) {
        (Some(cert), Some(key)) => Ok(Some(Tls { cert: cert.into(), key: key.into() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(BadConfig::Missing { variable: "TLS_KEY", why: "TLS_CERT is set" }),
        (None, Some(_)) => Err(BadConfig::Missing { variable: "TLS_CERT", why: "TLS_KEY is set" }),
    }
}

fn grace(settings: &Settings) -> Result<Duration, BadConfig> {
    let Some(text) = settings.get("SHUTDOWN_GRACE") else { return Ok(Duration::from_secs(25)) };
    duration(text)
        .filter(|grace| *grace <= Duration::from_secs(3_600))
        .ok_or_else(|| refused(settings, "SHUTDOWN_GRACE", "expected a time like 25s, at most 1h".to_owned()))
}

fn number(
    settings: &Settings,
    variable: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, BadConfig> {
    let Some(text) = settings.get(variable) else { return Ok(default) };
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
        refused(settings, variable, format!("expected a whole number from {} to {}", range.start(), range.end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn settings(dir: &Path, pairs: &[(&'static str, &str)]) -> Settings {
        let mut flags: Vec<_> = pairs.iter().map(|(n, v)| (*n, Some((*v).to_owned()))).collect();
        flags.push(("LAUNCHKIT_DATA_DIR", Some(dir.join("data").display().to_string())));
        Settings::load(&flags, [], dir).unwrap()
    }

    fn refusal(pairs: &[(&'static str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        Config::from_settings(&settings(dir.path(), pairs)).unwrap_err().to_string()
    }

    #[test]
    fn defaults_need_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::from_settings(&settings(dir.path(), &[])).unwrap();
        assert_eq!((config.host.as_str(), config.port, config.worker_concurrency), ("127.0.0.1", 3001, 5));
        assert_eq!(config.shutdown_grace, Duration::from_secs(25));
        assert!(matches!(config.database, Database::Sqlite(path) if path.ends_with("data/launchkit.db")));
        assert!(config.jwt.secret.expose_secret().len() >= 32);
        let again = Config::from_settings(&settings(dir.path(), &[])).unwrap();
        assert_eq!(again.jwt.secret.expose_secret(), config.jwt.secret.expose_secret());
    }

    #[test]
    fn what_is_refused_is_named() {
        for (pairs, parts) in [
            (&[("REDIS_HOST", "localhost")][..], &["REDIS_HOST (from flag)", "Unset it"][..]),
            (&[("REDIS_URL", "redis://:hunter2@x")], &["REDIS_URL", "embedded store"]),
            (&[("REDIS_PORT", "tcp://10.0.0.1:6379")], &["REDIS_PORT"]),
            (&[("LAUNCHKIT_STORE", "redis")], &["LAUNCHKIT_STORE"]),
            (&[("LAUNCHKIT_STORE", "disk")], &["expected embedded"]),
            (&[("JWT_JWKS_URL", "https://x")], &["JWT_JWKS_URL", "not available"]),
            (&[("AI_PROVIDER", "openai")], &["AI_PROVIDER", "local"]),
            (&[("LAUNCHKIT_ENV", "production")], &["LAUNCHKIT_STORE must be set"]),
            (&[("LAUNCHKIT_ENV", "production"), ("LAUNCHKIT_STORE", "embedded")], &["JWT_SECRET must be set"]),
            (&[("LAUNCHKIT_ENV", "prod")], &["LAUNCHKIT_ENV"]),
            (&[("DATABASE_URL", "postgres://u:hunter2@h/d")], &["DATABASE_URL", "LAUNCHKIT_STORE=embedded"]),
            (
                &[("DATABASE_URL", "postgres://u:hunter2@h/d"), ("LAUNCHKIT_STORE", "embedded")],
                &["JWT_SECRET must be set", "PostgreSQL"],
            ),
            (&[("DATABASE_URL", "mysql://hunter2")], &["expected postgres"]),
            (&[("JWT_SECRET", "hunter2")], &["JWT_SECRET", "32 bytes"]),
            (&[("PORT", "70000")], &["PORT", "65535"]),
            (&[("PORT", "-1")], &["PORT"]),
            (&[("WORKER_CONCURRENCY", "0")], &["WORKER_CONCURRENCY"]),
            (&[("SHUTDOWN_GRACE", "2h")], &["SHUTDOWN_GRACE"]),
            (&[("TLS_CERT", "a.pem")], &["TLS_KEY must be set"]),
        ] {
            let message = refusal(pairs);
            assert!(parts.iter().all(|part| message.contains(part)), "{pairs:?}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn postgres_with_everything_that_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = [
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("LAUNCHKIT_STORE", "embedded"),
            ("JWT_SECRET", LONG),
            ("LAUNCHKIT_SECRET_KEY", LONG),
        ];
        let settings = settings(dir.path(), &pairs);
        let config = Config::from_settings(&settings).unwrap();
        assert!(matches!(config.database, Database::Postgres(_)));
        let shown = format!("{config:?} {:?}", facts::facts(&settings));
        assert!(!shown.contains("hunter2") && !shown.contains(LONG), "{shown}");
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("25", 25_000),
            ("25s", 25_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "h", "1w", "-1s", "1.5h", "99999999999999999999", "18446744073709551615d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
