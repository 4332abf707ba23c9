//! What all rounds share: a deployment, its server process, clients with a list of their own, and the books at the end.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use launchkit::failpoint::{Point, VARIABLE};
use launchkit_queue::{Queue, RedisOptions, Store};
use launchkit_testkit::redis::RedisServer;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

const CLIENTS: usize = 64;
/// Nothing here takes this long unless something is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Where a deployment keeps things; by default in files of its own.
#[derive(Default)]
pub(crate) struct Stores {
    pub(crate) postgres: Option<String>,
    pub(crate) redis: Option<RedisServer>,
}

/// A deployment: data directory, database, key.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
    stores: Stores,
    pub(crate) key: String,
    /// How long locks hold: not for long, or nothing would be seen of what goes on when they have run out.
    pub(crate) lock: &'static str,
}

impl Home {
    pub(crate) async fn new(stores: Stores) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let mut home = Home { folder, stores, key: String::new(), lock: "1s" };
        let made = home.command(&["keys", "create", "--json"]).output().await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        home.key = made["key"].as_str().unwrap().to_owned();
        home
    }

    /// A place for another deployment with this key, with nothing in it.
    pub(crate) fn empty(key: &str) -> Home {
        Home { folder: tempfile::tempdir().unwrap(), stores: Stores::default(), key: key.to_owned(), lock: "1s" }
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        self.stores.redis.as_ref().expect("the queue is on Redis")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launchkit"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("LAUNCHKIT_DATA_DIR", self.folder.path().join("data"));
        command.env("LOCK_DURATION", self.lock).env("PORT", "0").env("RUST_LOG", "warn,launchkit_queue=info");
        match &self.stores.redis {
            Some(redis) => command.env("REDIS_URL", redis.url()),
            None => command.env("LAUNCHKIT_STORE", "embedded"),
        };
        if let Some(url) = &self.stores.postgres {
            command.env("DATABASE_URL", url);
            command.env("JWT_SECRET", "0123456789abcdef0123456789abcdef");
            command.env("LAUNCHKIT_SECRET_KEY", "0123456789abcdef0123456789abcdef");
        }
        command.kill_on_drop(true);
        command
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What the server last said.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn database(&self) -> String {
        let file = || format!("sqlite://{}", self.folder.path().join("data/launchkit.db").display());
        self.stores.postgres.clone().unwrap_or_else(file)
    }

    /// Changes the database behind the program's back.
    pub(crate) async fn execute(&self, sql: &str) {
        let (url, sql) = (self.database(), sqlx::AssertSqlSafe(sql.to_owned()));
        if url.starts_with("postgres") {
            sqlx::raw_sql(sql).execute(&mut sqlx::PgConnection::connect(&url).await.unwrap()).await.unwrap();
        } else {
            sqlx::raw_sql(sql).execute(&mut sqlx::SqliteConnection::connect(&url).await.unwrap()).await.unwrap();
        }
    }

    /// Asks the database behind the program's back.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let url = self.database();
        if url.starts_with("postgres") {
            let mut db = sqlx::PgConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
        } else {
            let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
        }
    }

    async fn store(&self) -> Store {
        match &self.stores.redis {
            Some(redis) => Store::redis(&RedisOptions::parse(&redis.url()).unwrap()).await.unwrap(),
            None => Store::sqlite(self.folder.path().join("data/queue.db")).await.unwrap(),
        }
    }
}

/// One life of the server.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start(home: &Home) -> Server {
        let (child, url) = Server::spawn(home, None).await;
        let url = url.unwrap_or_else(|| panic!("no line from the server: {}", home.last_words()));
        Server { child, url }
    }

    /// Starts a process, to die at a point if one is named; answers its address, unless it ended before it had one.
    pub(crate) async fn spawn(home: &Home, point: Option<Point>) -> (Child, Option<String>) {
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
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the server stops").unwrap();
        assert!(status.success(), "a stop is no failure");
    }
}

/// What the clients share: where the server is, and what was accepted, kept outside of everything that is killed.
#[derive(Default)]
pub(crate) struct Load {
    url: watch::Sender<String>,
    accepted: Mutex<Vec<Accepted>>,
    created: AtomicU64,
    settled: AtomicU64,
    progress: Notify,
    stop: AtomicBool,
}

#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    id: String,
    cancel_asked: bool,
}

impl Load {
    /// Starts the clients; they wait until there is a server.
    pub(crate) fn begin(home: &Home) -> (Arc<Load>, Vec<JoinHandle<()>>) {
        let load = Arc::new(Load::default());
        let clients = (0..CLIENTS).map(|n| tokio::spawn(load.clone().client(home.key.clone(), n))).collect();
        (load, clients)
    }

    /// What was accepted elsewhere, without clients.
    pub(crate) fn of(accepted: Vec<Accepted>) -> Load {
        Load { accepted: Mutex::new(accepted), ..Load::default() }
    }

    /// Ends the load; answers how every accepted job ended.
    pub(crate) async fn end(&self, clients: Vec<JoinHandle<()>>, home: &Home, url: &str) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("a client saw only answers that it may see");
        }
        self.ends(home, url).await
    }

    pub(crate) fn open(&self, url: &str) {
        self.created.store(0, Ordering::Relaxed);
        self.settled.store(0, Ordering::Relaxed);
        self.url.send_replace(url.to_owned());
    }

    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a job that was accepted.
    pub(crate) fn note(&self, id: &str, cancel_asked: bool) {
        let accepted = Accepted { id: id.to_owned(), cancel_asked };
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
    }

    /// Waits until this life of the server has acknowledged an add and settled a job.
    pub(crate) async fn work_in_flight(&self) {
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
        let mut client = Client { load: &self, http, key, round: number, open: None };
        while !self.stop.load(Ordering::Relaxed) {
            let url = urls.wait_for(|url| !url.is_empty()).await.unwrap().clone();
            if client.one(&url).await.is_err() && !self.stop.load(Ordering::Relaxed) {
                // The server is gone: wait for the next one, or for the end.
                let _ = tokio::time::timeout(Duration::from_secs(5), urls.wait_for(|next| *next != url)).await;
            }
        }
    }

    /// How every accepted job ended.
    async fn ends(&self, home: &Home, url: &str) -> BTreeMap<String, u64> {
        let http = reqwest::Client::new();
        let mut ends = BTreeMap::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for accepted in self.accepted() {
            let job = loop {
                let asked = http.get(format!("{url}/v1/jobs/{}", accepted.id)).bearer_auth(&home.key);
                let job: Value = asked.send().await.unwrap().json().await.unwrap();
                if is_final(&job) {
                    break job;
                }
                let late = tokio::time::Instant::now() > deadline;
                assert!(!late, "an accepted job does not end: {job}; {}", home.last_words());
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

/// One client, who wants one job after the other.
struct Client<'a> {
    load: &'a Load,
    http: reqwest::Client,
    key: String,
    round: usize,
    /// The job that has not ended, as far as it knows.
    open: Option<String>,
}

impl Client<'_> {
    /// One job from its creation to its end. The one that was open when the server went is followed first, so that there are
    /// never many.
    async fn one(&mut self, url: &str) -> Result<(), reqwest::Error> {
        if self.open.is_none() {
            self.create(url).await?;
        }
        let Some(id) = self.open.clone() else { return Ok(()) };
        while !self.load.stop.load(Ordering::Relaxed) {
            let asked = self.http.get(format!("{url}/v1/jobs/{id}")).bearer_auth(&self.key);
            let job: Value = asked.send().await?.json().await?;
            if is_final(&job) {
                self.open = None;
                self.load.settled.fetch_add(1, Ordering::Relaxed);
                self.load.progress.notify_one();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // how often a client asks
        }
        Ok(())
    }

    /// Creates a job, now and then to be canceled and tried again.
    async fn create(&mut self, url: &str) -> Result<(), reqwest::Error> {
        self.round += 1;
        let round = self.round;
        let body = json!({"text": format!("Write to team{round}@example.com before 2026-11-24. Round {round}.")});
        let made = self.http.post(format!("{url}/v1/jobs/extract")).bearer_auth(&self.key).json(&body).send().await?;
        if made.status() != 202 {
            assert!(made.status() == 503, "{}: {}", made.status(), made.text().await?);
            return Ok(());
        }
        let job: Value = made.json().await?;
        let id = job["id"].as_str().unwrap().to_owned();
        let cancel = round.is_multiple_of(4);
        self.load.note(&id, cancel);
        self.open = Some(id.clone());
        self.load.created.fetch_add(1, Ordering::Relaxed);
        self.load.progress.notify_one();
        let post = |what: &str| self.http.post(format!("{url}/v1/jobs/{id}/{what}")).bearer_auth(&self.key).send();
        if cancel {
            post("cancel").await?;
            if round.is_multiple_of(8) {
                post("retry").await?;
            }
        }
        Ok(())
    }
}

fn is_final(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELED"))
}

/// What the files say when everything is over.
pub(crate) struct Books {
    doubled: i64,
    unbilled: i64,
    pub(crate) rerun: i64,
    pub(crate) open: i64,
    pub(crate) in_queue: u64,
}

impl Books {
    /// Nothing is open, doubled or unbilled.
    pub(crate) fn assert_balanced(&self) {
        assert_eq!(self.doubled, 0, "no usage row is doubled");
        assert_eq!(self.unbilled, 0, "every success is billed");
        assert_eq!(self.open, 0, "nothing is left open in the database");
        assert_eq!(self.in_queue, 0, "nothing is left in the queue");
    }

    pub(crate) async fn read(home: &Home) -> Books {
        let store = home.store().await;
        let counts = Queue::new(&store, "ai-jobs").unwrap().counts().await.unwrap();
        store.close().await;
        if home.stores.postgres.is_none() {
            let mut db = sqlx::SqliteConnection::connect(&home.database()).await.unwrap();
            let whole: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut db).await.unwrap();
            assert_eq!(whole, "ok");
        }
        Books {
            doubled: home
                .count("SELECT COUNT(*) FROM (SELECT job, gen FROM usage GROUP BY job, gen HAVING COUNT(*) > 1) AS d")
                .await,
            unbilled: home
                .count(
                    "SELECT COUNT(*) FROM jobs WHERE state = 'SUCCEEDED' AND NOT EXISTS \
                 (SELECT 1 FROM usage WHERE usage.job = jobs.id AND usage.gen = jobs.gen)",
                )
                .await,
            rerun: home
                .count(
                    "SELECT COUNT(*) FROM jobs WHERE state = 'SUCCEEDED' AND gen = 1 AND run > 1 AND 1 = \
                 (SELECT COUNT(*) FROM usage WHERE usage.job = jobs.id)",
                )
                .await,
            open: home.count("SELECT COUNT(*) FROM jobs WHERE state IN ('QUEUED', 'PROCESSING')").await,
            in_queue: counts.total() - counts.completed - counts.failed,
        }
    }
}
