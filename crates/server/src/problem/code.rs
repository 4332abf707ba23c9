//! The stable codes of the API: name, status, title, and what a caller can do about it.

use axum::http::StatusCode;

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
                "The body must be one JSON document in UTF-8, without lone surrogate escapes, nested at most 127 levels deep. Nothing was created.",
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
