//! A cancel request that is in the books reaches the running handler, even if whoever wrote it never told the queue.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use launchkit::ai::{AiFailure, Answer, JobType};
use launchkit::app;
use launchkit::config::{Config, Settings};
use launchkit::ledger::{Canceled, DatabaseUrl, JobState, Ledger, OpenOptions};
use launchkit::work::Processor;
use launchkit_queue::Clock;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
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

#[tokio::test]
async fn a_cancel_that_only_the_database_knows_reaches_the_handler_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = [("LAUNCHKIT_DATA_DIR", Some(data.display().to_string())), ("PORT", Some("0".to_owned()))];
    let config = Config::from_settings(&Settings::load(&flags, [], folder.path()).unwrap()).unwrap();
    let (said, mut hears) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let (ready, is_ready) = oneshot::channel();
    let serving = tokio::spawn(app::serve_with(config, Arc::new(Endless(said)), stop.clone(), ready));
    let server = is_ready.await.unwrap();
    let first = server.first_key.unwrap();
    let create = reqwest::Client::new().post(format!("{}/v1/jobs/summarize", server.url));
    let made = create.bearer_auth(first.key.expose_secret()).json(&json!({"text": "One. Two."})).send().await.unwrap();
    let id = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let mut hear =
        async || tokio::time::timeout(Duration::from_secs(10), hears.recv()).await.expect("in time").unwrap();
    hear().await;

    let now = || Clock::system().now().millis();
    let url = DatabaseUrl::Sqlite(data.join("launchkit.db"));
    let ledger = Ledger::open(&url, OpenOptions::default(), now()).await.unwrap();
    let asked = Instant::now();
    assert!(matches!(ledger.cancel(&first.org, &id, now()).await.unwrap(), Canceled::Told(_)));
    let told = hear().await;
    // A second is promised; the rest is for a machine that is busy with other tests.
    assert!(told - asked < Duration::from_secs(2), "{:?}", told - asked);

    // The stop waits for the end of the run to be in the books.
    stop.cancel();
    serving.await.unwrap().unwrap();
    let row = ledger.get(&first.org, &id).await.unwrap().unwrap();
    assert_eq!(row.state, JobState::Canceled);
    ledger.close().await;
}
