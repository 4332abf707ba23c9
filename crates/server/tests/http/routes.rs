//! What each route does when it is used as meant.

use axum::http::{Method, StatusCode};
use launchkit::ai::JobType;
use launchkit::ledger::{JobError, What};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

use crate::support::{ALL, App, request, route};

#[tokio::test]
async fn each_create_route_makes_one_job_of_its_type() {
    let app = App::new().await;
    for kind in JobType::ALL {
        let mut input = json!({"text": "The first sentence. The second one is longer."});
        if kind == JobType::Translate {
            input["to"] = json!("es");
        }
        let reply = app.post(&route(kind), &input).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        let job = reply.json();
        let id = job["id"].as_str().unwrap();
        assert!(id.starts_with('c') && id.len() == 25, "{id}");
        assert_eq!(reply.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
        assert_eq!((&job["type"], &job["status"], &job["input"]), (&json!(kind.as_str()), &json!("QUEUED"), &input));
        assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json(), job);
    }
    assert_eq!(app.jobs().await, 5);
}

#[tokio::test]
async fn the_general_route_takes_type_input_and_options() {
    let app = App::new().await;
    let body = json!({
        "type": "CLASSIFY", "input": {"text": "x y", "categories": ["a", "b"]},
        "options": {"priority": 7, "attempts": 5, "metadata": {"team": "blue"}, "delay": 60_000},
    });
    let asked_at = app.now();
    let reply = app.post("/v1/jobs", &body).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
    let job = reply.json();
    assert_eq!(job["input"], body["input"]);
    assert_eq!(
        (&job["priority"], &job["maxAttempts"], &job["metadata"]),
        (&json!(7), &json!(5), &json!({"team": "blue"}))
    );
    let row = app.ledger.get(&app.org, job["id"].as_str().unwrap()).await.unwrap().unwrap();
    // A delay counts from the request, which is read a moment before its row is made.
    let delayed = asked_at + 60_000..=row.created_at + 60_000;
    assert!(row.run_at.is_some_and(|at| delayed.contains(&at)), "{:?} in {delayed:?}", row.run_at);
    // The typed routes take the same options beside the input.
    let reply = app.post("/v1/jobs/sentiment", &json!({"text": "x", "options": {"priority": 7}})).await;
    assert_eq!((&reply.json()["priority"], &reply.json()["input"]), (&json!(7), &json!({"text": "x"})));
}

#[tokio::test]
async fn lists_are_newest_first_and_pages_neither_skip_nor_repeat() {
    let app = App::new().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.insert(0, app.job().await);
    }
    let ids = |page: &Value| -> Vec<String> {
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = app.get("/v1/jobs").await.json();
    assert_eq!(ids(&all), made);
    assert_eq!((&all["total"], &all["limit"], &all["offset"]), (&json!(7), &json!(50), &json!(0)));
    let page = app.get("/v1/jobs?limit=3&offset=2").await.json();
    assert_eq!(ids(&page), made[2..5]);
    // With a cursor, jobs that arrive meanwhile move nothing.
    let first = app.get("/v1/jobs?limit=4").await.json();
    app.job().await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = app.get(&format!("/v1/jobs?limit=4&cursor={cursor}")).await.json();
    assert_eq!([ids(&first), ids(&rest)].concat(), made);
    assert_eq!((&rest["nextCursor"], &rest["offset"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn lists_are_filtered_by_status_type_time_and_metadata() {
    let app = App::new().await;
    let plain = app.job().await;
    let body = json!({"text": "x", "options": {"metadata": {"a b": "ü", "c": "d"}}});
    let labelled = app.post("/v1/jobs/extract", &body).await.json();
    app.succeed(&plain).await;
    for (query, expected) in [
        ("status=SUCCEEDED", vec![plain.as_str()]),
        ("status=QUEUED", vec![labelled["id"].as_str().unwrap()]),
        ("status=FAILED", vec![]),
        ("type=EXTRACT", vec![labelled["id"].as_str().unwrap()]),
        ("metadata.a%20b=%C3%BC&metadata.c=d", vec![labelled["id"].as_str().unwrap()]),
        ("metadata.c=e", vec![]),
        ("createdBefore=2001-01-01T00:00:00Z", vec![]),
        ("createdAfter=2001-01-01T00:00:00%2B01:00&type=SENTIMENT", vec![plain.as_str()]),
    ] {
        let page = app.get(&format!("/v1/jobs?{query}")).await.json();
        let ids: Vec<_> = page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
        assert_eq!(page["total"], Value::Null, "{query}");
    }
}

#[tokio::test]
async fn a_queued_job_is_canceled_at_once_and_leaves_the_queue() {
    let app = App::new().await;
    let id = app.job().await;
    let queued = app.ai_jobs.add_named("SENTIMENT", json!({})).id(&id).await.unwrap();
    let reply = app.call(Method::POST, &format!("/v1/jobs/{id}/cancel"), "").await;
    assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::OK, &json!("CANCELED")));
    assert!(app.ai_jobs.get(queued.id()).await.unwrap().is_none());
    let again = app.call(Method::POST, &format!("/v1/jobs/{id}/cancel"), "{}").await;
    again.problem(409, "job-already-finished");
}

#[tokio::test]
async fn a_running_job_is_told_to_stop() {
    let app = App::new().await;
    let id = app.job().await;
    let run = app.begin(&id).await;
    let reply = app.call(Method::POST, &format!("/v1/jobs/{id}/cancel"), "").await;
    assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::ACCEPTED, &json!("PROCESSING")));
    assert_eq!(app.ledger.told_to_stop("holder").await.unwrap(), [(id.clone(), 1, run.run)]);
    // First committed write wins: a run that ends well afterwards has succeeded.
    app.end(&run, What::Succeeded { output: "{}".into(), usage: None }).await;
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json()["status"], "SUCCEEDED");
}

#[tokio::test]
async fn only_failed_and_canceled_jobs_are_retried() {
    let app = App::new().await;
    let id = app.job().await;
    let retry = format!("/v1/jobs/{id}/retry");
    app.call(Method::POST, &retry, "").await.problem(409, "job-not-finished");
    let run = app.begin(&id).await;
    let error = JobError { code: "invalid-input".into(), message: "It cannot be done.".into(), retryable: false };
    app.end(&run, What::Failed { error, usage: None, retry_at: None }).await;
    let failed = app.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["error"], json!({"code": "invalid-input", "message": "It cannot be done.", "retryable": false}));
    let reply = app.call(Method::POST, &retry, "").await;
    let job = reply.json();
    assert_eq!((reply.status, &job["status"], &job["attempts"]), (StatusCode::ACCEPTED, &json!("QUEUED"), &json!(0)));
}

#[tokio::test]
async fn a_job_that_will_be_tried_again_says_when_and_why() {
    let app = App::new().await;
    let id = app.job().await;
    let run = app.begin(&id).await;
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json()["attempts"], 1);
    let error = JobError { code: "busy".into(), message: "Try later.".into(), retryable: true };
    app.end(&run, What::Failed { error, usage: None, retry_at: None }).await;
    let job = app.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(
        (&job["status"], &job["attempts"], &job["error"]["code"]),
        (&json!("QUEUED"), &json!(1), &json!("busy"))
    );
    assert!(job["nextAttemptAt"].is_string() && job["completedAt"].is_null());
}

#[tokio::test]
async fn explain_says_why_a_job_does_not_run() {
    let app = App::new().await;
    let id = app.post("/v1/jobs/sentiment", &json!({"text": "Fine."})).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{id}/explain");
    let first = async |state: &str| {
        let reply = app.get(&path).await;
        assert_eq!((reply.status, &reply.json()["state"]), (StatusCode::OK, &json!(state)));
        reply.json()["reasons"][0].clone()
    };
    // Nobody carries rows to the queue in this test.
    assert_eq!(first("QUEUED").await["code"], "not-in-queue");
    app.ai_jobs.add_named("SENTIMENT", json!({})).id(&id).await.unwrap();
    let alone = first("QUEUED").await;
    assert_eq!((&alone["code"], &alone["until"], &alone["details"]), (&json!("no-workers"), &json!(null), &json!({})));
    app.ai_jobs.admin().pause().await.unwrap();
    assert_eq!(first("QUEUED").await["code"], "queue-paused");
    app.succeed(&id).await;
    let finished = first("SUCCEEDED").await;
    assert_eq!((&finished["code"], &finished["message"]), (&json!("finished"), &json!("It has succeeded.")));
    assert!(finished["since"].is_string());

    let (_, other) = app.new_key(&app.org, &["jobs:write"]).await;
    app.send(request(Method::GET, &path, &other, "")).await.problem(403, "forbidden");
    app.get("/v1/jobs/cmwu82b440000phdy0i8xxbwl/explain").await.problem(404, "job-not-found");
    app.get(&format!("{path}?verbose=1")).await.problem(422, "invalid-input");
}

#[tokio::test]
async fn canceling_and_retrying_with_a_key_are_audited() {
    let app = App::new().await;
    let (key, text) = app.new_key(&app.org, ALL).await;
    let id = app.post("/v1/jobs/sentiment", &json!({"text": "Fine."})).await.json()["id"].as_str().unwrap().to_owned();
    for (verb, status) in [("cancel", 200), ("cancel", 409), ("retry", 202), ("retry", 409)] {
        let reply = app.send(request(Method::POST, &format!("/v1/jobs/{id}/{verb}"), &text, "")).await;
        assert_eq!(reply.status, status, "{verb}");
    }
    // What was refused changed nothing.
    let entry = |what: &str| (key.clone(), what.to_owned(), id.clone());
    assert_eq!(app.audit().await, [entry("job.cancel"), entry("job.retry")]);
}

#[tokio::test]
async fn health_says_which_loop_stands_still_and_readiness_asks_both_stores() {
    let app = App::new().await;
    let open = |path: &str| request(Method::GET, path, "", "");
    assert_eq!(app.send(open("/healthz")).await.json(), json!({"status": "ok"}));
    let ready = app.send(open("/readyz")).await;
    assert_eq!(ready.json(), json!({"status": "ready", "database": "ok", "queue": "ok"}));
    app.skew.note(-30_000);
    assert_eq!(app.send(open("/readyz")).await.status, StatusCode::OK);
    app.skew.note(-31_000);
    let skewed = app.send(open("/readyz")).await.problem(503, "unavailable");
    assert_eq!(skewed["detail"], "This machine's clock and the database's are 31 s apart.");
    app.skew.note(0);
    app.healthy.store(false, Ordering::SeqCst);
    let sick = app.send(open("/healthz")).await.problem(503, "unavailable");
    assert!(sick["detail"].as_str().unwrap().contains("ai-jobs"));
    app.store.close().await;
    let unready = app.send(open("/readyz")).await.problem(503, "unavailable");
    assert_eq!(unready["detail"], "The queue does not answer: closed.");
    app.ledger.close().await;
    let unready = app.send(open("/readyz")).await.problem(503, "unavailable");
    assert_eq!(unready["detail"], "Neither the database nor the queue answers: closed.");
}

#[tokio::test]
async fn a_queue_of_another_deployment_is_neither_shown_nor_changed() {
    const CLAIMED: &str = "Another deployment has claimed the queue.";
    let app = App::new().await;
    app.store.claim("another").await.unwrap();
    assert!(!app.owner.look().await.unwrap());
    let unready = app.send(request(Method::GET, "/readyz", "", "")).await.problem(503, "unavailable");
    assert_eq!(unready["detail"], CLAIMED);
    for (method, path) in [
        (Method::GET, "/v1/admin/queue/metrics"),
        (Method::GET, "/v1/admin/queue/metrics/all"),
        (Method::GET, "/v1/admin/queue/limits"),
        (Method::POST, "/v1/admin/queue/limits?concurrency=1"),
        (Method::POST, "/v1/admin/queue/pause"),
        (Method::POST, "/v1/admin/queue/clean"),
        (Method::POST, "/v1/admin/queue/retry-failed"),
    ] {
        assert_eq!(app.order(method, path).await.problem(503, "unavailable")["detail"], CLAIMED, "{path}");
    }
    assert!(!app.ai_jobs.info().await.unwrap().paused);
    // Jobs are accepted all the same: the database is ours.
    let id = app.job().await;
    let explained = app.get(&format!("/v1/jobs/{id}/explain")).await.json();
    assert!(explained["reasons"][0]["message"].as_str().unwrap().starts_with(CLAIMED), "{explained}");
}

#[tokio::test]
async fn every_problem_code_has_a_page() {
    let app = App::new().await;
    for code in launchkit::problem::Code::ALL {
        let path = format!("/problems/{}", code.name());
        let page = app.send(request(Method::GET, &path, "", "")).await;
        assert_eq!((page.status, &page.json()["code"]), (StatusCode::OK, &json!(code.name())));
        let mut asked = request(Method::GET, &path, "", "");
        asked.headers_mut().insert("accept", "text/html,*/*".parse().unwrap());
        let page = app.send(asked).await;
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(String::from_utf8_lossy(&page.body).contains(code.title()));
    }
    app.send(request(Method::GET, "/problems/nope", "", "")).await.problem(404, "not-found");
}

#[tokio::test]
async fn many_creates_at_once_are_all_answered_each_with_its_own_job() {
    let app = App::new().await;
    let calls = (0..200).map(|n| {
        let (router, key) = (app.router.clone(), app.key.clone());
        tokio::spawn(async move {
            let text = format!("text {n}");
            let body = json!({"text": text}).to_string();
            let response = tower::ServiceExt::oneshot(router, request(Method::POST, "/v1/jobs/sentiment", &key, body));
            let body = axum::body::to_bytes(response.await.unwrap().into_body(), usize::MAX).await.unwrap();
            let job: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(job["input"]["text"], text);
            job["id"].as_str().unwrap().to_owned()
        })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), app.jobs().await), (200, 200));
}

#[tokio::test]
async fn over_the_bound_of_the_backlog_nothing_more_is_accepted() {
    let app = App::with_backlog(5).await;
    let mut accepted = 0;
    // The backlog is counted once a second: until then some more may come in.
    let refused = loop {
        let reply = app.post("/v1/jobs/sentiment", &json!({"text": "x"})).await;
        if reply.status != StatusCode::ACCEPTED {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 100_000, "nothing is ever refused");
    };
    assert_eq!(refused.problem(503, "overloaded")["retryable"], true);
    assert!(refused.header("retry-after").is_some());
    assert!(accepted >= 5);
    assert_eq!(app.jobs().await, accepted);
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let app = App::new().await;
    let mut asked = request(Method::GET, "/healthz", "", "");
    asked.headers_mut().insert("x-request-id", "trace-me.1".parse().unwrap());
    assert_eq!(app.send(asked).await.header("x-request-id"), Some("trace-me.1"));
    let made = app.send(request(Method::GET, "/nowhere", "", "")).await;
    assert!(made.header("x-request-id").unwrap().starts_with("req-"));
    made.problem(404, "not-found");
}
