//! What becomes of a job that is running: a cancel that only the database knows reaches it, a stop gives it back. With the
//! embedded queue and on Redis.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use launchkit::ai::{AiFailure, Answer, JobType};
use launchkit::app::{self, StartError};
use launchkit::config::{Config, Settings};
use launchkit::ledger::{By, Canceled, DatabaseUrl, JobRow, JobState, Ledger, OpenOptions};
use launchkit::work::Processor;
use launchkit_queue::Clock;
use launchkit_testkit::redis::{Kind, RedisServer};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Works until it is told to stop; tells of its start and of that.
struct Endless(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Processor for Endless {
    async fn process(&self, _: JobType, _: &Value, stop: &CancellationToken) -> Result<Answer, AiFailure> {
        self.0.send(Instant::now()).unwrap();
        stop.cancelled().await;
        self.0.send(Instant::now()).unwrap();
        Err(AiFailure { code: "canceled", message: "told to stop".into(), retryable: true })
    }
}

/// A server in this process with one endless job, which has begun.
struct Running {
    folder: tempfile::TempDir,
    _redis: Option<RedisServer>,
    url: String,
    org: String,
    key: String,
    job: String,
    hears: mpsc::UnboundedReceiver<Instant>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), StartError>>,
}

fn now() -> i64 {
    Clock::system().now().millis()
}

impl Running {
    async fn with_grace(grace: Duration, redis: Option<RedisServer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = [
            ("LAUNCHKIT_DATA_DIR", Some(folder.path().join("data").display().to_string())),
            ("PORT", Some("0".to_owned())),
            ("SHUTDOWN_GRACE", Some(format!("{}s", grace.as_secs()))),
            ("REDIS_URL", redis.as_ref().map(RedisServer::url)),
        ];
        let config = Config::from_settings(&Settings::load(&flags, [], folder.path()).unwrap()).unwrap();
        let (said, hears) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let serving = tokio::spawn(app::serve_with(config, Arc::new(Endless(said)), stop.clone(), ready));
        let server = is_ready.await.unwrap();
        let first = server.first_key.unwrap();
        let key = first.key.expose_secret().to_owned();
        let create = reqwest::Client::new().post(format!("{}/v1/jobs/summarize", server.url)).bearer_auth(&key);
        let made: Value = create.json(&json!({"text": "One. Two."})).send().await.unwrap().json().await.unwrap();
        let job = made["id"].as_str().unwrap().to_owned();
        let mut running =
            Running { folder, _redis: redis, url: server.url, org: first.org, key, job, hears, stop, serving };
        running.hear().await;
        running
    }

    async fn hear(&mut self) -> Instant {
        tokio::time::timeout(Duration::from_secs(10), self.hears.recv()).await.expect("in time").unwrap()
    }

    async fn ledger(&self) -> Ledger {
        let url = DatabaseUrl::Sqlite(self.folder.path().join("data/launchkit.db"));
        Ledger::open(&url, OpenOptions::default(), now()).await.unwrap()
    }

    /// Stops the server; answers the job's row and how long the stop took.
    async fn stopped(mut self) -> (JobRow, Duration) {
        let begun = Instant::now();
        self.stop.cancel();
        (&mut self.serving).await.unwrap().unwrap();
        let took = begun.elapsed();
        let ledger = self.ledger().await;
        let row = ledger.get(&self.org, &self.job).await.unwrap().unwrap();
        ledger.close().await;
        (row, took)
    }
}

fn redis() -> Option<RedisServer> {
    Some(RedisServer::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}")))
}

#[tokio::test]
async fn a_cancel_that_only_the_database_knows_reaches_the_handler_within_a_second() {
    cancel_by_row(None).await;
}

#[tokio::test]
async fn on_redis_too_a_cancel_that_only_the_database_knows_reaches_the_handler_within_a_second() {
    cancel_by_row(redis()).await;
}

#[tokio::test]
async fn requests_and_jobs_share_the_grace_of_a_stop() {
    shared_grace(None).await;
}

#[tokio::test]
async fn on_redis_too_requests_and_jobs_share_the_grace_of_a_stop() {
    shared_grace(redis()).await;
}

/// Whoever wrote the request never told the queue.
async fn cancel_by_row(redis: Option<RedisServer>) {
    let mut running = Running::with_grace(Duration::from_secs(25), redis).await;
    let ledger = running.ledger().await;
    let by = By { who: "key", from: "here" };
    let asked = Instant::now();
    assert!(matches!(ledger.cancel(&running.org, &running.job, by, now()).await.unwrap(), Canceled::Told(_)));
    let told = running.hear().await;
    // A second is promised; the rest is for a machine that is busy with other tests.
    assert!(told - asked < Duration::from_secs(2), "{:?}", told - asked);
    ledger.close().await;
    // The stop waits for the end of the run to be in the books.
    assert_eq!(running.stopped().await.0.state, JobState::Canceled);
}

/// A request whose body never comes and a job that never ends, at once.
async fn shared_grace(redis: Option<RedisServer>) {
    const GRACE: Duration = Duration::from_secs(4);
    let running = Running::with_grace(GRACE, redis).await;
    let mut half = TcpStream::connect(running.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/jobs/summarize HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n",
        running.key
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // Asked to go on, the request is being read.
    let mut asked = [0; 12];
    half.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");

    let (row, took) = running.stopped().await;
    assert!(took >= GRACE && took < GRACE * 2 - Duration::from_secs(1), "{took:?}");
    assert_eq!((row.state, row.attempts), (JobState::Queued, 0), "given back, uncounted");
}
