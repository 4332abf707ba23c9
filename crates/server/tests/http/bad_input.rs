//! Bad input: each is a problem document with the right code and place, and nothing is created.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{App, request};

/// Sends a body to SENTIMENT and asserts how it is refused; answers where the faults are.
async fn refused(app: &App, body: impl Into<Body>, status: u16, code: &str) -> Vec<String> {
    refused_at(app, "/v1/jobs/sentiment", body, status, code).await
}

async fn refused_at(app: &App, path: &str, body: impl Into<Body>, status: u16, code: &str) -> Vec<String> {
    let document = app.call(Method::POST, path, body).await.problem(status, code);
    assert_eq!(app.jobs().await, 0, "something was created: {document}");
    places(&document)
}

fn places(document: &Value) -> Vec<String> {
    let faults = document["errors"].as_array().cloned().unwrap_or_default();
    let place = |fault: &Value| {
        assert!(fault["message"].as_str().is_some_and(|text| text.len() > 5), "{fault}");
        fault["pointer"].as_str().or(fault["parameter"].as_str()).unwrap().to_owned()
    };
    faults.iter().map(place).collect()
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let app = App::new().await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"text",
        b"{\"text\":\"x\"",
        b"{\"text\":\"x\"} extra",
        b"{\"text\":\"\xff\xfe\"}",
        b"{\"text\":\"\xed\xa0\x80\"}",
        br#"{"text":"\ud800"}"#,
        br#"{"text":"\udc00 tail"}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        assert!(refused(&app, body.to_vec(), 400, "malformed-json").await.is_empty());
    }
}

#[tokio::test]
async fn texts_and_types_that_are_not_acceptable() {
    let app = App::new().await;
    let long = "x".repeat(200_001);
    let wide = "😀".repeat(200_001);
    for (body, places) in [
        (json!({}), vec!["/text"]),
        (json!({"text": null}), vec!["/text"]),
        (json!({"text": 7}), vec!["/text"]),
        (json!({"text": ["x"]}), vec!["/text"]),
        (json!({"text": ""}), vec!["/text"]),
        (json!({"text": " \t\n\u{2003}"}), vec!["/text"]),
        (json!({"text": "a\u{0}b"}), vec!["/text"]),
        (json!({"text": long}), vec!["/text"]),
        (json!({"text": wide}), vec!["/text"]),
        (json!({"text": "x", "txet": 1}), vec!["/txet"]),
        (json!({"text": "x", "a/b~c": 1}), vec!["/a~1b~0c"]),
        (json!({"text": "x", "options": 1}), vec!["/options"]),
        (json!({"text": "x", "options": {"priority": "high"}}), vec!["/options/priority"]),
        (json!({"text": "", "options": {"attempts": 0, "x": 1}}), vec!["/text", "/options/attempts", "/options/x"]),
        (json!({"text": "x", "options": {"metadata": {"k": "a\u{0}"}}}), vec!["/options/metadata/k"]),
        (json!(["text"]), vec![""]),
        (json!("text"), vec![""]),
        (json!(null), vec![""]),
    ] {
        let shown: String = body.to_string().chars().take(60).collect();
        assert_eq!(refused(&app, body.to_string(), 422, "invalid-input").await, places, "{shown}");
    }
    let doubled = r#"{"text":"x","text":"y"}"#;
    assert_eq!(refused(&app, doubled, 422, "invalid-input").await, ["/text"]);
}

#[tokio::test]
async fn exactly_200_000_characters_are_accepted_however_many_bytes_they_have() {
    let app = App::new().await;
    for text in ["x".repeat(200_000), "😀".repeat(200_000)] {
        let reply = app.post("/v1/jobs/sentiment", &json!({"text": text})).await;
        assert_eq!(reply.status.as_u16(), 202);
    }
    assert_eq!(app.jobs().await, 2);
}

#[tokio::test]
async fn fields_of_each_type_are_checked() {
    let app = App::new().await;
    for (kind, body, place) in [
        ("summarize", json!({"text": "x", "maxSentences": 0}), "/maxSentences"),
        ("summarize", json!({"text": "x", "maxSentences": 21}), "/maxSentences"),
        ("summarize", json!({"text": "x", "maxSentences": "3"}), "/maxSentences"),
        ("classify", json!({"text": "x", "categories": ["one"]}), "/categories"),
        ("classify", json!({"text": "x", "categories": ["a", "b", "a"]}), "/categories/2"),
        ("classify", json!({"text": "x", "categories": ["a", 2]}), "/categories/1"),
        ("classify", json!({"text": "x", "multiLabel": "yes"}), "/multiLabel"),
        ("sentiment", json!({"text": "x", "maxSentences": 2}), "/maxSentences"),
        ("translate", json!({"text": "x"}), "/to"),
        ("translate", json!({"text": "x", "to": "Spanish please"}), "/to"),
        ("translate", json!({"text": "x", "to": "es", "from": 1}), "/from"),
        ("extract", json!({"text": "x", "types": ["EMAIL", "SHOE"]}), "/types/1"),
    ] {
        let places = refused_at(&app, &format!("/v1/jobs/{kind}"), body.to_string(), 422, "invalid-input").await;
        assert_eq!(places, [place], "{kind} {body}");
    }
}

#[tokio::test]
async fn the_general_route_names_faults_below_input() {
    let app = App::new().await;
    for (body, places) in [
        (json!({"type": "SENTIMENT", "input": {"text": ""}}), vec!["/input/text"]),
        (json!({"type": "SENTIMENT", "input": {"text": "x", "options": {}}}), vec!["/input/options"]),
        (json!({"type": "sentiment", "input": {"text": "x"}}), vec!["/type"]),
        (json!({"type": 1, "input": "x", "more": 1}), vec!["/type", "/input", "/more"]),
        (json!({}), vec!["/type", "/input"]),
        (
            json!({"type": "SENTIMENT", "input": {"text": "x"}, "options": {"provider": "openai"}}),
            vec!["/options/provider"],
        ),
    ] {
        assert_eq!(refused_at(&app, "/v1/jobs", body.to_string(), 422, "invalid-input").await, places, "{body}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let app = App::new().await;
    let fifty = vec![b' '; 50 * 1024 * 1024];
    refused(&app, fifty, 413, "body-too-large").await;
    let just = format!("{}{}", " ".repeat(4 * 1024 * 1024), json!({"text": "x"}));
    refused(&app, just, 413, "body-too-large").await;
    // A length that is announced is refused before anything is read, when the sender waits for that.
    let mut asked = request(Method::POST, "/v1/jobs/sentiment", &app.key, "");
    asked.headers_mut().insert("content-length", "52428800".parse().unwrap());
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    app.send(asked).await.problem(413, "body-too-large");
}

#[tokio::test]
async fn media_types_that_are_not_json() {
    let app = App::new().await;
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""] {
        let mut asked = request(Method::POST, "/v1/jobs/sentiment", &app.key, r#"{"text":"x"}"#);
        asked.headers_mut().insert("content-type", media.parse().unwrap());
        app.send(asked).await.problem(415, "unsupported-media-type");
    }
    let mut asked = request(Method::POST, "/v1/jobs/sentiment", &app.key, r#"{"text":"x"}"#);
    asked.headers_mut().remove("content-type");
    app.send(asked).await.problem(415, "unsupported-media-type");
    assert_eq!(app.jobs().await, 0);
}

#[tokio::test]
async fn query_parameters_that_are_not_acceptable() {
    let app = App::new().await;
    for (query, places) in [
        ("limit=-1", vec!["limit"]),
        ("limit=ten", vec!["limit"]),
        ("limit=0", vec!["limit"]),
        ("limit=101", vec!["limit"]),
        ("limit=", vec!["limit"]),
        ("limit=1&limit=2", vec!["limit"]),
        ("offset=-1", vec!["offset"]),
        ("offset=10001", vec!["offset"]),
        ("cursor=abc", vec!["cursor"]),
        ("cursor=", vec!["cursor"]),
        ("cursor=c0000000000000000000000000&offset=0", vec!["cursor"]),
        ("cursor=c000000000000000000000000&offset=0", vec!["offset"]),
        ("status=DONE", vec!["status"]),
        ("status=queued", vec!["status"]),
        ("type=NAP", vec!["type"]),
        ("createdAfter=yesterday", vec!["createdAfter"]),
        ("metadata.a=1&metadata.b=2&metadata.c=3", vec!["metadata"]),
        ("limit=1&page=2", vec!["page"]),
        ("limit=%ff", vec!["limit"]),
        ("limit=%2", vec!["limit"]),
        ("limit=ten&offset=x&z", vec!["limit", "offset", "z"]),
    ] {
        let document = app.get(&format!("/v1/jobs?{query}")).await.problem(422, "invalid-input");
        assert_eq!(self::places(&document), places, "{query}");
    }
    // Routes without parameters take none.
    let places = refused_at(&app, "/v1/jobs/sentiment?dry=1", r#"{"text":"x"}"#, 422, "invalid-input").await;
    assert_eq!(places, ["dry"]);
}

#[tokio::test]
async fn ids_that_the_caller_may_not_see_are_not_there() {
    let app = App::new().await;
    let id = app.job().await;
    let other = app.ledger.create_org("other", &Default::default(), app.now()).await.unwrap();
    let (_, stranger) = app.new_key(&other.id, crate::support::ALL).await;
    for id in [id.as_str(), "cnothere", "x%20y", "..%2F..%2Fetc", "%00"] {
        for (method, path) in [
            (Method::GET, format!("/v1/jobs/{id}")),
            (Method::POST, format!("/v1/jobs/{id}/cancel")),
            (Method::POST, format!("/v1/jobs/{id}/retry")),
        ] {
            app.send(request(method, &path, &stranger, "")).await.problem(404, "job-not-found");
        }
    }
    let page = app.send(request(Method::GET, "/v1/jobs", &stranger, "")).await.json();
    assert_eq!((&page["jobs"], &page["total"]), (&json!([]), &json!(0)));
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.json()["status"], "QUEUED");
    for bad in ["%zz", "%ff"] {
        let document = app.get(&format!("/v1/jobs/{bad}")).await.problem(422, "invalid-input");
        assert_eq!(places(&document), ["jobId"]);
    }
}

#[tokio::test]
async fn queues_that_do_not_exist_and_orders_that_make_no_sense() {
    let app = App::new().await;
    for (method, path) in [
        (Method::GET, "/v1/admin/queue/metrics?queue=nope"),
        (Method::POST, "/v1/admin/queue/pause?queue=AI-JOBS"),
        (Method::POST, "/v1/admin/queue/resume?queue="),
        (Method::POST, "/v1/admin/queue/clean?queue=bull:ai-jobs"),
    ] {
        app.order(method, path).await.problem(404, "queue-not-found");
    }
    for (query, place) in [
        ("state=active", "state"),
        ("grace=-1", "grace"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("force=1", "force"),
    ] {
        let document =
            app.order(Method::POST, &format!("/v1/admin/queue/clean?{query}")).await.problem(422, "invalid-input");
        assert_eq!(places(&document), [place]);
    }
    let token = app.token(launchkit::auth::Role::Operator);
    let body = request(Method::POST, "/v1/admin/queue/pause", &token, r#"{"queue":"webhooks"}"#);
    assert_eq!(places(&app.send(body).await.problem(422, "invalid-input")), ["/queue"]);
    assert!(!app.ai_jobs.info().await.unwrap().paused);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let app = App::new().await;
    for path in ["/", "/v1", "/v1/jobs/", "/v1/jobs/bulk/x", "/v2/jobs", "/v1/usage", "/docs", "/v1/jobs/x/y/z"] {
        app.get(path).await.problem(404, "not-found");
    }
    for (method, path, allow) in [
        (Method::PUT, "/v1/jobs", "GET,HEAD,POST"),
        (Method::GET, "/v1/jobs/x/cancel", "POST"),
        (Method::DELETE, "/v1/admin/queue/metrics", "GET,HEAD"),
        (Method::PATCH, "/healthz", "GET,HEAD"),
    ] {
        let reply = app.call(method, path, "").await;
        reply.problem(405, "method-not-allowed");
        let mut allowed: Vec<_> = reply.header("allow").unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{path}");
    }
    // A typed route that is read is a job of that name.
    app.get("/v1/jobs/summarize").await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_handler_that_panics_answers_a_problem() {
    let boom = axum::Router::new()
        .route("/boom", axum::routing::get(|| async { panic!("secret inside") as () }))
        .layer(launchkit::http::guard::catch_panics());
    let response = tower::ServiceExt::oneshot(boom, Request::get("/boom").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 500);
    let problem = response.extensions().get::<launchkit::problem::Problem>().unwrap();
    assert_eq!(problem.code().name(), "internal-error");
    assert!(!problem.detail().contains("secret"));
}

/// A promise that nobody would keep is refused by its name.
#[tokio::test]
async fn a_webhook_of_a_job_is_refused_while_nobody_sends_it() {
    let app = App::new().await;
    let body = json!({"text": "Fine.", "options": {"webhookUrl": "https://example.com/hook"}});
    let problem = app.post("/v1/jobs/sentiment", &body).await.problem(422, "invalid-input");
    assert_eq!(problem["errors"][0]["pointer"], "/options/webhookUrl");
    assert_eq!(app.get("/v1/jobs").await.json()["total"], 0);
}
