//! Opening: addresses, the schema, the settings, the deployment's identity.

use std::time::Duration;

use super::*;

both![
    a_deployment_keeps_its_id_and_another_has_another,
    nodes_that_open_a_new_database_at_once_agree,
    a_database_without_our_schema_is_refused_when_only_checked,
    a_newer_schema_is_refused,
    a_newer_schema_that_only_adds_is_opened,
    a_closed_ledger_says_so,
    the_settings_that_durability_rests_on_are_in_force,
];

async fn a_deployment_keeps_its_id_and_another_has_another(f: Fixture) {
    let again = f.other_node().await;
    assert_eq!(f.ledger.deployment_id(), again.deployment_id());
    let other = Fixture::sqlite().await;
    assert_ne!(f.ledger.deployment_id(), other.ledger.deployment_id());
    f.ledger.ping().await.unwrap();
    if let Some(at) = f.ledger.server_time().await.unwrap() {
        assert!(at > NOW, "{at}");
    }
}

/// An address of a database in which nothing is.
async fn empty_like(f: &Fixture) -> (DatabaseUrl, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = match &f.url {
        DatabaseUrl::Sqlite(_) => DatabaseUrl::Sqlite(directory.path().join("empty.db")),
        DatabaseUrl::Postgres(_) => postgres_url(),
    };
    (url, directory)
}

async fn nodes_that_open_a_new_database_at_once_agree(f: Fixture) {
    let (url, _directory) = empty_like(&f).await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let url = url.clone();
        tasks.push(tokio::spawn(async move {
            let ledger = Ledger::open(&url, OpenOptions::default(), NOW).await;
            ledger.unwrap().deployment_id().to_owned()
        }));
    }
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
}

async fn a_database_without_our_schema_is_refused_when_only_checked(f: Fixture) {
    let check = OpenOptions { migrate: Migrate::Check, ..OpenOptions::default() };
    let (url, _directory) = empty_like(&f).await;
    let refused = Ledger::open(&url, check.clone(), NOW).await.err().unwrap();
    assert!(matches!(refused, OpenError::Schema { found: 0, .. }), "{refused}");
    assert!(refused.to_string().contains("launchkit migrate"));
    // Checking changed nothing, and what is up to date passes.
    assert!(Ledger::open(&url, check.clone(), NOW).await.is_err());
    assert!(Ledger::open(&f.url, check, NOW).await.is_ok());
}

async fn a_newer_schema_is_refused(f: Fixture) {
    f.sql("INSERT INTO schema_version (version, oldest) VALUES (1000, 2)").await;
    let refused = Ledger::open(&f.url, OpenOptions::default(), NOW).await.err();
    assert!(matches!(refused, Some(OpenError::Schema { found: 1_000, .. })));
}

async fn a_newer_schema_that_only_adds_is_opened(f: Fixture) {
    f.sql("INSERT INTO schema_version (version, oldest) VALUES (1000, 1)").await;
    for migrate in [Migrate::Apply, Migrate::Check] {
        let opened = Ledger::open(&f.url, OpenOptions { migrate, ..OpenOptions::default() }, NOW).await;
        assert_eq!(opened.unwrap().deployment_id(), f.ledger.deployment_id());
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM schema_version").await, 2);
}

async fn a_closed_ledger_says_so(f: Fixture) {
    f.ledger.close().await;
    assert!(matches!(f.ledger.ping().await, Err(LedgerError::Unreachable(_))));
}

async fn the_settings_that_durability_rests_on_are_in_force(f: Fixture) {
    match f.ledger.db() {
        super::db::Db::Sqlite { .. } => {
            assert_eq!(f.sql("PRAGMA journal_mode").await.remove(0).text().unwrap(), "wal");
            assert_eq!(f.number("PRAGMA synchronous").await, 2);
        }
        super::db::Db::Pg { .. } => {
            let level = "SELECT current_setting('transaction_isolation')";
            let level = f.sql(level).await.remove(0).text().unwrap();
            assert_eq!(level, "read committed");
        }
    }
}

#[test]
fn addresses_are_read_or_refused_and_never_show_a_password() {
    for text in ["sqlite:///var/lib/l.db", "sqlite:l.db", "sqlite://l.db"] {
        assert!(matches!(DatabaseUrl::parse(text), Ok(DatabaseUrl::Sqlite(_))), "{text}");
    }
    let url = DatabaseUrl::parse("postgres://user:s3cret@host:5432/base?sslmode=disable").unwrap();
    for shown in [url.to_string(), format!("{url:?}"), url.shown()] {
        assert_eq!(shown, "postgres://host:5432/base");
    }
    let bad = [
        "",
        "mysql://x",
        "sqlite:",
        "sqlite::memory:",
        "sqlite://a.db?mode=ro",
        "postgres://user:s3cret@host:99999999/x",
    ];
    for text in bad {
        let refused = DatabaseUrl::parse(text).unwrap_err().to_string();
        assert!(refused.contains("DATABASE_URL"), "{refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_said() {
    let nowhere = DatabaseUrl::Sqlite("/nonexistent/ledger.db".into());
    let refused = Ledger::open(&nowhere, OpenOptions::default(), NOW).await;
    assert!(matches!(refused.err(), Some(OpenError::Unreachable { .. })));
}

/// As of a process that is frozen: what it has locked is free again, and it is told when it goes on.
#[tokio::test]
async fn a_transaction_that_stands_still_holds_nobody_up_on_postgres() {
    let url = postgres_url();
    let open = || async {
        let options = OpenOptions { patience: Duration::from_millis(300), ..OpenOptions::default() };
        Ledger::open(&url, options, NOW).await.unwrap()
    };
    let (frozen, other) = (open().await, open().await);
    let touch = || Sql::new("test.touch", "UPDATE meta SET value = value WHERE name = 'deployment'");
    let mut stands = frozen.db().write().await.unwrap();
    assert_eq!(stands.run(touch()).await.unwrap(), 1);
    let goes_on = async {
        loop {
            match other.db().run(touch()).await {
                Err(LedgerError::Busy(_)) => {}
                done => return done.unwrap(),
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), goes_on).await.expect("it is free again"), 1);
    assert!(matches!(stands.run(touch()).await, Err(LedgerError::Unreachable(_))));
}
