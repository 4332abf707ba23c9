//! One command, one answer as text.

use std::time::Duration;

use super::RedisError;

/// A frozen server does not hold a test for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a command on a connection of its own.
pub(super) fn ask(url: &str, words: &[&str]) -> Result<String, RedisError> {
    let mut command = ::redis::Cmd::new();
    command.arg(words);
    let client = ::redis::Client::open(url).map_err(refused)?;
    let mut connection = client.get_connection_with_timeout(PATIENCE).map_err(refused)?;
    connection.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
    command.query(&mut connection).map(|answer| text(&answer)).map_err(refused)
}

fn refused(why: ::redis::RedisError) -> RedisError {
    RedisError::Failed { step: "a command", why: why.to_string() }
}

/// An answer as text: nothing for nil, a line for each element.
fn text(answer: &::redis::Value) -> String {
    use ::redis::Value;
    match answer {
        Value::Nil => String::new(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Array(elements) | Value::Set(elements) => elements.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    }
}
