//! A stop has one deadline for what runs, requests and jobs alike.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use launchkit::ai::{AiFailure, Answer, JobType};
use launchkit::app;
use launchkit::config::{Config, Settings};
use launchkit::ledger::{DatabaseUrl, JobState, Ledger, OpenOptions};
use launchkit::work::Processor;
use launchkit_queue::Clock;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

const GRACE: Duration = Duration::from_secs(4);

/// Never ends by itself; tells of its start.
struct Endless(mpsc::UnboundedSender<()>);

#[async_trait]
impl Processor for Endless {
    async fn process(&self, _: JobType, _: &Value, stop: &CancellationToken) -> Result<Answer, AiFailure> {
        self.0.send(()).unwrap();
        stop.cancelled().await;
        Err(AiFailure { code: "canceled", message: "told to stop".into(), retryable: true })
    }
}

/// A request whose body never comes and a job that never ends, at once.
#[tokio::test]
async fn requests_and_jobs_share_the_grace_of_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = [
        ("LAUNCHKIT_DATA_DIR", Some(data.display().to_string())),
        ("PORT", Some("0".to_owned())),
        ("SHUTDOWN_GRACE", Some(format!("{}s", GRACE.as_secs()))),
    ];
    let config = Config::from_settings(&Settings::load(&flags, [], folder.path()).unwrap()).unwrap();
    let (said, mut hears) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let (ready, is_ready) = oneshot::channel();
    let serving = tokio::spawn(app::serve_with(config, Arc::new(Endless(said)), stop.clone(), ready));
    let server = is_ready.await.unwrap();
    let first = server.first_key.unwrap();
    let key = first.key.expose_secret();
    let create = reqwest::Client::new().post(format!("{}/v1/jobs/summarize", server.url)).bearer_auth(key);
    let made = create.json(&json!({"text": "One. Two."})).send().await.unwrap().json::<Value>().await.unwrap();
    hears.recv().await.unwrap();
    let mut half = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/jobs/summarize HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // Asked to go on, the request is being read.
    let mut asked = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut half, &mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");

    let begun = Instant::now();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(took >= GRACE, "{took:?}");
    assert!(took < GRACE * 2 - Duration::from_secs(1), "{took:?}");

    let now = Clock::system().now().millis();
    let ledger = Ledger::open(&DatabaseUrl::Sqlite(data.join("launchkit.db")), OpenOptions::default(), now).await.unwrap();
    let row = ledger.get(&first.org, made["id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts), (JobState::Queued, 0), "given back, uncounted");
    ledger.close().await;
}
