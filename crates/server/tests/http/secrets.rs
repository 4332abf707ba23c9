//! No secret in any log, however talkative the logs are.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use launchkit::auth::Role;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{App, SECRET, request};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

// One thread: the subscriber is this thread's own.
#[tokio::test(flavor = "current_thread")]
async fn keys_tokens_secrets_and_texts_are_in_no_log_line() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(kept.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let app = App::new().await;
    let token = app.token(Role::Operator);
    let text = "a very private text";
    let body = json!({"text": text, "options": {"webhookUrl": "https://example.com/hook-path-secret"}});
    app.post("/v1/jobs/sentiment", &body).await.problem(422, "invalid-input");
    let job = app.post("/v1/jobs/sentiment", &json!({"text": text})).await.json();
    app.succeed(job["id"].as_str().unwrap()).await;
    app.get("/v1/jobs?metadata.private=label-value").await;
    app.post("/v1/jobs/sentiment", &json!({"text": text, "nope": 1})).await.problem(422, "invalid-input");
    app.send(request(Method::POST, "/v1/admin/queue/pause", &token, "")).await;
    app.send(request(Method::GET, "/v1/jobs", &token, "")).await.problem(401, "unauthenticated");
    app.send(request(Method::GET, "/v1/admin/queue/metrics", &app.key, "")).await.problem(401, "unauthenticated");
    let forged = format!("{token}x");
    app.send(request(Method::GET, "/v1/admin/queue/metrics", &forged, "")).await.problem(401, "unauthenticated");
    let mut asked = request(Method::GET, "/nowhere/private-path", &app.key, "");
    asked.headers_mut().insert("x-api-key", app.key.parse().unwrap());
    app.send(asked).await.problem(404, "not-found");
    app.ledger.close().await;
    app.get("/v1/jobs").await.problem(503, "unavailable");

    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("request"), "something was logged: {log}");
    let key_secret = app.key.rsplit('_').next().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for secret in
        [key_secret, token.as_str(), signature, SECRET, text, "hook-path-secret", "label-value", "private-path"]
    {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
