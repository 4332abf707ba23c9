//! Commands that need no server.

use serde_json::Value;

use crate::support::{Place, assert_found};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn wrong_use_is_2_and_says_what_is_wrong() {
    let place = Place::new();
    for (arguments, environment, part) in [
        (&["nope"][..], &[][..], "nope"),
        (&["run", "NAP"], &[], "NAP"),
        (&["token", "create"], &[], "--role"),
        (&["token", "create", "--role", "viewer", "--ttl", "soon"], &[], "--ttl"),
        (&["serve"], &[("REDIS_PORT", "6379")], "REDIS_PORT (from environment)"),
        (
            &["worker"],
            &[("REDIS_URL", "redis://:hunter2@h"), ("LAUNCHKIT_STORE", "embedded")],
            "REDIS_URL (from environment)",
        ),
        (
            &["serve"],
            &[("REDIS_URL", "redis://:hunter2@h"), ("REDIS_TLS_CA", "ca.pem")],
            "REDIS_TLS_CA (from environment)",
        ),
        (&["serve"], &[("REDIS_URL", "redis-cluster://h"), ("QUEUE_PREFIX", "x")], "QUEUE_PREFIX (from environment)"),
        (&["serve"], &[("LAUNCHKIT_ENV", "production")], "LAUNCHKIT_STORE must be set"),
        (&["worker"], &[("REDIS_URL", "rediss:hunter2")], "REDIS_URL (from environment)"),
        (&["worker"], &[("LAUNCHKIT_STORE", "redis")], "REDIS_URL must be set"),
        (&["serve", "--port", "99999"], &[], "PORT (from flag)"),
        (&["serve"], &[("JWT_SECRET", "hunter2")], "32 bytes"),
        (&["serve"], &[("DATABASE_URL", "postgres://u:hunter2@h/d")], "LAUNCHKIT_STORE=embedded"),
        (&["jobs", "list"], &[], "LAUNCHKIT_API_KEY"),
        (&["queue", "metrics"], &[], "LAUNCHKIT_TOKEN"),
    ] {
        let ran = place.run(arguments, environment);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(part) && !ran.err.contains("hunter2"), "{arguments:?}: {ran:?}");
        assert_eq!(ran.out, "", "{arguments:?}");
    }
    assert!(!place.path("launchkit-data").exists(), "a refused start leaves nothing behind");
}

#[test]
fn a_server_that_is_not_there_is_3() {
    let place = Place::new();
    let environment =
        [("LAUNCHKIT_URL", "http://127.0.0.1:9"), ("LAUNCHKIT_API_KEY", "lk_live_a_b"), ("LAUNCHKIT_TOKEN", "t")];
    for arguments in [&["jobs", "get", "c1"][..], &["jobs", "list", "--json"], &["queue", "pause"]] {
        let ran = place.run(arguments, &environment);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("cannot reach http://127.0.0.1:9"), "{ran:?}");
    }
}

#[test]
fn keys_are_made_listed_and_revoked_without_a_server() {
    let place = Place::new();
    let made = place.run(&["keys", "create", "--json", "--scopes", "jobs:read"], &[]);
    assert_eq!(made.code, 0, "{made:?}");
    let made = made.json();
    assert_eq!(keys(&made), ["id", "key", "org", "prefix"]);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with(made["prefix"].as_str().unwrap()));
    let list = place.run(&["keys", "list", "--json"], &[]);
    assert_eq!(list.json()["apiKeys"][0]["state"], "active");
    assert_eq!(list.json()["apiKeys"][0]["scopes"], serde_json::json!(["jobs:read"]));
    assert!(!list.out.contains(key));
    assert_eq!(place.run(&["keys", "revoke", id], &[]).code, 0);
    assert_eq!(place.run(&["keys", "list", "--json"], &[]).json()["apiKeys"][0]["state"], "revoked");
    assert_eq!(place.run(&["keys", "revoke", "cnone"], &[]).code, 1);
    // For people, the key alone, so that it can go into a variable.
    let plain = place.run(&["keys", "create"], &[]);
    assert!(plain.out.starts_with("lk_live_") && plain.out.lines().count() == 1, "{plain:?}");
}

#[test]
fn tokens_say_when_they_end() {
    let place = Place::new();
    let made = place.run(&["token", "create", "--role", "operator", "--ttl", "1h", "--json"], &[]).json();
    assert_eq!(keys(&made), ["expiresAt", "token"]);
    assert_eq!(made["token"].as_str().unwrap().split('.').count(), 3);
    let secret = place.path("launchkit-data/jwt-secret");
    assert_eq!(crate::support::mode(&secret), 0o600);
    assert_eq!(crate::support::mode(&place.path("launchkit-data")), 0o700);
}

#[test]
fn run_does_one_job_and_leaves_nothing_behind() {
    let place = Place::new();
    let ran = place.feed(&["run", "extract", "--types", "EMAIL"], "Write to a@example.com today.");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["entities"][0]["text"], "a@example.com");
    let whole = place.run(&["run", "SENTIMENT", "--text", "I love it", "--json"], &[]).json();
    assert_eq!((&whole["type"], &whole["output"]["sentiment"]), (&"SENTIMENT".into(), &"positive".into()));
    assert!(whole["tokenUsed"].as_u64().unwrap() > 0);
    let blank = place.feed(&["run", "SUMMARIZE", "-"], "  \n");
    assert!(blank.code == 2 && blank.err.contains("/text"), "{blank:?}");
    assert_eq!(place.run(&["run", "SUMMARIZE", "absent.txt"], &[]).code, 1);
    assert!(!place.path("launchkit-data").exists());
}

#[test]
fn doctor_tells_an_address_that_is_taken_from_one_that_cannot_be_had() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = place.run(&["doctor", "--json"], &[("PORT", &port)]);
    assert_found(&ran, "address", "note", "a server may be running there");
    assert_eq!(ran.code, 0, "{ran:?}");
    let papers = [("TLS_CERT", "none.pem"), ("TLS_KEY", "none.pem"), ("PORT", "0")];
    // The second one is reserved for documents: no machine has it.
    for (environment, part) in [(&papers[..], "TLS"), (&[("HOST", "192.0.2.1"), ("PORT", "0")], "192.0.2.1")] {
        let ran = place.run(&["doctor", "--json"], environment);
        assert_found(&ran, "address", "bad", part);
        assert_eq!(ran.code, 1, "{ran:?}");
        let served = place.run(&["serve"], environment);
        assert!(served.code == 1 && served.err.contains(part), "{served:?}");
    }
}

#[test]
fn doctor_names_sources_hides_secrets_and_changes_nothing() {
    let place = Place::new();
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    std::fs::write(place.path(".env"), format!("JWT_SECRET='{secret}'\nREDIS_PASSWORD=\"\"  # none\nPORT=0\n"))
        .unwrap();
    let environment = [("WORKER_CONCURRENCY", "9"), ("LAUNCHKIT_TYPO", "1")];
    let ran = place.run(&["doctor", "--json"], &environment);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    let fact = |name: &str| {
        let facts = report["settings"].as_array().unwrap();
        facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    assert_eq!(
        (&fact("WORKER_CONCURRENCY")["value"], &fact("WORKER_CONCURRENCY")["origin"]),
        (&"9".into(), &"environment".into())
    );
    assert_eq!(fact("JWT_SECRET")["value"], "(hidden)");
    assert!(fact("JWT_SECRET")["origin"].as_str().unwrap().ends_with(".env"));
    assert_eq!((&fact("REDIS_PASSWORD")["value"], &fact("HOST")["origin"]), (&Value::Null, &"default".into()));
    assert!(report["warnings"][0].as_str().unwrap().contains("LAUNCHKIT_TYPO"));
    let text = place.run(&["doctor"], &environment);
    assert!(!ran.out.contains("hunter2") && !text.out.contains("hunter2"));
    assert!(text.out.contains("WORKER_CONCURRENCY") && text.out.contains("environment"), "{text:?}");
    assert!(!place.path("launchkit-data").exists());
    assert_eq!(place.run(&["doctor"], &[("REDIS_PORT", "6379")]).code, 1);
}

#[test]
fn migrate_makes_the_schema_and_may_be_repeated() {
    let place = Place::new();
    for _ in 0..2 {
        let ran = place.run(&["migrate", "--json"], &[]);
        assert_eq!((ran.code, &ran.json()["migrated"]), (0, &Value::Bool(true)), "{ran:?}");
    }
}

#[test]
fn the_demo_shows_five_jobs_and_touches_nothing() {
    let place = Place::new();
    // Settings that would send a server elsewhere do not reach the demo.
    let ran = place.run(&["demo"], &[("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"), ("PORT", "1")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "SUMMARIZE",
        "CLASSIFY",
        "SENTIMENT",
        "TRANSLATE",
        "EXTRACT",
        "QUEUED",
        "PROCESSING",
        "Sports",
        "positive",
        "How to go on",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let widest = ran
        .out
        .lines()
        .filter(|line| !line.contains(env!("CARGO_BIN_EXE_launchkit")))
        .map(|line| line.chars().count())
        .max();
    assert!(widest.unwrap() <= 100, "{}", ran.out);
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);

    std::fs::write(
        place.path("own.txt"),
        "My own words are wonderful. They go to own@example.com. And a third sentence stands here.",
    )
    .unwrap();
    let ran = place.run(&["demo", "--json", "--text", "own.txt"], &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = ran.json();
    let jobs = shown["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 5);
    for job in jobs {
        assert!(job["input"]["text"].as_str().unwrap().starts_with("My own words"));
        let translated = job["type"] != "TRANSLATE" || shown["translationAvailable"] == true;
        assert_eq!(job["status"], if translated { "SUCCEEDED" } else { "FAILED" }, "{job}");
    }
}

#[test]
fn with_auto_migrate_off_only_migrate_changes_the_schema() {
    let place = Place::new();
    let off = [("AUTO_MIGRATE", "off")];
    let refused = place.run(&["keys", "create"], &off);
    assert!(refused.code == 1 && refused.err.contains("launchkit migrate"), "{}", refused.err);
    assert_eq!(place.run(&["migrate"], &off).code, 0);
    assert_eq!(place.run(&["keys", "create"], &off).code, 0);
    let odd = place.run(&["keys", "create"], &[("AUTO_MIGRATE", "perhaps")]);
    assert!(odd.code == 2 && odd.err.contains("on or off"), "{}", odd.err);
}
