//! `Idempotency-Key`: the same key and the same request get the first answer again.
//!
//! Two requests are the same when method, path with query, and the raw body are. A refused request
//! is not stored. Creates keep their answer in the transaction that makes the jobs; everything else
//! claims the key first and settles or releases it after.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{Api, ledger_problem};
use crate::ledger::{Answer, Claim};
use crate::problem::{Code, Fault, Problem};

const HEADER: &str = "Idempotency-Key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replay");
const MOST_KEY_BYTES: usize = 255;
/// A second caller looks again so often, for five seconds in all.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A caller's key and the request that it stands for.
#[derive(Clone, Debug)]
pub(super) struct Once {
    /// The organisation, or the token's `sub` where there is none.
    pub scope: String,
    /// The header's value.
    pub key: String,
    /// Hash of method, path and body.
    pub fingerprint: String,
}

impl Once {
    /// The request's key, if it has one.
    pub(super) fn read(scope: &str, request: &Asked<'_>) -> Result<Option<Once>, Problem> {
        let mut values = request.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().unwrap_or("");
        let printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if values.next().is_some() || !printable || !(1..=MOST_KEY_BYTES).contains(&key.len()) {
            let message = "Idempotency-Key must be given once, with 1 to 255 printable ASCII characters.";
            return Err(Problem::invalid(vec![Fault::parameter(HEADER, message)]));
        }
        Ok(Some(Once { scope: scope.to_owned(), key: key.to_owned(), fingerprint: request.fingerprint() }))
    }
}

/// The parts of a request that make it the same as another.
pub(super) struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path and query.
    pub uri: &'a Uri,
    /// Its headers, for the key alone.
    pub headers: &'a HeaderMap,
    /// Its body as it came.
    pub body: &'a [u8],
}

impl Asked<'_> {
    fn fingerprint(&self) -> String {
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), target.as_bytes(), self.body] {
            // With its length before it, no part can run into the next one.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A response as it was given the first time.
pub(super) fn first(answer: Answer) -> Response {
    respond(answer)
}

/// A response that was given before.
pub(super) fn again(answer: Answer) -> Response {
    let mut response = respond(answer);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The key belongs to another request.
pub(super) fn mismatch() -> Problem {
    Problem::new(Code::IdempotencyMismatch, "This Idempotency-Key was used for a different request.")
}

/// Tries until something else than "in progress" comes out, for five seconds.
pub(super) async fn while_in_progress<T, F, Fut>(mut attempt: F) -> Result<T, Problem>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, Problem>>,
{
    for _ in 0..LOOKS {
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(Problem::new(
        Code::IdempotencyInProgress,
        "The first request with this Idempotency-Key has not been answered yet.",
    )
    .retry_after(1))
}

/// Does `work` once for this key; without a key, simply does it. What has begun is done to its end, answer and audit too,
/// when the caller hangs up: its next request with this key gets the answer.
pub(super) async fn claimed<Fut>(api: &Arc<Api>, once: Option<Once>, work: Fut) -> Result<Response, Problem>
where
    Fut: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    let api = api.clone();
    let doing = tokio::spawn(async move { claim_and_do(&api, once, work).await });
    doing.await.unwrap_or_else(|error| {
        tracing::error!(panicked = error.is_panic(), "a request broke off");
        Err(Problem::internal())
    })
}

async fn claim_and_do<Fut>(api: &Api, once: Option<Once>, work: Fut) -> Result<Response, Problem>
where
    Fut: Future<Output = Result<Answer, Problem>>,
{
    let Some(Once { scope, key, fingerprint }) = once else { return work.await.map(first) };
    let claim = while_in_progress(|| async {
        match api.ledger.claim(&scope, &key, &fingerprint, api.now()).await.map_err(|e| ledger_problem(&e))? {
            Claim::InProgress => Ok(None),
            other => Ok(Some(other)),
        }
    });
    match claim.await? {
        Claim::Replay(answer) => return Ok(again(answer)),
        Claim::Mismatch => return Err(mismatch()),
        Claim::Fresh | Claim::InProgress => {}
    }
    match work.await {
        Ok(answer) => {
            // The work is done and told; if its answer cannot be kept, the claim runs out by itself.
            if let Err(error) = api.ledger.settle_claim(&scope, &key, &fingerprint, &answer, api.now()).await {
                tracing::warn!(%error, "an idempotent answer was not kept");
            }
            Ok(first(answer))
        }
        Err(problem) => {
            if let Err(error) = api.ledger.release_claim(&scope, &key, &fingerprint).await {
                tracing::warn!(%error, "an idempotency key was not released");
            }
            Err(problem)
        }
    }
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Body::from(answer.body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(location) = answer.location.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &[u8], method: Method, uri: &str, body: &[u8]) -> Result<Option<Once>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(key).unwrap());
        Once::read("org", &Asked { method: &method, uri: &uri.parse().unwrap(), headers: &headers, body })
    }

    #[test]
    fn the_fingerprint_covers_method_path_query_and_raw_body() {
        let print = |method, uri, body: &[u8]| read(b"k", method, uri, body).unwrap().unwrap().fingerprint;
        let one = print(Method::POST, "/a?b=1", b"{}");
        assert_eq!(one, print(Method::POST, "/a?b=1", b"{}"));
        for other in [
            print(Method::PUT, "/a?b=1", b"{}"),
            print(Method::POST, "/a?b=2", b"{}"),
            print(Method::POST, "/a", b"?b=1{}"),
            print(Method::POST, "/a?b=1", b"{ }"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn keys_are_short_and_printable() {
        assert_eq!(read(b"a key", Method::POST, "/", b"").unwrap().unwrap().key, "a key");
        for bad in [&b""[..], b"\xff", "é".as_bytes(), &[b'a'; 256], b"a\tb"] {
            assert!(read(bad, Method::POST, "/", b"").is_err(), "{bad:?}");
        }
    }
}
