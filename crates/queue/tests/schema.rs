//! Files of other versions: each schema that was released is opened and worked off, what a later version has added keeps nobody
//! out, and what it has taken away does. `FIXTURE=write` makes the file of the present schema, as long as that is not released.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::sqlite::Sqlite;
use launchkit_queue::backend::{Edit, EditAll, Take, TakeMode, Token, Turn};
use launchkit_queue::{
    Active, Clock, Counts, Dedup, Exit, Flow, JobId, JobOptions, Payload, Planned, Queue, Repeat, Schedule, State,
    Store, StoreError, Timestamp, Worker,
};
use rusqlite::Connection;

/// The number of the present schema.
const PRESENT: u32 = 1;
/// Larger than what a job's row holds itself.
const LONG: usize = 20_000;

fn fixture(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/queue-{schema}.db"))
}

async fn open(path: &Path) -> (Store, Queue) {
    let store = Store::sqlite(path).await.expect("it opens");
    let queue = Queue::new(&store, "texts").unwrap();
    (store, queue)
}

/// A job in every state, and of everything beside them.
async fn fill(queue: &Queue) {
    let planned = |id: &str| Planned::named("job", &"x".repeat(9)).id(id);
    let with = |id: &str, options: JobOptions| planned(id).options(options);
    let delay = |millis| JobOptions { delay: Duration::from_millis(millis), ..JobOptions::default() };
    let all = vec![
        planned("first"),
        planned("given-up"),
        planned("held"),
        planned("second"),
        Planned::named("job", &"x".repeat(LONG)).id("long"),
        with("lifo", JobOptions { lifo: true, ..JobOptions::default() }),
        with("urgent", JobOptions { priority: 3, ..JobOptions::default() }),
        with("soon", delay(1_000)),
        with("once", JobOptions { deduplication: Some(Dedup::simple("label")), ..JobOptions::default() }),
        with("grouped", JobOptions { group: Some("tenant".into()), ..JobOptions::default() }),
        with("behind", JobOptions { group: Some("tenant".into()), ..JobOptions::default() }),
    ];
    queue.add_all(all).await.unwrap();
    queue
        .add_flow(Flow::named(queue, "job", &1).id("parent").child(Flow::named(queue, "job", &2).id("child")))
        .await
        .unwrap();
    queue
        .schedule(Repeat::named("weekly", Schedule::Every(Duration::from_secs(7 * 86_400)), "job", &3).unwrap())
        .await
        .unwrap();
}

/// A job with notes, taken by a worker that is gone.
async fn hold_one(store: &Store, queue: &Queue) {
    queue.add_all(vec![Planned::named("job", &1).id("before")]).await.unwrap();
    let take =
        Take { token: Token::new("t"), mode: TakeMode::Fresh, most: 1, lock_for: Duration::from_secs(1), rate: None };
    let turn = Turn { queue: queue.name().clone(), worker: "dead".into(), ends: Vec::new(), take: Some(take) };
    let turned = store.backend().turn(turn, queue.clock().now()).await.unwrap();
    let id = turned.held[0].lock.id.clone();
    let edits = vec![Edit::Progress(id.clone(), Payload::null()), Edit::Log(id, vec!["a line".into()])];
    store.backend().edit(EditAll { queue: queue.name().clone(), edits }, queue.clock().now()).await.unwrap();
}

/// Works until nothing is left that is due; answers the counts.
async fn work_off(queue: &Queue) -> Counts {
    tokio::time::timeout(Duration::from_secs(60), worked_off(queue)).await.expect("all that is due has ended")
}

async fn worked_off(queue: &Queue) -> Counts {
    let handler = async |job: Active<Payload>| -> Result<Payload, Exit> {
        match job.id().as_str() {
            "given-up" => Err(Exit::give_up("as planned")),
            _ => Ok(Payload::null()),
        }
    };
    let worker = Worker::builder(queue).concurrency(4).rescue_every(Duration::from_millis(100)).on_rest(handler);
    let worker = worker.build().unwrap().start();
    let mut events = queue.events(Default::default());
    let counts = loop {
        let counts = queue.counts().await.unwrap();
        let due = counts.waiting + counts.prioritized + counts.active + counts.waiting_children;
        // The scheduler's next job stays.
        if due == 0 && counts.delayed == 1 && counts.completed + counts.failed == 15 {
            break counts;
        }
        events.next().await.unwrap();
    };
    worker.stop().await;
    counts
}

fn integral(path: &Path) {
    let check: String =
        Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

fn version(path: &Path) -> u32 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// Every table and index, as SQLite describes it.
fn described(path: &Path) -> Vec<(String, Option<String>)> {
    let conn = Connection::open(path).unwrap();
    let mut read = conn.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
    read.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

async fn write_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    // As of a time that has passed everywhere.
    let sqlite = Arc::new(Sqlite::open(&path).await.unwrap());
    let store = Store::over(sqlite, Clock::runtime(Timestamp::from_millis(1_700_000_000_000)));
    let queue = Queue::new(&store, "texts").unwrap();
    hold_one(&store, &queue).await;
    fill(&queue).await;
    store.close().await;
    let written = fixture(PRESENT);
    let _ = std::fs::remove_file(&written);
    std::fs::create_dir_all(written.parent().unwrap()).unwrap();
    Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [written.display().to_string()]).unwrap();
}

#[tokio::test]
async fn files_of_all_schemas_are_worked_off_and_come_to_the_present_one() {
    if std::env::var_os("FIXTURE").is_some_and(|what| what == "write") {
        write_fixture().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("fresh.db");
    open(&fresh).await.0.close().await;
    assert_eq!(version(&fresh), PRESENT, "a schema is added with its number and its file");
    for schema in 1..=PRESENT {
        let path = folder.path().join(format!("queue-{schema}.db"));
        std::fs::copy(fixture(schema), &path).expect("its file is kept");
        let (store, queue) = open(&path).await;
        let counts = work_off(&queue).await;
        assert_eq!((counts.completed, counts.failed), (14, 1), "of schema {schema}: {counts:?}");
        let long = queue.get(&JobId::parse("long").unwrap()).await.unwrap().unwrap();
        assert_eq!((long.state, long.data.as_str().len()), (State::Completed, LONG + 2));
        let before = JobId::parse("before").unwrap();
        assert_eq!(queue.get(&before).await.unwrap().unwrap().stalls, 1);
        assert_eq!(queue.logs(&before, 0, 10).await.unwrap().lines, [Arc::from("a line")]);
        assert!(queue.scheduled("weekly").await.unwrap().unwrap().count >= 2);
        store.close().await;
        integral(&path);
        assert_eq!(described(&path), described(&fresh), "schema {schema} comes to the present one");
    }
}

/// Adds a column to every table, as a later version may, and says who may go on.
fn expand(path: &Path, oldest: Option<u32>) {
    let conn = Connection::open(path).unwrap();
    let tables: Vec<String> = described(path)
        .into_iter()
        .filter_map(|(name, sql)| sql.filter(|sql| sql.starts_with("CREATE TABLE")).map(|_| name))
        .filter(|name| !name.starts_with("sqlite_"))
        .collect();
    assert!(tables.len() > 10);
    for table in tables {
        conn.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN later TEXT; ")).unwrap();
    }
    conn.pragma_update(None, "user_version", PRESENT + 1).unwrap();
    match oldest {
        Some(oldest) => conn.execute("UPDATE meta SET value = ?1 WHERE key = 'oldest'", [oldest.to_string()]).unwrap(),
        None => conn.execute("DELETE FROM meta WHERE key = 'oldest'", []).unwrap(),
    };
}

#[tokio::test]
async fn what_a_later_version_has_added_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let (store, queue) = open(&path).await;
    hold_one(&store, &queue).await;
    store.close().await;
    expand(&path, Some(PRESENT));
    let (store, queue) = open(&path).await;
    fill(&queue).await;
    let counts = work_off(&queue).await;
    assert_eq!((counts.completed, counts.failed), (14, 1), "{counts:?}");
    store.close().await;
    integral(&path);
    assert_eq!(version(&path), PRESENT + 1, "it is still the later version's");
}

#[tokio::test]
async fn a_file_that_needs_a_later_version_is_refused_and_left_alone() {
    for oldest in [Some(PRESENT + 1), None] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        open(&path).await.0.close().await;
        expand(&path, oldest);
        let before = std::fs::read(&path).unwrap();
        match Store::sqlite(&path).await.err() {
            Some(StoreError::Unavailable(why)) => assert!(why.contains("use a newer version"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
