//! Retries as the mission document promises them, on the real clock: a second try after 2 s, a third 4 s later, FAILED only
//! after the third. With the embedded queue and on Redis.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use launchkit::ai::{AiFailure, Answer, JobType, Usage};
use launchkit::app;
use launchkit::config::{Config, Settings};
use launchkit::work::Processor;
use launchkit_testkit::redis::{Kind, RedisServer};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Fails this many times, then succeeds; tells of every start.
struct Scripted {
    failures: Mutex<u32>,
    started: mpsc::UnboundedSender<Instant>,
}

#[async_trait]
impl Processor for Scripted {
    async fn process(&self, _: JobType, _: &Value, _: &CancellationToken) -> Result<Answer, AiFailure> {
        self.started.send(Instant::now()).unwrap();
        let mut left = self.failures.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Err(AiFailure { code: "provider-error", message: "the provider is down".into(), retryable: true });
        }
        let usage = Usage {
            input_tokens: 3,
            output_tokens: 1,
            provider: "script".into(),
            model: "script".into(),
            cost_micros: 0,
        };
        Ok(Answer { output: json!({"summary": "ok"}), usage })
    }
}

/// A server whose processor fails so often, with one job on it.
struct Play {
    _folder: tempfile::TempDir,
    _redis: Option<RedisServer>,
    http: reqwest::Client,
    job: String,
    starts: mpsc::UnboundedReceiver<Instant>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), app::StartError>>,
}

impl Play {
    async fn begin(failures: u32, redis: Option<RedisServer>) -> Play {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let flags = [
            ("LAUNCHKIT_DATA_DIR", Some(data)),
            ("PORT", Some("0".to_owned())),
            ("REDIS_URL", redis.as_ref().map(RedisServer::url)),
        ];
        let settings = Settings::load(&flags, [], folder.path()).unwrap();
        let config = Config::from_settings(&settings).unwrap();
        let (started, starts) = mpsc::unbounded_channel();
        let processor = Arc::new(Scripted { failures: Mutex::new(failures), started });
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let serving = tokio::spawn(app::serve_with(config, processor, stop.clone(), ready));
        let server = is_ready.await.unwrap();
        let key = server.first_key.unwrap().key;
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("x-api-key", key.expose_secret().parse().unwrap());
        let http = reqwest::Client::builder().default_headers(headers).build().unwrap();
        let create = http.post(format!("{}/v1/jobs/summarize", server.url)).json(&json!({"text": "One. Two. Three."}));
        let made = create.send().await.unwrap();
        assert_eq!(made.status(), 202);
        let made: Value = made.json().await.unwrap();
        let job = format!("{}/v1/jobs/{}", server.url, made["id"].as_str().unwrap());
        Play { _folder: folder, _redis: redis, http, job, starts, stop, serving }
    }

    async fn start(&mut self) -> Instant {
        tokio::time::timeout(Duration::from_secs(20), self.starts.recv()).await.expect("it starts").unwrap()
    }

    async fn job(&self) -> Value {
        self.http.get(&self.job).send().await.unwrap().json().await.unwrap()
    }

    /// The job once it shows this status with this many attempts.
    async fn job_when(&self, status: &str, attempts: u64) -> Value {
        let seen = async {
            loop {
                let job = self.job().await;
                if job["status"] == status && job["attempts"] == attempts {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(5), seen).await {
            Ok(job) => job,
            Err(_) => panic!("not {status} with {attempts} attempts: {}", self.job().await),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn assert_gap(from: Instant, to: Instant, seconds: u64) {
    let gap = to - from;
    let (least, most) = (Duration::from_secs(seconds), Duration::from_millis(seconds * 1_000 + 700));
    assert!(gap >= least && gap < most, "a gap of {gap:?} instead of about {seconds} s");
}

fn redis() -> Option<RedisServer> {
    Some(RedisServer::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}")))
}

#[tokio::test]
async fn a_job_that_fails_twice_succeeds_at_its_third_try_after_two_and_four_seconds() {
    fails_twice(None).await;
}

#[tokio::test]
async fn on_redis_too_a_job_that_fails_twice_succeeds_at_its_third_try_after_two_and_four_seconds() {
    fails_twice(redis()).await;
}

async fn fails_twice(redis: Option<RedisServer>) {
    let mut play = Play::begin(2, redis).await;
    let first = play.start().await;
    let between = play.job_when("QUEUED", 1).await;
    assert_eq!(
        between["error"],
        json!({"code": "provider-error", "message": "the provider is down", "retryable": true})
    );
    assert!(between["nextAttemptAt"].is_string() && between["completedAt"].is_null(), "{between}");
    let second = play.start().await;
    let between = play.job_when("QUEUED", 2).await;
    assert!(between["nextAttemptAt"].is_string(), "{between}");
    let third = play.start().await;
    assert_gap(first, second, 2);
    assert_gap(second, third, 4);
    let done = play.job_when("SUCCEEDED", 3).await;
    assert_eq!((&done["error"], &done["nextAttemptAt"]), (&Value::Null, &Value::Null), "{done}");
    assert_eq!((&done["tokenUsed"], &done["output"]["summary"]), (&json!(4), &json!("ok")), "{done}");
    play.end().await;
}

#[tokio::test]
async fn a_job_that_always_fails_is_failed_only_after_its_third_try() {
    fails_always(None).await;
}

#[tokio::test]
async fn on_redis_too_a_job_that_always_fails_is_failed_only_after_its_third_try() {
    fails_always(redis()).await;
}

async fn fails_always(redis: Option<RedisServer>) {
    let mut play = Play::begin(u32::MAX, redis).await;
    for tries in 1..=2 {
        play.start().await;
        play.job_when("QUEUED", tries).await;
    }
    play.start().await;
    let failed = play.job_when("FAILED", 3).await;
    assert_eq!(failed["error"]["code"], "provider-error");
    assert!(failed["completedAt"].is_string() && failed["nextAttemptAt"].is_null(), "{failed}");
    play.end().await;
}
