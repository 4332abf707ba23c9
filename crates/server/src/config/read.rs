//! Single settings: their types, their bounds, and which ones this version refuses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::ledger::Migrate;

use super::{BadConfig, Database, QueueStore, Settings, Tls};

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

pub(super) fn lock_duration(settings: &Settings) -> Result<Duration, BadConfig> {
    let Some(text) = settings.get("LOCK_DURATION") else { return Ok(Duration::from_secs(30)) };
    let range = Duration::from_secs(1)..=Duration::from_secs(3_600);
    duration(text)
        .filter(|time| range.contains(time))
        .ok_or_else(|| refused(settings, "LOCK_DURATION", "expected a time between 1s and 1h, like 30s".to_owned()))
}

/// Whether a start may change the database's schema.
pub fn migrate(settings: &Settings) -> Result<Migrate, BadConfig> {
    match settings.get("AUTO_MIGRATE") {
        None | Some("on") => Ok(Migrate::Apply),
        Some("off") => Ok(Migrate::Check),
        Some(_) => Err(refused(settings, "AUTO_MIGRATE", "expected on or off".to_owned())),
    }
}

pub(super) fn refused(settings: &Settings, variable: &'static str, what: String) -> BadConfig {
    BadConfig::Refused { variable, origin: settings.origin(variable), what }
}

pub(super) fn refuse_later(settings: &Settings) -> Result<(), BadConfig> {
    if settings.get("JWT_JWKS_URL").is_some() {
        let what = "key sets are not available in this version; unset it and share JWT_SECRET (HS256)";
        return Err(refused(settings, "JWT_JWKS_URL", what.to_owned()));
    }
    match settings.get("AI_PROVIDER") {
        None | Some("local") => Ok(()),
        Some(_) => Err(refused(settings, "AI_PROVIDER", "only local is available in this version".to_owned())),
    }
}

pub(super) fn production(settings: &Settings) -> Result<bool, BadConfig> {
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

pub(super) fn database(settings: &Settings, queue: &QueueStore, data_dir: &Path) -> Result<Database, BadConfig> {
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
    if matches!(queue, QueueStore::Embedded) && settings.get("LAUNCHKIT_STORE").is_none() {
        let what = "PostgreSQL is shared and the embedded queue is not: a second node would not see the jobs of the first. \
                    Set REDIS_URL to share the queue too, or LAUNCHKIT_STORE=embedded if one node is what you mean";
        return Err(refused(settings, "DATABASE_URL", what.to_owned()));
    }
    Ok(Database::Postgres(SecretString::from(url)))
}

pub(super) type MakeSecret = fn(&Path) -> std::io::Result<SecretString>;

pub(super) fn kept_secret(
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

pub(super) fn tls(settings: &Settings) -> Result<Option<Tls>, BadConfig> {
    match (settings.get("TLS_CERT"), settings.get("TLS_KEY")) {
        (Some(cert), Some(key)) => Ok(Some(Tls { cert: cert.into(), key: key.into() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(BadConfig::Missing { variable: "TLS_KEY", why: "TLS_CERT is set" }),
        (None, Some(_)) => Err(BadConfig::Missing { variable: "TLS_CERT", why: "TLS_KEY is set" }),
    }
}

pub(super) fn grace(settings: &Settings) -> Result<Duration, BadConfig> {
    let Some(text) = settings.get("SHUTDOWN_GRACE") else { return Ok(Duration::from_secs(25)) };
    duration(text)
        .filter(|grace| *grace <= Duration::from_secs(3_600))
        .ok_or_else(|| refused(settings, "SHUTDOWN_GRACE", "expected a time like 25s, at most 1h".to_owned()))
}

pub(super) fn number(
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
