//! What is in force, and what is refused.

use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

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
        (&[("REDIS_PORT", "6379")][..], &["REDIS_PORT (from flag)", "REDIS_HOST"][..]),
        (&[("LAUNCHKIT_STORE", "redis")], &["REDIS_URL must be set"]),
        (&[("JWT_JWKS_URL", "https://x")], &["JWT_JWKS_URL", "not available"]),
        (&[("AI_PROVIDER", "openai")], &["AI_PROVIDER", "local"]),
        (&[("LAUNCHKIT_ENV", "production")], &["LAUNCHKIT_STORE must be set"]),
        (&[("LAUNCHKIT_ENV", "production"), ("LAUNCHKIT_STORE", "embedded")], &["JWT_SECRET must be set"]),
        (
            &[("LAUNCHKIT_ENV", "production"), ("LAUNCHKIT_STORE", "embedded"), ("JWT_SECRET", LONG)],
            &["LAUNCHKIT_SECRET_KEY must be set"],
        ),
        (&[("LAUNCHKIT_ENV", "prod")], &["LAUNCHKIT_ENV"]),
        (&[("DATABASE_URL", "postgres://u:hunter2@h/d")], &["DATABASE_URL", "REDIS_URL", "LAUNCHKIT_STORE=embedded"]),
        (&[("DATABASE_URL", "postgres://u:hunter2@h/d"), ("REDIS_HOST", "r")], &["JWT_SECRET must be set"]),
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
fn redis_with_everything_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [
        ("LAUNCHKIT_ENV", "production"),
        ("LAUNCHKIT_STORE", "redis"),
        ("REDIS_HOST", "r"),
        ("REDIS_PASSWORD", "hunter2"),
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("JWT_SECRET", LONG),
        ("LAUNCHKIT_SECRET_KEY", LONG),
    ];
    let settings = settings(dir.path(), &pairs);
    let config = Config::from_settings(&settings).unwrap();
    assert!(matches!((&config.database, &config.queue), (Database::Postgres(_), QueueStore::Redis(_))));
    let facts = facts::facts(&settings);
    let shown = format!("{config:?} {facts:?}");
    assert!(!shown.contains("hunter2") && shown.contains("r:6379"), "{shown}");
    assert!(facts.iter().any(|fact| fact.name == "QUEUE_PREFIX" && fact.value.as_deref() == Some("bull")));
}

#[test]
fn durations() {
    for (text, ms) in
        [("25", 25_000), ("25s", 25_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000), ("30d", 2_592_000_000)]
    {
        assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "h", "1w", "-1s", "1.5h", "99999999999999999999", "18446744073709551615d"] {
        assert_eq!(duration(text), None, "{text}");
    }
}
