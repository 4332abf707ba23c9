//! Every refusal of the HTTP API, as RFC 9457 problem documents.
//!
//! A handler answers `Err(Problem)`; the body is written in one place, `render`, by the outermost
//! middleware, because only that knows the request's id. Nothing internal is put into a problem:
//! causes are logged where they are handled, the caller gets a code and a sentence.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

mod code;

pub use code::Code;

/// At most so many faults are listed in one document; more would help nobody.
pub const MOST_FAULTS: usize = 50;

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
