//! Every refusal of the HTTP API, as RFC 9457 problem documents.
//!
//! A handler answers `Err(Problem)`; the body is written in one place, `render`, by the outermost
//! middleware, because only that knows the request's id. Nothing internal is put into a problem:
//! causes are logged where they are handled, the caller gets a code and a sentence.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// At most so many faults are listed in one document; more would help nobody.
pub const MOST_FAULTS: usize = 50;

/// The stable codes of the API. The text form is the last part of the problem's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The body is not JSON (or not UTF-8, or nested too deeply).
    MalformedJson,
    /// The request cannot be understood at the level of HTTP.
    BadRequest,
    /// No credential, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// The credential is good but does not reach this far.
    Forbidden,
    /// No such path, or an id that the caller may not see.
    NotFound,
    /// No job with this id that the caller may see.
    JobNotFound,
    /// The queue's name is not one of ours.
    QueueNotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// A finished job cannot be canceled.
    JobAlreadyFinished,
    /// Only a failed or canceled job can be retried.
    JobNotFinished,
    /// The first request with this idempotency key is still being worked on.
    IdempotencyInProgress,
    /// The body is larger than the route accepts.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The request is well formed and its content is not acceptable.
    InvalidInput,
    /// The idempotency key was used for a different request.
    IdempotencyMismatch,
    /// The organisation's limit for this period is used up.
    QuotaExceeded,
    /// A fault of ours.
    Internal,
    /// The backlog is over its bound, or too many requests wait.
    Overloaded,
    /// The database or the queue does not answer.
    Unavailable,
    /// The answer took too long; whether the request took effect is not known.
    Timeout,
}

impl Code {
    /// All codes, for the pages at `/problems/<code>`.
    pub const ALL: [Code; 21] = [
        Code::MalformedJson,
        Code::BadRequest,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::JobNotFound,
        Code::QueueNotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::JobAlreadyFinished,
        Code::JobNotFinished,
        Code::IdempotencyInProgress,
        Code::BodyTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidInput,
        Code::IdempotencyMismatch,
        Code::QuotaExceeded,
        Code::Internal,
        Code::Overloaded,
        Code::Unavailable,
        Code::Timeout,
    ];

    /// The code as it stands in documents, in kebab case.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A short title, the same for every occurrence.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// What it means and what the caller can do about it.
    pub fn meaning(self) -> &'static str {
        self.row().3
    }

    /// Whether the same request may succeed later without being changed.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Code::RequestTimeout
                | Code::IdempotencyInProgress
                | Code::Internal
                | Code::Overloaded
                | Code::Unavailable
                | Code::Timeout
        )
    }

    fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Code::MalformedJson => (
                "malformed-json",
                400,
                "The body is not valid JSON",
                "The body must be one JSON document in UTF-8, without lone surrogate escapes, nested at most 100 levels deep. Nothing was created.",
            ),
            Code::BadRequest => (
                "bad-request",
                400,
                "The request cannot be understood",
                "Something in the request line or the headers is not valid. Nothing was created.",
            ),
            Code::Unauthenticated => (
                "unauthenticated",
                401,
                "A valid credential is needed",
                "Send an API key (jobs) or a JWT (administration) as `Authorization: Bearer …`; an API key may also go in `X-API-Key`, but not a different one in each. Expired, revoked and unknown credentials are refused alike.",
            ),
            Code::Forbidden => (
                "forbidden",
                403,
                "The credential does not allow this",
                "The key lacks the scope, or the token's role is too low for this route. A token that is limited to one organisation cannot administer the shared queue.",
            ),
            Code::NotFound => (
                "not-found",
                404,
                "There is nothing here",
                "No route has this path, or the id is not one that the caller may see.",
            ),
            Code::JobNotFound => (
                "job-not-found",
                404,
                "No such job",
                "There is no job with this id in the organisation of the API key.",
            ),
            Code::QueueNotFound => {
                ("queue-not-found", 404, "No such queue", "The queues are `ai-jobs` and `webhooks`.")
            }
            Code::MethodNotAllowed => (
                "method-not-allowed",
                405,
                "This path does not take this method",
                "The header `Allow` names the methods that it takes.",
            ),
            Code::RequestTimeout => (
                "request-timeout",
                408,
                "The body did not arrive in time",
                "The whole body must arrive within 30 seconds. Nothing was created.",
            ),
            Code::JobAlreadyFinished => (
                "job-already-finished",
                409,
                "The job has finished",
                "A job that has succeeded, failed or been canceled cannot be canceled.",
            ),
            Code::JobNotFinished => (
                "job-not-finished",
                409,
                "The job cannot be retried now",
                "Only a job that is FAILED or CANCELED can be queued again.",
            ),
            Code::IdempotencyInProgress => (
                "idempotency-in-progress",
                409,
                "The first request is still running",
                "Another request with the same Idempotency-Key has not been answered yet. Ask again a little later with the same key.",
            ),
            Code::BodyTooLarge => (
                "body-too-large",
                413,
                "The body is too large",
                "A request for one job may have 4 MiB. Nothing was created.",
            ),
            Code::UnsupportedMediaType => (
                "unsupported-media-type",
                415,
                "The body must be JSON",
                "Send the body with `Content-Type: application/json`. Nothing was created.",
            ),
            Code::InvalidInput => (
                "invalid-input",
                422,
                "The input is not acceptable",
                "`errors` names each fault: `pointer` is a JSON Pointer into the body, `parameter` a query parameter, path parameter or header. Nothing was created.",
            ),
            Code::IdempotencyMismatch => (
                "idempotency-mismatch",
                422,
                "The idempotency key belongs to another request",
                "An Idempotency-Key stands for one method, path and body for 24 hours. Use a new key for a new request. Nothing was created.",
            ),
            Code::QuotaExceeded => (
                "quota-exceeded",
                403,
                "The limit of this period is used up",
                "The organisation's plan has no room left in this period. Nothing was created.",
            ),
            Code::Internal => (
                "internal-error",
                500,
                "Something went wrong on our side",
                "The fault is ours and has been logged under the request id. The same request may succeed later.",
            ),
            Code::Overloaded => (
                "overloaded",
                503,
                "Too much is waiting",
                "The backlog is over its bound. Nothing was created; ask again after a pause.",
            ),
            Code::Unavailable => (
                "unavailable",
                503,
                "A store does not answer",
                "The database or the queue cannot be reached at the moment. Ask again after a pause.",
            ),
            Code::Timeout => (
                "timeout",
                504,
                "The answer took too long",
                "Whether the request took effect is not known. Repeat it with the same Idempotency-Key to be safe.",
            ),
        }
    }
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A JSON Pointer (RFC 6901) into the body; empty for the whole body.
    Pointer(String),
    /// The name of a query parameter, path parameter or header.
    Parameter(String),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// A sentence for people.
    pub message: String,
}

impl Fault {
    /// A fault in the body.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { place: Place::Pointer(pointer.into()), message: message.into() }
    }

    /// A fault in a parameter or header.
    pub fn parameter(name: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { place: Place::Parameter(name.into()), message: message.into() }
    }
}

/// A refusal on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a sentence about this occurrence.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), faults: Vec::new(), headers: Vec::new() }
    }

    /// `invalid-input` with its faults; the list is cut at [`MOST_FAULTS`].
    pub fn invalid(mut faults: Vec<Fault>) -> Problem {
        let detail = match faults.as_slice() {
            [only] => only.message.clone(),
            many => format!("{} things in the request are not acceptable.", many.len()),
        };
        faults.truncate(MOST_FAULTS);
        Problem { code: Code::InvalidInput, detail, faults, headers: Vec::new() }
    }

    /// 401 with the challenge that HTTP asks for.
    pub fn unauthenticated(detail: impl Into<String>) -> Problem {
        Problem::new(Code::Unauthenticated, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 500; the cause has been logged by the caller of this function.
    pub fn internal() -> Problem {
        Problem::new(Code::Internal, "The request could not be completed.")
    }

    /// Adds a response header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// Says after how many seconds another try makes sense.
    pub fn retry_after(self, seconds: u32) -> Problem {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The code, for logs.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence about this occurrence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What is wrong with the request, one by one.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The generic problem for a status that some layer below answered without a document.
    pub fn for_status(status: StatusCode) -> Problem {
        let code = match status.as_u16() {
            401 => return Problem::unauthenticated("A valid credential is needed."),
            403 => Code::Forbidden,
            404 => Code::NotFound,
            405 => Code::MethodNotAllowed,
            408 => Code::RequestTimeout,
            413 => Code::BodyTooLarge,
            415 => Code::UnsupportedMediaType,
            422 => Code::InvalidInput,
            503 => Code::Unavailable,
            400..=499 => Code::BadRequest,
            _ => return Problem::internal(),
        };
        Problem::new(code, format!("{}.", code.title()))
    }

    /// The finished response. `request_id` also stands in the document.
    pub fn render(&self, request_id: &str) -> Response {
        let document = Document {
            kind: format!("/problems/{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            request_id,
            retryable: self.code.retryable(),
            errors: &self.faults,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// Carries the problem to the outermost middleware, which renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|c| c.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| c.status().is_client_error() || c.status().is_server_error()));
    }

    #[test]
    fn fault_lists_are_bounded() {
        let many = (0..500).map(|i| Fault::at(format!("/{i}"), "no")).collect();
        let problem = Problem::invalid(many);
        assert_eq!(problem.faults().len(), MOST_FAULTS);
        assert!(problem.detail().starts_with("500 things"));
    }

    #[test]
    fn a_status_without_a_document_becomes_one_with_the_same_status() {
        for status in [400, 401, 404, 405, 408, 413, 415, 422, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Problem::for_status(status).code().status(), status);
        }
    }
}
