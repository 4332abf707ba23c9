//! What surrounds every request: its id, the time it may take, panics, and the one place where
//! problem documents are written.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};

use super::Api;
use crate::problem::{Code, Problem};

/// A request's answer must begin within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const MOST_ID_BYTES: usize = 128;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which a request is logged and answered.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// The outermost layer: gives the request its id, renders problems, writes the access log.
pub async fn outside(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let begun = api.now();
    let id = RequestId(request_id(request.headers()));
    let method = request.method().clone();
    // The pattern and not the path: ids and whatever strangers type stay out of the log.
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(id.clone());
    let mut response = finish(next.run(request).await, &id);
    let status = response.status().as_u16();
    let ms = api.now() - begun;
    if status >= 500 {
        tracing::warn!(%method, route, status, ms, request_id = %id.0, "request failed");
    } else {
        tracing::debug!(%method, route, status, ms, request_id = %id.0, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers 504 when a handler takes too long.
pub async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout, "The request took longer than 60 seconds.").into_response(),
    }
}

/// Turns a handler's panic into a 500.
pub fn catch_panics() -> CatchPanicLayer<Panicked> {
    CatchPanicLayer::custom(Panicked)
}

/// Logs a panic and answers for it.
#[derive(Clone, Copy, Debug)]
pub struct Panicked;

impl ResponseForPanic for Panicked {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn std::any::Any + Send + 'static>) -> HttpResponse<Body> {
        // What it said is the panic hook's to tell: it may quote the request.
        tracing::error!("a request handler panicked");
        Problem::internal().into_response()
    }
}

/// Problems become documents; error answers of lower layers become problems of the same status.
fn finish(mut response: Response, id: &RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut rendered = problem.render(&id.0);
        copy_headers(response.headers(), rendered.headers_mut());
        return rendered;
    }
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let mut rendered = Problem::for_status(response.status()).render(&id.0);
    copy_headers(response.headers(), rendered.headers_mut());
    rendered
}

fn copy_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [header::ALLOW, header::RETRY_AFTER, header::CONNECTION] {
        if let Some(value) = from.get(&name) {
            to.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// The caller's id when it is short and harmless, else a fresh one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=MOST_ID_BYTES).contains(&id.len()) && id.bytes().all(harmless)) {
        Some(id) => id.into(),
        None => format!("req-{:032x}", rand::random::<u128>()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_echoed_only_when_harmless() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers).to_string()
        };
        let longest = [b'a'; MOST_ID_BYTES];
        assert_eq!(id(b"abc-1.2:3_X"), "abc-1.2:3_X");
        assert_eq!(id(&longest).len(), MOST_ID_BYTES);
        for bad in [&b""[..], b"a b", b"a\"b", b"<script>", &[b'a'; MOST_ID_BYTES + 1], b"\xff"] {
            assert!(id(bad).starts_with("req-"), "{bad:?}");
        }
        assert_ne!(id(b""), id(b""));
    }
}
