//! `Idempotency-Key`: the first answer again, and nothing done twice.

use axum::http::{Method, StatusCode};
use launchkit::ledger::{Answer, Claim};
use serde_json::json;

use crate::support::{App, Reply, request};

async fn keyed(app: &App, path: &str, key: &str, body: &str) -> Reply {
    let mut asked = request(Method::POST, path, &app.key, body.to_owned());
    asked.headers_mut().insert("idempotency-key", key.parse().unwrap());
    app.send(asked).await
}

#[tokio::test]
async fn the_same_create_again_answers_the_same_job() {
    let app = App::new().await;
    let first = keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":"x"}"#).await;
    let again = keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":"x"}"#).await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!((&first.body, first.header("location")), (&again.body, again.header("location")));
    assert_eq!((first.header("idempotent-replay"), again.header("idempotent-replay")), (None, Some("true")));
    assert_eq!(app.jobs().await, 1);
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let app = App::new().await;
    keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":"x"}"#).await;
    for (path, body) in [
        ("/v1/jobs/sentiment", r#"{"text":"y"}"#),
        ("/v1/jobs/sentiment", r#"{"text": "x"}"#),
        ("/v1/jobs/extract", r#"{"text":"x"}"#),
    ] {
        keyed(&app, path, "k1", body).await.problem(422, "idempotency-mismatch");
    }
    assert_eq!(app.jobs().await, 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let app = App::new().await;
    keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":""}"#).await.problem(422, "invalid-input");
    assert_eq!(keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":"x"}"#).await.status, StatusCode::ACCEPTED);
    let id = app.job().await;
    let retry = format!("/v1/jobs/{id}/retry");
    keyed(&app, &retry, "k2", "").await.problem(409, "job-not-finished");
    app.call(Method::POST, &format!("/v1/jobs/{id}/cancel"), "").await;
    assert_eq!(keyed(&app, &retry, "k2", "").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn keys_of_two_organisations_are_different_keys() {
    let app = App::new().await;
    let other = app.ledger.create_org("other", &Default::default(), app.now()).await.unwrap();
    let (_, stranger) = app.new_key(&other.id, crate::support::ALL).await;
    let mine = keyed(&app, "/v1/jobs/sentiment", "k1", r#"{"text":"x"}"#).await.json();
    let mut asked = request(Method::POST, "/v1/jobs/sentiment", &stranger, r#"{"text":"x"}"#);
    asked.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
    let theirs = app.send(asked).await.json();
    assert_ne!(mine["id"], theirs["id"]);
}

#[tokio::test]
async fn cancel_and_pause_answer_the_same_again() {
    let app = App::new().await;
    let id = app.job().await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    let first = keyed(&app, &cancel, "k1", "").await;
    let again = keyed(&app, &cancel, "k1", "").await;
    assert_eq!((first.status, again.status, &first.body), (StatusCode::OK, StatusCode::OK, &again.body));
    assert_eq!(again.header("idempotent-replay"), Some("true"));
    // Without the key the second cancel is refused.
    keyed(&app, &cancel, "k2", "").await.problem(409, "job-already-finished");

    let token = app.token(launchkit::auth::Role::Operator);
    for replay in [None, Some("true")] {
        let mut asked = request(Method::POST, "/v1/admin/queue/pause?queue=webhooks", &token, "");
        asked.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
        let reply = app.send(asked).await;
        assert_eq!((reply.status, reply.header("idempotent-replay")), (StatusCode::OK, replay));
    }
    let mut asked = request(Method::POST, "/v1/admin/queue/pause?queue=ai-jobs", &token, "");
    asked.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
    app.send(asked).await.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn bad_keys_are_refused() {
    let app = App::new().await;
    for key in ["", &"k".repeat(256)] {
        let document = keyed(&app, "/v1/jobs/sentiment", key, r#"{"text":"x"}"#).await.problem(422, "invalid-input");
        assert_eq!(document["errors"][0]["parameter"], "Idempotency-Key");
    }
    assert_eq!(app.jobs().await, 0);
}

#[tokio::test]
async fn twenty_at_once_with_one_key_make_one_job() {
    let app = App::new().await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let mut asked = request(Method::POST, "/v1/jobs/sentiment", &app.key, json!({"text": "x"}).to_string());
            asked.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
            tokio::spawn(tower::ServiceExt::oneshot(app.router.clone(), asked))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    }
    assert_eq!(app.jobs().await, 1);
}

#[tokio::test]
async fn a_second_caller_waits_for_the_first_and_after_five_seconds_is_told_to_come_back() {
    let app = App::new().await;
    let id = app.job().await;
    let cancel = format!("/v1/jobs/{id}/cancel");
    // The fingerprint of this very request, as the service makes it.
    keyed(&app, &cancel, "k0", "").await;
    let fingerprint = app.fingerprint("k0").await;
    // Somebody else is working on it under two other keys, and tells the answer of one of them.
    for key in ["k1", "k2"] {
        assert_eq!(app.ledger.claim(&app.org, key, &fingerprint, app.now()).await.unwrap(), Claim::Fresh);
    }
    let answer = Answer { status: 200, location: None, body: r#"{"told":"later"}"#.to_owned() };
    let settle = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        app.ledger.settle_claim(&app.org, "k1", &fingerprint, &answer, app.now()).await.unwrap();
    };
    let begun = std::time::Instant::now();
    let (told, never, ()) = tokio::join!(keyed(&app, &cancel, "k1", ""), keyed(&app, &cancel, "k2", ""), settle);
    assert_eq!((told.status, told.json()["told"].as_str()), (StatusCode::OK, Some("later")));
    assert_eq!(told.header("idempotent-replay"), Some("true"));
    assert_eq!(never.problem(409, "idempotency-in-progress")["retryable"], true);
    assert!(begun.elapsed().as_secs() >= 4, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_hangs_up_and_asks_again_gets_the_answer() {
    let app = App::new().await;
    // Wherever it is broken off.
    for most in 1..12 {
        let id = app.job().await;
        let path = format!("/v1/jobs/{id}/cancel");
        let ask = || {
            let mut asked = request(Method::POST, &path, &app.key, "");
            asked.headers_mut().insert("idempotency-key", format!("key-{most}").parse().unwrap());
            asked
        };
        let mut first = Box::pin(app.send(ask()));
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            match first.as_mut().poll(cx) {
                std::task::Poll::Pending if polls < most => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        })
        .await;
        drop(first);
        let reply = app.send(ask()).await;
        assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::OK, &json!("CANCELED")), "{most}: {reply:?}");
    }
}
