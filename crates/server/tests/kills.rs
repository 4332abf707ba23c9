//! `kill -9` under load: by the clients' own list, every accepted job ends once, and no usage is billed twice. At random
//! times and at each named step of the protocol, on SQLite and on PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use launchkit::failpoint::{Point, VARIABLE};
use launchkit_queue::{Queue, Store};
use launchkit_testkit::postgres::{Durability, Postgres};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};

/// Rounds with a kill at a random time; `KILL_ROUNDS` asks for another number.
const ROUNDS: usize = 20;
const CLIENTS: usize = 64;
/// The signal of a process that dies at a point.
const ABORTED: i32 = 6;
/// Nothing here takes this long unless something is lost.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_job_ends_once_on_sqlite() {
    kill_rounds(&Home::new(None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_job_ends_once_on_postgres() {
    let postgres = Postgres::start(Durability::Fsync).expect("a private PostgreSQL server");
    let url = postgres.database().expect("a fresh database");
    kill_rounds(&Home::new(Some(url)).await).await;
}

async fn kill_rounds(home: &Home) {
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..CLIENTS).map(|n| tokio::spawn(load.clone().client(home.key.clone(), n))).collect();
    let rounds = std::env::var("KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for _ in 0..rounds {
        let mut server = Server::start(home).await;
        load.open(&server.url);
        load.work_in_flight().await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..300))).await;
        server.child.kill().await.expect("kill");
    }
    for point in Point::ALL {
        let (mut child, url) = Server::spawn(home, Some(point)).await;
        // Without an address it died at once: a backlog takes it past some points before it listens.
        if let Some(url) = url {
            load.open(&url);
        }
        let died = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = died.unwrap_or_else(|_| panic!("the server passes {point:?}")).expect("wait");
        assert_eq!(status.signal(), Some(ABORTED), "the server died at {point:?}: {}", home.log());
    }
    let server = Server::start(home).await;
    load.open(&server.url);
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client saw only answers that it may see");
    }
    let ends = load.ends(home, &server.url).await;
    server.stop().await;
    let books = Books::read(home).await;
    eprintln!(
        "{} random kills and {} named ones: {} accepted, {ends:?}, {} ran more than once and were billed once",
        rounds,
        Point::ALL.len(),
        load.accepted().len(),
        books.rerun,
    );
    assert_eq!(books.doubled, 0, "no usage row is doubled");
    assert_eq!(books.unbilled, 0, "every success is billed");
    assert!(books.rerun > 0, "at least one job ran twice and was billed once");
    assert_eq!(books.open, 0, "nothing is left open in the database");
    assert_eq!(books.in_queue, 0, "nothing is left in the queue");
}

/// A deployment: data directory, database, key.
struct Home {
    folder: TempDir,
    postgres: Option<String>,
    key: String,
}

impl Home {
    async fn new(postgres: Option<String>) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let mut home = Home { folder, postgres, key: String::new() };
        let made = home.command(&["keys", "create", "--json"]).output().await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        home.key = made["key"].as_str().unwrap().to_owned();
        home
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launchkit"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("LAUNCHKIT_DATA_DIR", self.folder.path().join("data"));
        command.env("LOCK_DURATION", "1s").env("PORT", "0").env("RUST_LOG", "warn");
        if let Some(url) = &self.postgres {
            command.env("DATABASE_URL", url).env("LAUNCHKIT_STORE", "embedded");
            command.env("JWT_SECRET", "0123456789abcdef0123456789abcdef");
            command.env("LAUNCHKIT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
        }
        command.kill_on_drop(true);
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn database(&self) -> String {
        let file = || format!("sqlite://{}", self.folder.path().join("data/launchkit.db").display());
        self.postgres.clone().unwrap_or_else(file)
    }
}

/// One life of the server.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    async fn start(home: &Home) -> Server {
        let (child, url) = Server::spawn(home, None).await;
        let url = url.unwrap_or_else(|| panic!("no line from the server: {}", home.log()));
        Server { child, url }
    }

    /// Starts a process, to die at a point if one is named; answers its address, unless it ended before it had one.
    async fn spawn(home: &Home, point: Option<Point>) -> (Child, Option<String>) {
        let mut command = home.command(&["serve"]);
        if let Some(point) = point {
            command.env(VARIABLE, format!("{point:?}:{}", rand::random_range(0..5)));
        }
        let log = std::fs::File::options().create(true).append(true).open(home.folder.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the server starts").unwrap();
        let url = line.map(|line| line.strip_prefix("Listening on ").unwrap_or_else(|| panic!("{line}")).to_owned());
        (child, url)
    }

    /// Stops it as an operator would.
    async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the server stops").unwrap();
        assert!(status.success(), "a stop is no failure");
    }
}

/// What the clients share: where the server is, and what was accepted, kept outside of everything that is killed.
#[derive(Default)]
struct Load {
    url: watch::Sender<String>,
    accepted: Mutex<Vec<Accepted>>,
    created: AtomicU64,
    settled: AtomicU64,
    progress: Notify,
    stop: AtomicBool,
}

#[derive(Clone)]
struct Accepted {
    id: String,
    cancel_asked: bool,
}

impl Load {
    fn open(&self, url: &str) {
        self.created.store(0, Ordering::Relaxed);
        self.settled.store(0, Ordering::Relaxed);
        self.url.send_replace(url.to_owned());
    }

    fn accepted(&self) -> Vec<Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this life of the server has acknowledged an add and settled a job.
    async fn work_in_flight(&self) {
        let both = async {
            while self.created.load(Ordering::Relaxed) < 20 || self.settled.load(Ordering::Relaxed) == 0 {
                self.progress.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, both).await.expect("jobs are accepted and settled");
    }

    async fn client(self: Arc<Self>, key: String, number: usize) {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let mut urls = self.url.subscribe();
        let mut round = number;
        while !self.stop.load(Ordering::Relaxed) {
            let url = urls.wait_for(|url| !url.is_empty()).await.unwrap().clone();
            round += 1;
            if self.one(&http, &url, &key, round).await.is_err() && !self.stop.load(Ordering::Relaxed) {
                // The server is gone: wait for the next one, or for the end.
                let _ = tokio::time::timeout(Duration::from_secs(5), urls.wait_for(|next| *next != url)).await;
            }
        }
    }

    /// One job from its creation to its end; now and then canceled and tried again on the way.
    async fn one(&self, http: &reqwest::Client, url: &str, key: &str, round: usize) -> Result<(), reqwest::Error> {
        let body = json!({"text": format!("Write to team{round}@example.com before 2026-11-24. Round {round}.")});
        let made = http.post(format!("{url}/v1/jobs/extract")).bearer_auth(key).json(&body).send().await?;
        if made.status() != 202 {
            assert!(made.status() == 503, "{}: {}", made.status(), made.text().await?);
            return Ok(());
        }
        let job: Value = made.json().await?;
        let id = job["id"].as_str().unwrap().to_owned();
        let cancel = round.is_multiple_of(4);
        let accepted = Accepted { id: id.clone(), cancel_asked: cancel };
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
        self.created.fetch_add(1, Ordering::Relaxed);
        self.progress.notify_one();
        let post = |what: &str| http.post(format!("{url}/v1/jobs/{id}/{what}")).bearer_auth(key).send();
        if cancel {
            post("cancel").await?;
            if round.is_multiple_of(8) {
                post("retry").await?;
            }
        }
        while !self.stop.load(Ordering::Relaxed) {
            let job: Value = http.get(format!("{url}/v1/jobs/{id}")).bearer_auth(key).send().await?.json().await?;
            if is_final(&job) {
                self.settled.fetch_add(1, Ordering::Relaxed);
                self.progress.notify_one();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// How every accepted job ended.
    async fn ends(&self, home: &Home, url: &str) -> std::collections::BTreeMap<String, u64> {
        let http = reqwest::Client::new();
        let mut ends = std::collections::BTreeMap::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for accepted in self.accepted() {
            let job = loop {
                let asked = http.get(format!("{url}/v1/jobs/{}", accepted.id)).bearer_auth(&home.key);
                let job: Value = asked.send().await.unwrap().json().await.unwrap();
                if is_final(&job) {
                    break job;
                }
                assert!(tokio::time::Instant::now() < deadline, "an accepted job does not end: {job}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let status = job["status"].as_str().unwrap();
            let fair = match status {
                "SUCCEEDED" => true,
                "CANCELED" => accepted.cancel_asked,
                // A job that was running at four kills in a row.
                _ => job["error"]["code"] == "stalled",
            };
            assert!(fair, "{job}");
            *ends.entry(status.to_owned()).or_default() += 1;
        }
        ends
    }
}

fn is_final(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELED"))
}

/// What the files say when everything is over.
struct Books {
    doubled: i64,
    unbilled: i64,
    rerun: i64,
    open: i64,
    in_queue: u64,
}

impl Books {
    async fn read(home: &Home) -> Books {
        let url = home.database();
        let count = async |sql: &'static str| -> i64 {
            if url.starts_with("postgres") {
                let mut db = sqlx::PgConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
            } else {
                let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
            }
        };
        let store = Store::sqlite(home.folder.path().join("data/queue.db")).await.unwrap();
        let counts = Queue::new(&store, "ai-jobs").unwrap().counts().await.unwrap();
        store.close().await;
        if home.postgres.is_none() {
            let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let whole: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut db).await.unwrap();
            assert_eq!(whole, "ok");
        }
        Books {
            doubled: count(
                "SELECT COUNT(*) FROM (SELECT job, gen FROM usage GROUP BY job, gen HAVING COUNT(*) > 1) AS d",
            )
            .await,
            unbilled: count(
                "SELECT COUNT(*) FROM jobs WHERE state = 'SUCCEEDED' AND NOT EXISTS \
                 (SELECT 1 FROM usage WHERE usage.job = jobs.id AND usage.gen = jobs.gen)",
            )
            .await,
            rerun: count(
                "SELECT COUNT(*) FROM jobs WHERE state = 'SUCCEEDED' AND gen = 1 AND run > 1 AND 1 = \
                 (SELECT COUNT(*) FROM usage WHERE usage.job = jobs.id)",
            )
            .await,
            open: count("SELECT COUNT(*) FROM jobs WHERE state IN ('QUEUED', 'PROCESSING')").await,
            in_queue: counts.total() - counts.completed - counts.failed,
        }
    }
}
