//! Credentials: every shape that is refused, and what each scope and role reaches.

use axum::http::{HeaderValue, Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use launchkit::auth::Role;
use serde_json::{Value, json};

use crate::support::{App, SECRET, request, token};

#[tokio::test]
async fn api_keys_are_taken_from_either_header() {
    let app = App::new().await;
    let mut asked = request(Method::GET, "/v1/jobs", "", "");
    asked.headers_mut().insert("x-api-key", app.key.parse().unwrap());
    assert_eq!(app.send(asked).await.status, StatusCode::OK);
    let mut asked = request(Method::GET, "/v1/jobs", &app.key, "");
    asked.headers_mut().insert("x-api-key", app.key.parse().unwrap());
    assert_eq!(app.send(asked).await.status, StatusCode::OK);
    let (_, other) = app.new_key(&app.org, crate::support::ALL).await;
    let mut asked = request(Method::GET, "/v1/jobs", &app.key, "");
    asked.headers_mut().insert("x-api-key", other.parse().unwrap());
    app.send(asked).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn refused_api_keys() {
    let app = App::new().await;
    let good = app.key.clone();
    let flipped = if good.ends_with('a') { "b" } else { "a" };
    let wrong_secret = format!("{}{flipped}", &good[..good.len() - 1]);
    let (revoked_id, revoked) = app.new_key(&app.org, crate::support::ALL).await;
    assert!(app.ledger.revoke_key(&app.org, &revoked_id, app.now()).await.unwrap());
    let (_, expired) = app.key_until(&app.org, crate::support::ALL, Some(app.now() - 1)).await;
    let operator = app.token(Role::Admin);
    for key in [
        "",
        "x",
        "lk_live__",
        "lk_live_abc_def",
        &wrong_secret,
        &good.replace("live", "test"),
        &good.to_uppercase(),
        &format!("{good}a"),
        &good[..good.len() - 1],
        &revoked,
        &expired,
        &operator,
    ] {
        for (method, path, body) in
            [(Method::GET, "/v1/jobs", ""), (Method::POST, "/v1/jobs/sentiment", r#"{"text":"x"}"#)]
        {
            let reply = app.send(request(method, path, key, body)).await;
            reply.problem(401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    let mut asked = request(Method::GET, "/v1/jobs", "", "");
    asked.headers_mut().insert("authorization", HeaderValue::from_str(&format!("Basic {good}")).unwrap());
    app.send(asked).await.problem(401, "unauthenticated");
    assert_eq!(app.jobs().await, 0);
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_is_read() {
    let app = App::new().await;
    let endless = axum::body::Body::new(Endless);
    app.send(request(Method::POST, "/v1/jobs/sentiment", "", endless)).await.problem(401, "unauthenticated");
}

/// A body that never ends: whoever reads it to its end hangs.
struct Endless;

impl http_body::Body for Endless {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn scopes_limit_what_a_key_reaches() {
    let app = App::new().await;
    let id = app.job().await;
    let (_, reader) = app.new_key(&app.org, &["jobs:read"]).await;
    let (_, writer) = app.new_key(&app.org, &["jobs:write"]).await;
    let (_, neither) = app.new_key(&app.org, &["usage:read"]).await;
    let job = format!("/v1/jobs/{id}");
    let cancel = format!("/v1/jobs/{id}/cancel");
    for (key, method, path, body, status) in [
        (&reader, Method::GET, job.as_str(), "", 200),
        (&reader, Method::GET, "/v1/jobs", "", 200),
        (&reader, Method::POST, "/v1/jobs/sentiment", r#"{"text":"x"}"#, 403),
        (&reader, Method::POST, &cancel, "", 403),
        (&neither, Method::GET, &job, "", 403),
        (&writer, Method::GET, "/v1/jobs", "", 403),
        (&writer, Method::POST, "/v1/jobs/sentiment", r#"{"text":"x"}"#, 202),
        (&writer, Method::POST, &cancel, "", 200),
    ] {
        let reply = app.send(request(method.clone(), path, key, body)).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}: {reply:?}");
        if status == 403 {
            reply.problem(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn a_key_that_was_used_just_now_is_refused_within_a_second_of_its_revocation() {
    let app = App::new().await;
    let (id, key) = app.new_key(&app.org, crate::support::ALL).await;
    assert_eq!(app.send(request(Method::GET, "/v1/jobs", &key, "")).await.status, StatusCode::OK);
    assert!(app.ledger.revoke_key(&app.org, &id, app.now()).await.unwrap());
    let revoked = app.now();
    // The promise is about real time, so the test watches the clock instead of waiting for it once.
    while app.send(request(Method::GET, "/v1/jobs", &key, "")).await.status == StatusCode::OK {
        assert!(app.now() - revoked < 1_000, "still accepted after a second");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_noted() {
    let app = App::new().await;
    app.get("/v1/jobs").await;
    let keys = app.ledger.list_keys(&app.org).await.unwrap();
    assert!(keys[0].last_used_at.is_some());
}

#[tokio::test]
async fn roles_limit_what_a_token_reaches() {
    let app = App::new().await;
    for (role, look, touch) in [(Role::Viewer, 200, 403), (Role::Operator, 200, 200), (Role::Admin, 200, 200)] {
        let token = app.token(role);
        let metrics = app.send(request(Method::GET, "/v1/admin/queue/metrics", &token, "")).await;
        let resume = app.send(request(Method::POST, "/v1/admin/queue/resume", &token, "")).await;
        assert_eq!((metrics.status.as_u16(), resume.status.as_u16()), (look, touch), "{role:?}");
    }
    let limited = token(Role::Admin, Some(&app.org), app.now() + 60_000);
    app.send(request(Method::GET, "/v1/admin/queue/metrics", &limited, "")).await.problem(403, "forbidden");
    // The jobs API does not know tokens, and administration does not know keys.
    app.send(request(Method::GET, "/v1/jobs", &app.token(Role::Admin), "")).await.problem(401, "unauthenticated");
    app.send(request(Method::GET, "/v1/admin/queue/metrics", &app.key, "")).await.problem(401, "unauthenticated");
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn refused_tokens() {
    let app = App::new().await;
    let now = app.now() / 1_000;
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({"sub": "ops", "role": "admin", "exp": now + 60});
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    let good = signed(&hs256, &claims, SECRET);
    let accepted = app.send(request(Method::GET, "/v1/admin/queue/metrics", &good, "")).await;
    assert_eq!(accepted.status, StatusCode::OK, "the test's own signing is right");

    let parts: Vec<&str> = good.split('.').collect();
    let other_claims = URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string());
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
    for (what, token) in [
        ("expired", signed(&hs256, &with("exp", json!(now - 1)), SECRET)),
        ("expired long ago", signed(&hs256, &with("exp", json!(1)), SECRET)),
        ("no exp", signed(&hs256, &without("exp"), SECRET)),
        ("exp is text", signed(&hs256, &with("exp", json!("never")), SECRET)),
        ("exp is null", signed(&hs256, &with("exp", Value::Null), SECRET)),
        ("no sub", signed(&hs256, &without("sub"), SECRET)),
        ("not valid yet", signed(&hs256, &with("nbf", json!(now + 50)), SECRET)),
        ("other secret", signed(&hs256, &claims, "another-secret-that-is-long-enough-too")),
        ("empty secret", signed(&hs256, &claims, "")),
        ("changed claims", format!("{}.{other_claims}.{}", parts[0], parts[2])),
        ("alg none, no signature", format!("{none}.{}.", parts[1])),
        ("alg none, old signature", format!("{none}.{}.{}", parts[1], parts[2])),
        ("alg None", signed(&json!({"alg": "None"}), &claims, SECRET)),
        ("alg HS512 in the header", signed(&json!({"alg": "HS512"}), &claims, SECRET)),
        ("alg RS256 in the header", signed(&json!({"alg": "RS256"}), &claims, SECRET)),
        ("no alg", signed(&json!({"typ": "JWT"}), &claims, SECRET)),
        ("unsigned", format!("{}.{}", parts[0], parts[1])),
        ("empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("not base64", format!("{}.!!.{}", parts[0], parts[2])),
        ("too long", signed(&hs256, &with("pad", json!("x".repeat(9_000))), SECRET)),
        ("no token", String::new()),
    ] {
        for (method, path) in [(Method::GET, "/v1/admin/queue/metrics"), (Method::POST, "/v1/admin/queue/pause")] {
            let reply = app.send(request(method, path, &token, "")).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{what}");
            reply.problem(401, "unauthenticated");
        }
    }
    for role in [json!("root"), json!(""), Value::Null] {
        let token = signed(&hs256, &with("role", role), SECRET);
        app.send(request(Method::GET, "/v1/admin/queue/metrics", &token, "")).await.problem(403, "forbidden");
    }
    assert!(!app.ai_jobs.info().await.unwrap().paused);
}
