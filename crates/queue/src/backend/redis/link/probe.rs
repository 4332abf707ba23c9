//! Whether a server will do, looked at once when a store is opened.

use std::time::Duration;

use redis::{RedisError, Value};
use tokio::time::timeout;

use super::road::Wire;
use super::trouble::Trouble;
use super::{StoreError, late};

/// The oldest version that has all commands.
const OLDEST: (u32, u32) = (6, 2);

/// What the server calls itself; an error when it is too old.
pub(super) async fn look(wire: &mut Wire, limit: Duration) -> Result<String, StoreError> {
    let info = redis::cmd("INFO");
    let text = match timeout(limit, wire.send(&info)).await.unwrap_or_else(|_| Err(late(limit))) {
        Ok(value) => text(&value),
        Err(error) if withheld(&error) => {
            tracing::warn!("Redis refuses INFO to this user: its version and its maxmemory-policy are not checked");
            return Ok("unknown".to_owned());
        }
        Err(error) => return Err(Trouble::from(error).into()),
    };
    let server = server(&text)?;
    if let Some(policy) = field(&text, "maxmemory_policy")
        && policy != "noeviction"
    {
        tracing::warn!(policy, "Redis may evict jobs when its memory is full: set maxmemory-policy to noeviction");
    }
    Ok(server)
}

fn withheld(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

/// The answer as text; of a cluster's answers any.
pub(in super::super) fn text(value: &Value) -> String {
    match value {
        Value::Map(nodes) => nodes.first().map(|(_, answer)| text(answer)).unwrap_or_default(),
        Value::Array(answers) => answers.first().map(text).unwrap_or_default(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

fn server(info: &str) -> Result<String, StoreError> {
    if let Some(version) = field(info, "redis_version")
        && parsed(version).is_some_and(|version| version < OLDEST)
    {
        let (major, minor) = OLDEST;
        return Err(StoreError::Refused(format!("Redis {version} is too old: {major}.{minor} is needed")));
    }
    Ok(server_name(info).unwrap_or_else(|| "unknown".to_owned()))
}

/// Name and version. Valkey and others also say which Redis they are like.
pub(in super::super) fn server_name(info: &str) -> Option<String> {
    let named = [("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly"), ("redis_version", "Redis")];
    named.iter().find_map(|(key, name)| field(info, key).map(|version| format!("{name} {version}")))
}

/// One line of `INFO`.
pub(in super::super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        for version in ["5.0.14", "6.0.9", "2.8"] {
            let server = server(&format!("# Server\r\nredis_version:{version}\r\n"));
            assert!(matches!(server, Err(StoreError::Refused(_))), "{version}");
        }
        for version in ["6.2.0", "7.0.15", "10.1.0"] {
            assert_eq!(server(&format!("redis_version:{version}\r\n")).ok(), Some(format!("Redis {version}")));
        }
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n";
        assert_eq!(server(valkey).ok().as_deref(), Some("Valkey 8.0.1"));
        assert_eq!(server("").ok().as_deref(), Some("unknown"));
    }
}
