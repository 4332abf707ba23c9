//! Reading a request's body: bounded in size and time, and declared as JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;

use super::json;
use crate::problem::{Code, Problem};

/// The largest body of a request for one job.
pub(super) const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The whole body must arrive within this time.
const WITHIN: Duration = Duration::from_secs(30);
/// Of a body that is refused for its size, so much is read and thrown away, so that the sender gets
/// to read the answer instead of a reset connection. What is larger still is cut off.
const THROWN_AWAY: usize = 64 * 1024 * 1024;

/// Refuses a body that is not declared as JSON in UTF-8.
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return refuse("Send the body with one Content-Type: application/json.");
    };
    let text = value.to_str().unwrap_or("").to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    if parts.next() != Some("application/json") {
        return refuse("The body's Content-Type must be application/json.");
    }
    for part in parts.filter(|part| !part.is_empty()) {
        let charset = part.strip_prefix("charset=").map(|name| name.trim_matches('"'));
        if charset.is_some_and(|name| !matches!(name, "utf-8" | "utf8")) {
            return refuse("The body's charset must be utf-8.");
        }
    }
    Ok(())
}

/// Reads the whole body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let too_long = announced.is_some_and(|length| length > MOST_BYTES as u64);
    // A sender that waits for our word has sent nothing yet.
    if too_long && headers.contains_key(header::EXPECT) {
        return Err(too_large());
    }
    match tokio::time::timeout(WITHIN, collect(body)).await {
        Ok(whole) => whole,
        Err(_) if too_long => Err(too_large()),
        Err(_) => Err(late()),
    }
}

/// These requests say everything in the path and query; a body may be absent or an empty object.
pub(super) fn must_be_empty(headers: &HeaderMap, bytes: &[u8]) -> Result<(), Problem> {
    if bytes.is_empty() {
        return Ok(());
    }
    if headers.contains_key(header::CONTENT_TYPE) {
        must_be_json(headers)?;
    }
    let faults = json::Fields::new("", json::parse_object(bytes)?).finish();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    let mut size = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::BadRequest, "The body ended before it was complete."))?;
        let Some(chunk) = frame.data_ref() else { continue };
        size += chunk.len();
        if size > THROWN_AWAY {
            break;
        }
        if size <= MOST_BYTES {
            whole.extend_from_slice(chunk);
        } else {
            whole = Vec::new();
        }
    }
    if size <= MOST_BYTES { Ok(whole.into()) } else { Err(too_large()) }
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, "The body is larger than 4 MiB.")
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

fn late() -> Problem {
    Problem::new(Code::RequestTimeout, "The body did not arrive within 30 seconds.")
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_type(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn only_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; x=y",
        ] {
            assert!(must_be_json(&with_type(good)).is_ok(), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/jsonp",
            "",
        ] {
            assert_eq!(must_be_json(&with_type(bad)).unwrap_err().code(), Code::UnsupportedMediaType, "{bad}");
        }
        assert!(must_be_json(&HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
        for (size, good) in [(MOST_BYTES, true), (MOST_BYTES + 1, false)] {
            let read = read(&HeaderMap::new(), Body::from(vec![b' '; size])).await;
            assert_eq!(
                read.map(|bytes| bytes.len()).map_err(|p| p.code()),
                if good { Ok(size) } else { Err(Code::BodyTooLarge) }
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        struct Silent;
        impl http_body::Body for Silent {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        assert_eq!(read(&HeaderMap::new(), Body::new(Silent)).await.unwrap_err().code(), Code::RequestTimeout);
    }
}
