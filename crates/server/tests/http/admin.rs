//! What operators and viewers do with the queues.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use launchkit::auth::Role;
use launchkit::ledger::{JobError, What};
use launchkit_queue::JobId;
use serde_json::{Value, json};

use crate::support::{App, request};

#[tokio::test]
async fn the_queue_is_paused_and_resumed_and_both_are_audited() {
    let app = App::new().await;
    for (verb, word, paused) in [("pause", "paused", true), ("resume", "resumed", false)] {
        for (query, name) in [("", "ai-jobs"), ("?queue=ai-jobs", "ai-jobs"), ("?queue=webhooks", "webhooks")] {
            let reply = app.order(Method::POST, &format!("/v1/admin/queue/{verb}{query}")).await;
            let expected = json!({"success": true, "message": format!("Queue {name} {word}")});
            assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected));
            let metrics = app.order(Method::GET, &format!("/v1/admin/queue/metrics?queue={name}")).await.json();
            assert_eq!(metrics["paused"], paused, "{verb} {name}");
        }
    }
    let entry = |what: &str, target: &str| ("ops".to_owned(), what.to_owned(), target.to_owned());
    let expected =
        ["queue.pause", "queue.resume"].map(|what| ["ai-jobs", "ai-jobs", "webhooks"].map(|name| entry(what, name)));
    assert_eq!(app.audit().await, expected.concat());
}

#[tokio::test]
async fn clean_removes_old_finished_jobs_unless_a_grace_is_given() {
    let app = App::new().await;
    for (id, good) in [("a", true), ("b", true), ("c", false)] {
        finish(&app, id, good).await;
    }
    let clean = async |query: &str| app.order(Method::POST, &format!("/v1/admin/queue/clean{query}")).await.json();
    let young = clean("").await;
    assert_eq!(young["removed"], json!({"completed": 0, "failed": 0}));
    assert_eq!((&young["success"], &young["message"]), (&json!(true), &json!("Queue ai-jobs cleaned")));
    assert_eq!(clean("?grace=0&state=completed&limit=1").await["removed"], json!({"completed": 1, "failed": 0}));
    assert_eq!(clean("?grace=0&queue=webhooks").await["removed"], json!({"completed": 0, "failed": 0}));
    assert_eq!(clean("?queue=ai-jobs&grace=0").await["removed"], json!({"completed": 1, "failed": 1}));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing;

impl launchkit_queue::JobKind for Nothing {
    const NAME: &'static str = "SENTIMENT";
    type Output = ();
}

/// Adds a job to the queue and works on it with a worker that lets it end as wished.
async fn finish(app: &App, id: &str, good: bool) {
    use launchkit_queue::{Exit, Worker};
    let id = JobId::custom(id).unwrap();
    app.ai_jobs.add_named("SENTIMENT", json!({})).id(id.as_str()).await.unwrap();
    let worker = Worker::builder(&app.ai_jobs).on_rest(move |_| async move {
        if good { Ok(launchkit_queue::Payload::null()) } else { Err(Exit::GiveUp("no".into())) }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(worker.build().unwrap().run_until(async { stopped.await.unwrap_or(()) }));
    let ended = app.ai_jobs.outcome::<Nothing>(&id, Duration::from_secs(20)).await;
    assert_eq!(ended.is_ok(), good, "{ended:?}");
    stop.send(()).unwrap();
    worker.await.unwrap();
}

#[tokio::test]
async fn limits_are_read_set_one_by_one_and_lifted() {
    let app = App::new().await;
    let read = async || app.order(Method::GET, "/v1/admin/queue/limits").await.json();
    let free = json!({"queue": "ai-jobs", "concurrency": null, "rate": null, "limitedUntil": null});
    assert_eq!(read().await, free);
    let set = async |query: &str| app.order(Method::POST, &format!("/v1/admin/queue/limits?{query}")).await.json();
    let first = set("concurrency=5&rate=100&per=60000").await;
    assert_eq!((&first["success"], &first["message"]), (&json!(true), &json!("Queue ai-jobs limited")));
    assert_eq!(first["limits"]["rate"], json!({"max": 100, "per": 60_000}));
    assert!(set("hold=3600000").await["limits"]["limitedUntil"].is_string());
    let held = read().await;
    assert_eq!((&held["concurrency"], &held["rate"]["max"]), (&json!(5), &json!(100)));
    set("concurrency=none&rate=none&hold=none").await;
    assert_eq!(read().await, free);
    let other = app.order(Method::GET, "/v1/admin/queue/limits?queue=webhooks").await.json();
    assert_eq!(other["queue"], "webhooks");
    assert_eq!(app.audit().await, vec![("ops".into(), "queue.limits".into(), "ai-jobs".into()); 3]);
}

#[tokio::test]
async fn unfit_limits_change_nothing() {
    let app = App::new().await;
    let queries = [
        "",
        "concurrency=0",
        "concurrency=+5",
        "concurrency=all",
        "rate=5",
        "per=5",
        "rate=none&per=5",
        "rate=5&per=0",
        "hold=-1",
        "hold=31536000001",
        "concurrency=1&concurrency=2",
        "speed=1",
    ];
    for query in queries {
        let path = format!("/v1/admin/queue/limits?{query}");
        app.order(Method::POST, &path).await.problem(422, "invalid-input");
    }
    assert_eq!(app.audit().await, []);
}

/// A job that has failed, in the database and in the queue.
async fn failed(app: &App) -> String {
    let id = app.job().await;
    let run = app.begin(&id).await;
    let error = JobError { code: "broken".into(), message: "no".into(), retryable: false };
    app.end(&run, What::Failed { error, usage: None, retry_at: None }).await;
    finish(app, &id, false).await;
    id
}

async fn redrive(app: &App, query: &str) -> Value {
    let reply = app.order(Method::POST, &format!("/v1/admin/queue/retry-failed?{query}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()["failed"].clone()
}

#[tokio::test]
async fn chosen_failed_jobs_are_queued_again_through_the_database() {
    let app = App::new().await;
    let ids = [failed(&app).await, failed(&app).await, failed(&app).await];
    let dry = redrive(&app, "dry=true&type=SENTIMENT&error=no").await;
    let expected = json!({"scanned": 3, "chosen": 3, "retried": 0, "overQuota": 0, "dry": true, "nextCursor": null});
    assert_eq!(dry, expected);
    assert_eq!(app.audit().await, [], "looking changes nothing");
    for query in ["error=something%20else", "type=CLASSIFY", "since=2999-01-01T00:00:00Z"] {
        assert_eq!(redrive(&app, query).await["chosen"], 0, "{query}");
    }
    let first = redrive(&app, "limit=2").await;
    assert_eq!((&first["scanned"], &first["retried"]), (&json!(2), &json!(2)));
    // One that fails after the walk began is not met by it.
    let later = failed(&app).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = redrive(&app, &format!("limit=2&cursor={cursor}")).await;
    assert_eq!((&second["scanned"], &second["retried"], &second["nextCursor"]), (&json!(1), &json!(1), &json!(null)));
    for id in &ids {
        assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json()["status"], "QUEUED");
    }
    assert_eq!(app.get(&format!("/v1/jobs/{later}")).await.json()["status"], "FAILED");
    let third = redrive(&app, "").await;
    assert_eq!((&third["scanned"], &third["retried"]), (&json!(4), &json!(1)));
    let ids = [&ids[..], &[later]].concat();
    let retries = app.audit().await.into_iter().filter(|(_, what, _)| what == "job.retry");
    assert_eq!(retries.map(|(_, _, target)| target).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn an_unfit_choice_of_failed_jobs_is_refused() {
    let app = App::new().await;
    failed(&app).await;
    for query in ["type=NONE", "since=yesterday", "limit=0", "limit=1001", "cursor=1.2", "dry=1", "queue=webhooks"] {
        let path = format!("/v1/admin/queue/retry-failed?{query}");
        app.order(Method::POST, &path).await.problem(422, "invalid-input");
    }
    assert_eq!(redrive(&app, "dry=true").await["chosen"], 1);
}

#[tokio::test]
async fn viewers_look_and_do_not_touch() {
    let app = App::new().await;
    let token = app.token(Role::Viewer);
    let all = app.send(request(Method::GET, "/v1/admin/queue/metrics/all", &token, "")).await;
    assert_eq!(all.status, StatusCode::OK);
    let limits = app.send(request(Method::GET, "/v1/admin/queue/limits", &token, "")).await;
    assert_eq!(limits.status, StatusCode::OK);
    for verb in ["pause", "resume", "clean", "limits?concurrency=1", "retry-failed"] {
        let path = format!("/v1/admin/queue/{verb}");
        app.send(request(Method::POST, &path, &token, "")).await.problem(403, "forbidden");
    }
    assert_eq!(app.webhooks.info().await.unwrap().counts.total(), 0);
}
