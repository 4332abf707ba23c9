//! Replies of scripts, taken apart.

use std::sync::Arc;

use redis::Value;

use crate::error::StoreError;
use crate::job::JobId;
use crate::time::Timestamp;

/// A reply that a script of ours cannot have given.
pub(super) fn odd() -> StoreError {
    StoreError::Damaged("a reply of another shape than asked for".to_owned())
}

/// The parts of a list.
pub(super) fn list(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(parts) | Value::Set(parts) => Ok(parts),
        Value::Nil => Ok(Vec::new()),
        _ => Err(odd()),
    }
}

/// The parts of a list of known length.
pub(super) fn parts<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
    list(value)?.try_into().map_err(|_| odd())
}

/// Text; nothing is the empty one. What is no UTF-8 is read as well as it can be.
pub(super) fn text(value: Value) -> Result<String, StoreError> {
    match value {
        Value::BulkString(bytes) => {
            Ok(String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
        }
        Value::SimpleString(text) => Ok(text),
        Value::Int(number) => Ok(number.to_string()),
        Value::Nil => Ok(String::new()),
        _ => Err(odd()),
    }
}

/// A whole number, as such or as text; nothing, and text that is none, is `None`.
pub(super) fn maybe(value: Value) -> Result<Option<i64>, StoreError> {
    match value {
        Value::Int(number) => Ok(Some(number)),
        other => Ok(number(&text(other)?)),
    }
}

/// A whole number.
pub(super) fn int(value: Value) -> Result<i64, StoreError> {
    maybe(value)?.ok_or_else(odd)
}

/// A count that cannot be negative; what is, is 0.
pub(super) fn count(value: Value) -> Result<u64, StoreError> {
    Ok(u64::try_from(int(value)?).unwrap_or(0))
}

/// Ids of jobs.
pub(super) fn ids(value: Value) -> Result<Vec<JobId>, StoreError> {
    list(value)?.into_iter().map(|id| Ok(JobId::stored(text(id)?))).collect()
}

/// Texts.
pub(super) fn texts(value: Value) -> Result<Vec<Arc<str>>, StoreError> {
    list(value)?.into_iter().map(|part| Ok(text(part)?.into())).collect()
}

/// A whole number in a text that may also have a fraction or an exponent, as other writers leave them.
pub(super) fn number(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().or_else(|| text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n as i64))
}

/// A count of attempts.
pub(super) fn small(text: &str) -> u32 {
    number(text).map_or(0, |n| u32::try_from(n.max(0)).unwrap_or(u32::MAX))
}

/// A time.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    number(text).map(Timestamp::from_millis)
}
