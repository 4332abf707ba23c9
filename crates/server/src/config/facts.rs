//! What is in force and where it came from, as `doctor` shows it. Secrets are hidden here, once.

use super::layers::{Origin, Settings, VARIABLES, Variable};
use super::store::queue_store;
use super::{DATA_DIR, LOCAL_URL, LOG_FILTER, QueueStore, data_dir};

/// One line of `doctor`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Fact {
    /// The variable.
    pub name: &'static str,
    /// Its value; `(hidden)` for secrets, none when unset and without a default.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: String,
}

/// Every variable with its value or default, in the order of the contract.
pub fn facts(settings: &Settings) -> Vec<Fact> {
    VARIABLES.iter().map(|variable| fact(settings, variable)).collect()
}

fn fact(settings: &Settings, variable: &'static Variable) -> Fact {
    let given = settings.get(variable.name);
    let made = match variable.name {
        "JWT_SECRET" => Some("jwt-secret"),
        "LAUNCHKIT_SECRET_KEY" => Some("secret-key"),
        _ => None,
    };
    let made = made.map(|file| data_dir(settings).join(file)).filter(|path| path.exists());
    let (value, origin) = match (given, made) {
        // A URL where only a name belongs may hold a password.
        (Some(value), _) if variable.secret || (variable.name == "REDIS_HOST" && value.contains(['@', '/'])) => {
            (Some("(hidden)".to_owned()), settings.origin(variable.name))
        }
        (Some(value), _) => (Some(value.to_owned()), settings.origin(variable.name)),
        (None, Some(path)) => (Some("(hidden)".to_owned()), Origin::Made(path)),
        (None, None) => (default_of(variable.name, settings), Origin::Default),
    };
    Fact { name: variable.name, value, origin: origin.to_string() }
}

fn default_of(name: &str, settings: &Settings) -> Option<String> {
    let text = match name {
        "LAUNCHKIT_ENV" => "development",
        "LAUNCHKIT_DATA_DIR" => DATA_DIR,
        "LAUNCHKIT_STORE" => match queue_store(settings) {
            Ok(QueueStore::Redis(_)) => "redis",
            _ => "embedded",
        },
        "AUTO_MIGRATE" => "on",
        "HOST" => "127.0.0.1",
        "PORT" => "3001",
        "WORKER_CONCURRENCY" => "5",
        "AI_PROVIDER" => "local",
        "SHUTDOWN_GRACE" => "25s",
        "LOG_FORMAT" => "text",
        "RUST_LOG" => LOG_FILTER,
        "LAUNCHKIT_URL" => LOCAL_URL,
        "QUEUE_PREFIX" if settings.get("REDIS_PREFIX").is_none() => match queue_store(settings) {
            Ok(QueueStore::Redis(options)) => return Some(options.key_prefix().to_owned()),
            _ => return None,
        },
        "DATABASE_URL" => return Some(format!("sqlite://{}", data_dir(settings).join("launchkit.db").display())),
        _ => return None,
    };
    Some(text.to_owned())
}
