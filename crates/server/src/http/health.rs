//! Health, readiness, the pages that explain problems, and the answers for what does not exist.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use launchkit_queue::{RedisMemory, StoreError};
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::queues::must_be_ours;
use crate::problem::{Code, Problem};

const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process is up and its loops turn.
pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    match (api.pulse)() {
        Ok(()) => Ok(Json(json!({"status": "ok"})).into_response()),
        Err(which) => {
            tracing::error!(which, "unhealthy");
            Err(Problem::new(Code::Unavailable, which))
        }
    }
}

/// `GET /readyz`: database and queue answer, the queue is this deployment's, and the clock is right. It needs no key, so of
/// a store's trouble it shows the kind alone; the text, which may name a user or a host, goes to the log.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    if let Some(apart) = api.skew.too_far() {
        let detail = format!("This machine's clock and the database's are {} s apart.", apart.as_secs());
        return Err(Problem::new(Code::Unavailable, detail).retry_after(30));
    }
    must_be_ours(&api)?;
    let database = tokio::time::timeout(STORE_ANSWERS_WITHIN, api.ledger.ping());
    let queue = tokio::time::timeout(STORE_ANSWERS_WITHIN, api.ai_jobs.counts());
    let memory = tokio::time::timeout(STORE_ANSWERS_WITHIN, api.store.redis_memory());
    let (database, queue, memory) = tokio::join!(database, queue, memory);
    let database = match database {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "not ready: the database does not answer");
            false
        }
        Err(_) => false,
    };
    let queue = match queue {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the queue does not answer");
            Err(kind(&error).to_owned())
        }
        Err(_) => Err(format!("no answer within {} s", STORE_ANSWERS_WITHIN.as_secs())),
    };
    let silent = match (database, queue) {
        (true, Ok(())) => {
            let ready = Ready { status: "ready", database: "ok", queue: "ok", warnings: warnings(memory) };
            return Ok(Json(ready).into_response());
        }
        (false, Ok(())) => "The database does not answer.".to_owned(),
        (true, Err(why)) => format!("The queue does not answer: {why}."),
        (false, Err(why)) => format!("Neither the database nor the queue answers: {why}."),
    };
    Err(Problem::new(Code::Unavailable, silent).retry_after(2))
}

/// The kind of a store's trouble, in words of our own.
fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Busy => "busy",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Refused(_) => "login, rights or version refused",
        StoreError::Damaged(_) => "unreadable",
        StoreError::Closed => "closed",
        _ => "failed",
    }
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    database: &'static str,
    queue: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What lets jobs be lost although everything answers.
fn warnings(memory: Result<Result<Option<RedisMemory>, StoreError>, tokio::time::error::Elapsed>) -> Vec<String> {
    let evicting = memory.ok().and_then(Result::ok).flatten().filter(RedisMemory::evicts);
    let warning = |memory: RedisMemory| {
        format!(
            "maxmemory-policy is {}: Redis may throw jobs away when it is full. Set it to noeviction",
            memory.policy
        )
    };
    evicting.into_iter().map(warning).collect()
}

/// `GET /problems/{code}`: what a code means, as a page or as JSON.
pub(super) async fn problem(params: RawPathParams, headers: HeaderMap) -> Result<Response, Problem> {
    let name = params.iter().next().map_or("", |(_, value)| value);
    let Some(code) = Code::ALL.into_iter().find(|code| code.name() == name) else {
        return Err(Problem::new(Code::NotFound, "There is no problem of this name."));
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.contains("text/html") {
        return Ok(Html(page(code)).into_response());
    }
    let document = json!({
        "type": format!("/problems/{}", code.name()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "code": code.name(),
        "retryable": code.retryable(),
        "meaning": code.meaning(),
    });
    Ok(Json(document).into_response())
}

/// For paths without a route.
pub(super) async fn unknown_path() -> Problem {
    Problem::new(Code::NotFound, "No route has this path.")
}

/// For methods without a handler; axum adds `Allow`.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "This path does not take this method; the header Allow names those that it takes.",
    )
}

/// All of its text is ours, so nothing needs escaping.
fn page(code: Code) -> String {
    let (name, title, status) = (code.name(), code.title(), code.status().as_u16());
    let again = if code.retryable() {
        "The same request may succeed later."
    } else {
        "The same request will be refused again."
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p><code>{name}</code>, status {status}</p><p>{meaning}</p><p>{again}</p></html>",
        meaning = code.meaning()
    )
}
