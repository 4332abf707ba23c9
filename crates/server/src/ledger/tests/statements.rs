//! The statements themselves: each is understood by both databases, and none walks a table that grows.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;

use super::*;

/// Every file that holds statements.
const SOURCES: [&str; 18] = [
    include_str!("../announce.rs"),
    include_str!("../audit.rs"),
    include_str!("../begin.rs"),
    include_str!("../cancel.rs"),
    include_str!("../counters.rs"),
    include_str!("../create.rs"),
    include_str!("../dispatch.rs"),
    include_str!("../end.rs"),
    include_str!("../hooks.rs"),
    include_str!("../idempotency.rs"),
    include_str!("../jobs.rs"),
    include_str!("../keys.rs"),
    include_str!("../list.rs"),
    include_str!("../open.rs"),
    include_str!("../orgs.rs"),
    include_str!("../periods.rs"),
    include_str!("../reconcile.rs"),
    include_str!("../settle.rs"),
];

/// Rooms whose names begin a statement's name.
const ROOMS: [&str; 18] = [
    "announce",
    "audit",
    "begin",
    "cancel",
    "counters",
    "create",
    "dispatch",
    "end",
    "hooks",
    "idempotency",
    "jobs",
    "keys",
    "list",
    "open",
    "orgs",
    "periods",
    "reconcile",
    "settle",
];

/// Statements that only one of the databases needs.
const SQLITE_ONLY: [&str; 3] = ["open.journal_mode", "open.synchronous", "open.has_version.sqlite"];
const POSTGRES_ONLY: [&str; 6] =
    ["open.has_version.pg", "open.lock", "open.patience", "periods.lock", "settle.lock.deliveries", "settle.lock.jobs"];

/// The names of all statements in the sources: string literals of the form `room.word…`.
fn names_in_sources() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for source in SOURCES {
        for literal in source.split('"') {
            let Some((room, rest)) = literal.split_once('.') else {
                continue;
            };
            let word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            if ROOMS.contains(&room) && !rest.is_empty() && rest.chars().all(word) {
                names.insert(literal);
            }
        }
    }
    // A list of columns, not a statement.
    names.retain(|name| *name != "jobs.id");
    names
}

/// Uses everything, so that every statement is run.
async fn use_everything(f: &Fixture) {
    let l = &f.ledger;
    let check = OpenOptions { migrate: Migrate::Check, ..OpenOptions::default() };
    Ledger::open(&f.url, check, NOW).await.unwrap();
    l.ping().await.unwrap();
    use_access(f).await;
    let endpoint = NewEndpoint {
        org: f.org.clone(),
        url: "https://example.org".to_owned(),
        events: Vec::new(),
        description: String::new(),
        policy: Policy::Short,
        secret: String::new(),
    };
    l.create_endpoint(&endpoint, NOW).await.unwrap();
    l.list_endpoints(&f.org).await.unwrap();
    use_jobs(f).await;
    use_deliveries(f).await;
    l.lease("l", "h", 1, NOW).await.unwrap();
    f.sql("UPDATE periods SET reserved_jobs = 9 RETURNING org").await;
    assert!(l.repair_counters(NOW).await.unwrap().repaired > 0);
}

async fn use_access(f: &Fixture) {
    let l = &f.ledger;
    let org = f.limited_org(Some(0), None).await;
    l.list_orgs(None, 1).await.unwrap();
    l.set_plan(&org, &Plan::default()).await.unwrap();
    let key =
        NewKey { org: org.clone(), name: String::new(), mode: KeyMode::Live, scopes: Vec::new(), expires_at: None };
    let (key, _) = l.create_key(&key, NOW).await.unwrap().unwrap();
    l.find_key(&key.prefix).await.unwrap();
    l.list_keys(&org).await.unwrap();
    l.touch_key(&key, NOW).await.unwrap();
    l.revoke_key(&org, &key.id, NOW).await.unwrap();
    let entry = AuditEntry {
        org: None,
        who: String::new(),
        what: String::new(),
        target: String::new(),
        from: String::new(),
        at: NOW,
    };
    l.audit(&entry).await.unwrap();
    l.audit_log(&org, None, 1).await.unwrap();
    for key in ["a", "b"] {
        l.claim("s", key, "f", NOW).await.unwrap();
    }
    l.release_claim("s", "a", "f").await.unwrap();
    let answer = Answer { status: 200, location: None, body: String::new() };
    l.settle_claim("s", "b", "f", &answer, NOW).await.unwrap();
    l.claim("s", "b", "f", NOW).await.unwrap();
    l.purge_idempotency(NOW).await.unwrap();
}

async fn use_jobs(f: &Fixture) {
    let l = &f.ledger;
    let none = f.limited_org(Some(0), None).await;
    let refused = Create {
        org: none,
        jobs: vec![new_job()],
        idempotency: Some(Idempotency {
            scope: "s".to_owned(),
            key: "c".to_owned(),
            fingerprint: "f".to_owned(),
            render: |_| Answer { status: 202, location: None, body: String::new() },
        }),
    };
    l.create(vec![refused], NOW).await.unwrap();
    let mut long = new_job();
    long.input = "x".repeat(2_000);
    f.job_of(long).await;
    let job = f.job().await;
    l.undispatched(Kind::Job, 1).await.unwrap();
    l.backlog(Kind::Job, 1).await.unwrap();
    let row = f.ended(failed_for_good()).await;
    assert!(matches!(f.begin_one(start(&row, 1), NOW).await, Begun::Adopted { .. }));
    let open = f.run(&job, NOW).await;
    l.progress(Kind::Job, &[(job.id.clone(), 1, 1, 5)]).await.unwrap();
    let noted = [(job.id.clone(), 1)];
    l.dispatched(Kind::Job, &noted, NOW).await.unwrap();
    let page = l.stale(Kind::Job, NOW + 1, None).await.unwrap();
    let stale = OpenRow { lost: 0, run: 77, ..page.rows[0].clone() };
    l.relive(Kind::Job, &[stale], NOW).await.unwrap();
    l.cancel(&f.org, &job.id, BY, NOW).await.unwrap();
    l.told_to_stop("worker").await.unwrap();
    f.begin_one(start(&job, 0), NOW).await;
    assert_eq!(f.end_one(&open, succeeded(), NOW).await, Ended::Stale);
    l.retry(&f.org, &job.id, BY, NOW).await.unwrap();
    l.retry_failed(&job.id, job.generation, BY, NOW).await.unwrap();
    f.end_one(&open, succeeded(), NOW).await;
    let done = f.ended(succeeded()).await;
    l.events(&f.org, &done.id).await.unwrap();
    l.erase(&f.org, &done.id, NOW).await.unwrap();
    for state in [None, Some(JobState::Queued), Some(JobState::Failed)] {
        let filter = Filter { state, ..Filter::default() };
        l.list(&f.org, &filter, &Page::Offset(0), 10).await.unwrap();
    }
    l.period(&f.org, NOW).await.unwrap();
    two_months_at_once(f).await;
}

/// A batch that touches two period rows.
async fn two_months_at_once(f: &Fixture) {
    let other = f.limited_org(None, None).await;
    let mut ends = Vec::new();
    for org in [&f.org, &other] {
        let job = created_rows(f.create(org, vec![new_job()]).await).remove(0);
        ends.push(finish(&f.run(&job, NOW).await, succeeded()));
    }
    f.ledger.end(Kind::Job, ends, NOW).await.unwrap();
}

async fn use_deliveries(f: &Fixture) {
    let l = &f.ledger;
    let waiting = l.undispatched(Kind::Delivery, 10).await.unwrap();
    l.backlog(Kind::Delivery, 1).await.unwrap();
    let id = &waiting[0].id;
    l.deliveries(&f.org, "an event").await.unwrap();
    l.dispatched(Kind::Delivery, &[(id.clone(), 1)], NOW).await.unwrap();
    let page = l.stale(Kind::Delivery, NOW + 1, None).await.unwrap();
    let moved = OpenRow { run: 77, ..page.rows[0].clone() };
    l.relive(Kind::Delivery, &[moved], NOW).await.unwrap();
    let start = |made: i64| Start { id: id.clone(), generation: 1, made };
    let begun = l.begin(Kind::Delivery, &[start(0)], "w", NOW).await.unwrap();
    let Begun::Run(run) = &begun[0] else {
        panic!("{begun:?}");
    };
    l.progress(Kind::Delivery, &[(id.clone(), 1, 1, 5)]).await.unwrap();
    for _ in 0..2 {
        let ends = vec![finish(run, failed_for_good())];
        l.end(Kind::Delivery, ends, NOW).await.unwrap();
    }
    l.begin(Kind::Delivery, &[start(1)], "w", NOW).await.unwrap();
    for at in 0..4 {
        let noted = [(id.clone(), 2 + at)];
        l.dispatched(Kind::Delivery, &noted, NOW + at).await.unwrap();
        let page = l.stale(Kind::Delivery, NOW + HOUR, None).await.unwrap();
        l.relive(Kind::Delivery, &page.rows, NOW + at).await.unwrap();
    }
}

fn seen(f: &Fixture) -> BTreeMap<&'static str, String> {
    let mut seen = f.ledger.db().texts().seen.lock().unwrap().clone();
    seen.remove("test");
    seen
}

/// Every statement in the sources was run: `needed` is what this database has to have run at opening with another handle.
async fn all_run(f: &Fixture, not_here: &[&str]) {
    use_everything(f).await;
    let run: BTreeSet<&str> = seen(f).into_keys().collect();
    // Run by the second handle that only checks the schema.
    let elsewhere = ["open.has_version.sqlite", "open.has_version.pg"];
    let wanted: BTreeSet<&str> =
        names_in_sources().into_iter().filter(|name| !not_here.contains(name) && !elsewhere.contains(name)).collect();
    let missing: Vec<_> = wanted.difference(&run).collect();
    let unknown: Vec<_> = run.difference(&wanted).collect();
    assert!(missing.is_empty(), "never run here: {missing:?}");
    assert!(unknown.is_empty(), "not found in the sources: {unknown:?}");
    assert!(run.len() > 70, "{}", run.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_understood_by_sqlite() {
    all_run(&Fixture::sqlite().await, &POSTGRES_ONLY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_understood_by_postgres() {
    all_run(&Fixture::postgres().await, &SQLITE_ONLY).await;
}

/// Tables whose rows grow with what is stored.
const GROWING: [&str; 9] = ["jobs", "j", "usage", "u", "events", "e", "deliveries", "job_inputs", "idempotency"];
/// Indexes that hold only rows in a passing condition; walking one in order under a LIMIT is meant.
const PASSING: [&str; 5] =
    ["jobs_undispatched", "deliveries_undispatched", "jobs_open", "deliveries_open", "idempotency_expires"];

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_walks_a_growing_table_on_sqlite() {
    let f = Fixture::sqlite().await;
    use_everything(&f).await;
    let super::db::Db::Sqlite { writer, .. } = f.ledger.db() else {
        panic!("not SQLite");
    };
    let mut plans = 0;
    for (name, text) in seen(&f) {
        if name.starts_with("open.") {
            continue;
        }
        let explain = format!("EXPLAIN QUERY PLAN {text}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(writer).await.unwrap();
        for row in rows {
            let step: String = row.get("detail");
            plans += 1;
            let mut words = step.split(' ');
            let scans = words.next() == Some("SCAN") && words.next().is_some_and(|table| GROWING.contains(&table));
            let passing = PASSING.iter().any(|index| step.contains(index));
            assert!(!scans || passing, "{name}: {step}\n{text}");
            assert!(!step.contains("AUTOMATIC"), "{name}: {step}");
        }
    }
    assert!(plans > 80, "{plans}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_walk_is_found() {
    let f = Fixture::sqlite().await;
    let super::db::Db::Sqlite { writer, .. } = f.ledger.db() else {
        panic!("not SQLite");
    };
    let explain = "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE holder = 'x'";
    let row = sqlx::query(explain).fetch_one(writer).await.unwrap();
    let step: String = row.get("detail");
    assert!(step.starts_with("SCAN jobs"), "{step}");
}

/// What PostgreSQL has counted; a session adds its counts when it ends, so those that are open now have to end first.
async fn counted(f: &mut Fixture, text: &'static str) -> Vec<Row> {
    let until = f.ledger.server_time().await.unwrap().unwrap();
    f.ledger.close().await;
    f.ledger = f.other_node().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let open = Sql::new(
            "test",
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
             AND backend_type = 'client backend' AND EXTRACT(EPOCH FROM backend_start) * 1000 <= $1",
        );
        let mut rows = f.ledger.db().rows(open.bind(until)).await.unwrap();
        if rows.remove(0).int().unwrap() == 0 {
            return f.sql(text).await;
        }
        assert!(std::time::Instant::now() < deadline, "sessions do not end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_walks_a_growing_table_on_postgres() {
    let mut f = Fixture::postgres().await;
    let walks = "SELECT CAST(relname AS TEXT), seq_scan, idx_scan FROM pg_stat_user_tables
        WHERE relname IN ('jobs', 'usage', 'events', 'deliveries', 'job_inputs', 'idempotency') ORDER BY relname";
    // Making an index reads its table once.
    let before = counted(&mut f, walks).await;
    use_everything(&f).await;
    let after = counted(&mut f, walks).await;
    assert_eq!((before.len(), after.len()), (6, 6));
    for (mut before, mut after) in before.into_iter().zip(after) {
        let table = before.text().unwrap();
        assert_eq!(after.text().unwrap(), table);
        assert_eq!(before.int().unwrap(), after.int().unwrap(), "{table} was walked");
        assert!(before.int().unwrap() < after.int().unwrap(), "{table} was not used");
    }
}

/// How many index entries a hundred jobs' lives read in a database that holds `stored` more.
async fn entries_read(stored: usize) -> i64 {
    let mut f = Fixture::postgres().await;
    for _ in 0..stored / 1_000 {
        created_rows(f.create(&f.org, vec![new_job(); 1_000]).await);
    }
    let entries = "SELECT CAST(SUM(idx_tup_read) AS BIGINT) FROM pg_stat_user_indexes";
    let before = counted(&mut f, entries).await.remove(0).int().unwrap();
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 100]).await);
    let noted: Vec<(String, i64)> = jobs.iter().map(|job| (job.id.clone(), 1)).collect();
    f.ledger.dispatched(Kind::Job, &noted, NOW).await.unwrap();
    let starts: Vec<Start> = jobs.iter().map(|job| start(job, 0)).collect();
    let begun = f.ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap();
    let ends = begun
        .iter()
        .map(|begun| match begun {
            Begun::Run(run) => finish(run, succeeded()),
            other => panic!("{other:?}"),
        })
        .collect();
    f.ledger.end(Kind::Job, ends, NOW).await.unwrap();
    counted(&mut f, entries).await.remove(0).int().unwrap() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_does_not_grow_with_what_is_stored_on_postgres() {
    let (few, many) = (entries_read(1_000).await, entries_read(10_000).await);
    assert!(few > 100, "{few}");
    assert!(many <= few + few / 10, "{few} entries with 1,000 stored, {many} with 10,000");
}
