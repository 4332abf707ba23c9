//! The shapes of answers, as snapshots: what changes with every run is replaced first.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::App;

/// Replaces ids and times, and nothing else.
fn steady(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(steady).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), steady(value))).collect(),
        Value::String(text) if is_time(text) => json!("[time]"),
        Value::String(text) => json!(steady_text(text)),
        other => other.clone(),
    }
}

fn is_time(text: &str) -> bool {
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.'
}

fn steady_text(text: &str) -> String {
    let parts = text.split('/').map(|part| {
        let id = part.len() == 25 && part.starts_with('c') && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if id {
            "[id]"
        } else if part.starts_with("req-") {
            "[request]"
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn job_objects() {
    let app = App::new().await;
    let id = app.job().await;
    insta::assert_json_snapshot!("job_queued", steady(&app.get(&format!("/v1/jobs/{id}")).await.json()));
    app.succeed(&id).await;
    let job = app.get(&format!("/v1/jobs/{id}")).await.json();
    insta::assert_json_snapshot!("job_succeeded", steady(&job));
    let id = app.job().await;
    let canceled = app.call(Method::POST, &format!("/v1/jobs/{id}/cancel"), "").await.json();
    insta::assert_json_snapshot!("job_canceled", steady(&canceled));
}

#[tokio::test]
async fn lists() {
    let app = App::new().await;
    app.job().await;
    insta::assert_json_snapshot!("list", steady(&app.get("/v1/jobs?limit=10&offset=0").await.json()));
}

#[tokio::test]
async fn metrics() {
    let app = App::new().await;
    app.ai_jobs.add_named("SENTIMENT", json!({})).await.unwrap();
    app.ai_jobs.add_named("SENTIMENT", json!({})).priority(3).await.unwrap();
    let mut all = app.order(Method::GET, "/v1/admin/queue/metrics/all").await.json();
    assert!(all["aiJobs"]["oldestWaitingMs"].as_u64().is_some_and(|ms| ms < 60_000));
    all["aiJobs"]["oldestWaitingMs"] = json!("[ms]");
    insta::assert_json_snapshot!("metrics_all", all);
    let one = app.order(Method::GET, "/v1/admin/queue/metrics?queue=webhooks").await.json();
    assert_eq!(one, all["webhooks"]);
}

#[tokio::test]
async fn problems() {
    let app = App::new().await;
    let bad = app.post("/v1/jobs/sentiment", &json!({"text": "", "x": 1})).await;
    insta::assert_json_snapshot!("problem_body", steady(&bad.json()));
    insta::assert_json_snapshot!("problem_query", steady(&app.get("/v1/jobs?limit=ten").await.json()));
    insta::assert_json_snapshot!("problem_missing", steady(&app.get("/v1/jobs/cnone").await.json()));
}

#[tokio::test]
async fn fields_stand_in_the_order_of_the_contract() {
    let app = App::new().await;
    let id = app.job().await;
    let text = String::from_utf8(app.get(&format!("/v1/jobs/{id}")).await.body.to_vec()).unwrap();
    let names = [
        "id",
        "type",
        "status",
        "input",
        "output",
        "error",
        "tokenUsed",
        "costCents",
        "usage",
        "attempts",
        "maxAttempts",
        "progress",
        "priority",
        "metadata",
        "createdAt",
        "startedAt",
        "completedAt",
        "nextAttemptAt",
        "links",
    ];
    let places: Vec<_> =
        names.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json().as_object().unwrap().len(), names.len());
}
