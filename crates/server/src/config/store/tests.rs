//! Where the queue is, by which settings.

use super::*;

fn settings(pairs: &[(&'static str, &str)]) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let flags: Vec<_> = pairs.iter().map(|(name, value)| (*name, Some((*value).to_owned()))).collect();
    Settings::load(&flags, [], dir.path()).unwrap()
}

fn redis(pairs: &[(&'static str, &str)]) -> RedisOptions {
    match queue_store(&settings(pairs)) {
        Ok(QueueStore::Redis(options)) => *options,
        other => panic!("{pairs:?}: {other:?}"),
    }
}

#[test]
fn redis_is_named_by_a_url_or_by_parts() {
    let whole = redis(&[("REDIS_URL", "redis://me:hunter2@box:7000/3"), ("REDIS_PREFIX", "shop")]);
    let parts = redis(&[
        ("REDIS_HOST", "box"),
        ("REDIS_PORT", "7000"),
        ("REDIS_USERNAME", "me"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_DB", "3"),
        ("QUEUE_PREFIX", "shop"),
    ]);
    assert_eq!(whole, parts);
    assert!(!format!("{whole:?}").contains("hunter2"));
    assert_eq!(redis(&[("REDIS_HOST", "localhost")]).address(), "localhost:6379");
    assert_eq!(redis(&[("REDIS_HOST", "[::1]")]).address(), redis(&[("REDIS_HOST", "::1")]).address());
    assert_eq!(redis(&[("REDIS_URL", "unix:///run/redis.sock")]).address(), "/run/redis.sock");
    assert_eq!(redis(&[("REDIS_URL", "redis-cluster://a:1,b:2")]).key_prefix(), "{bull}");
    // The mission document's own lines, and what empty means.
    let empty = [("REDIS_HOST", "localhost"), ("REDIS_PORT", "6379"), ("REDIS_PASSWORD", ""), ("REDIS_URL", "")];
    assert!(!redis(&empty).has_login() && redis(&empty).key_prefix() == "bull");
    assert!(matches!(queue_store(&settings(&[("REDIS_URL", "")])), Ok(QueueStore::Embedded)));
}

#[test]
fn a_url_wins_over_parts() {
    let url = ("REDIS_URL", "redis://localhost:6379");
    for parts in [
        &[url, ("REDIS_HOST", "box"), ("REDIS_PORT", "7000"), ("REDIS_PASSWORD", "hunter2")][..],
        &[url, ("REDIS_PORT", "tcp://10.0.0.1:6379")],
        &[url, ("REDIS_DB", "7")],
    ] {
        assert_eq!(redis(parts), RedisOptions::server("localhost", 6379), "{parts:?}");
    }
    // A login that it leaves out may stand apart, unless that belongs to another host.
    let added = [url, ("REDIS_USERNAME", "me"), ("REDIS_PASSWORD", "hunter2")];
    assert_eq!(redis(&added), RedisOptions::server("localhost", 6379).user("me").password("hunter2"));
    let own = [("REDIS_URL", "redis://:hunter2@a"), ("REDIS_PASSWORD", "hunter3")];
    assert_eq!(redis(&own), redis(&own[..1]));

    let noted = |pairs: &[(&'static str, &str)]| notes(&settings(pairs)).into_iter().next().unwrap();
    assert!(
        noted(&[url, ("REDIS_HOST", "localhost"), ("REDIS_DB", "7")]).contains("without effect: REDIS_HOST, REDIS_DB")
    );
    assert!(noted(&own).contains("without effect: REDIS_PASSWORD") && !noted(&own).contains("hunter"));
    assert!(!noted(&added).contains("without effect"));
    assert!(!noted(&[url, ("REDIS_PORT", "tcp://10.0.0.1:6379")]).contains("without effect"));
}

#[test]
fn the_store_that_is_named_must_be_the_one_that_is_configured() {
    for variable in ALL {
        let pairs = [("LAUNCHKIT_STORE", "embedded"), (variable, "1")];
        let message = queue_store(&settings(&pairs)).unwrap_err().to_string();
        assert!(message.starts_with(variable) && message.contains("LAUNCHKIT_STORE=embedded"), "{message}");
    }
    // What Kubernetes sets by itself is nobody's wish.
    let kubernetes = settings(&[("LAUNCHKIT_STORE", "embedded"), ("REDIS_PORT", "tcp://10.0.0.1:6379")]);
    assert!(matches!(queue_store(&kubernetes), Ok(QueueStore::Embedded)));
    redis(&[("LAUNCHKIT_STORE", "redis"), ("REDIS_HOST", "a")]);
}

#[test]
fn certificates_are_files_for_encrypted_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let (ca, key) = (file("ca.pem", "-----BEGIN CERTIFICATE-----\n"), file("key.pem", "-----BEGIN PRIVATE KEY-----\n"));
    let (text, large) = (file("text", "hunter2"), file("large", &"-----BEGIN ".repeat(100_000)));
    let url = ("REDIS_URL", "rediss://a");
    redis(&[url, ("REDIS_TLS_CA", &ca), ("REDIS_TLS_CERT", &ca), ("REDIS_TLS_KEY", &key)]);
    redis(&[("REDIS_URL", "rediss-cluster://a"), ("REDIS_TLS_CA", &ca)]);
    for (pairs, parts) in [
        (&[url, ("REDIS_TLS_CERT", &*ca)][..], &["REDIS_TLS_KEY must be set"][..]),
        (&[url, ("REDIS_TLS_KEY", &key)], &["REDIS_TLS_CERT must be set"]),
        (&[("REDIS_URL", "redis://a"), ("REDIS_TLS_CA", &ca)], &["REDIS_TLS_CA", "rediss://"]),
        (&[("REDIS_HOST", "a"), ("REDIS_TLS_CERT", &ca), ("REDIS_TLS_KEY", &key)], &["REDIS_TLS_CERT", "rediss://"]),
        (&[url, ("REDIS_TLS_CA", "/nowhere/ca.pem")], &["REDIS_TLS_CA", "/nowhere/ca.pem", "No such file"]),
        (&[url, ("REDIS_TLS_CA", &text)], &["REDIS_TLS_CA", "-----BEGIN"]),
        (&[url, ("REDIS_TLS_CA", &large)], &["REDIS_TLS_CA", "1048576 bytes"]),
    ] {
        let message = queue_store(&settings(pairs)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{pairs:?}: {message}");
        assert!(!message.contains("hunter"), "{message}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_by_name_and_shows_no_password() {
    let url = ("REDIS_URL", "redis://:hunter2@a:1");
    for (pairs, parts) in [
        (&[("REDIS_URL", "http://:hunter2@a")][..], &["REDIS_URL (from flag)", "scheme"][..]),
        (&[("REDIS_PORT", "6379")], &["REDIS_PORT", "REDIS_HOST"]),
        (&[("REDIS_TLS_CA", "x")], &["REDIS_TLS_CA", "REDIS_URL"]),
        (&[("REDIS_PASSWORD", "hunter2")], &["REDIS_PASSWORD", "REDIS_HOST"]),
        (&[("REDIS_PORT", "tcp://10.0.0.1:6379")], &["REDIS_PORT", "Kubernetes"]),
        (&[("REDIS_HOST", "a"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], &["REDIS_PORT", "Kubernetes"]),
        (&[("REDIS_HOST", "redis://:hunter2@a")], &["REDIS_HOST", "REDIS_URL"]),
        (&[("REDIS_HOST", "a:1")], &["REDIS_HOST", "REDIS_PORT"]),
        (&[("REDIS_HOST", "a"), ("REDIS_PORT", "0")], &["REDIS_PORT", "65535"]),
        (&[("REDIS_HOST", "a"), ("REDIS_DB", "-1")], &["REDIS_DB"]),
        (&[("REDIS_HOST", "a"), ("REDIS_USERNAME", "me")], &["REDIS_PASSWORD must be set"]),
        (&[("LAUNCHKIT_STORE", "redis")], &["REDIS_URL must be set", "REDIS_HOST"]),
        (&[("LAUNCHKIT_STORE", "disk")], &["expected embedded or redis"]),
        (
            &[url, ("REDIS_PREFIX", "a"), ("QUEUE_PREFIX", "b")],
            &["QUEUE_PREFIX (from flag)", "REDIS_PREFIX says another"],
        ),
        (&[url, ("REDIS_PREFIX", "a b")], &["REDIS_PREFIX", "spaces"]),
        (&[("REDIS_URL", "redis-cluster://a"), ("QUEUE_PREFIX", "x")], &["QUEUE_PREFIX", "{bull}"]),
        (&[("REDIS_URL", "redis-cluster://a/2")], &["REDIS_URL", "database"]),
    ] {
        let message = queue_store(&settings(pairs)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{pairs:?}: {message}");
        assert!(!message.contains("hunter"), "{message}");
    }
}

#[test]
fn what_is_allowed_and_may_surprise_is_noted() {
    assert!(notes(&settings(&[("REDIS_URL", "redis://a")]))[0].contains("only processes of this machine"));
    assert!(notes(&settings(&[("QUEUE_PREFIX", "shop")]))[0].contains("no effect on the embedded queue"));
    let shared = [("REDIS_URL", "redis://a"), ("DATABASE_URL", "postgres://b/c")];
    assert_eq!((notes(&settings(&shared)), notes(&settings(&[]))), (Vec::new(), Vec::new()));
}
