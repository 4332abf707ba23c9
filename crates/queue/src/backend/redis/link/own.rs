//! A line that one doer has for itself, for commands that block.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::time::timeout;

use super::late;
use super::road::Wire;
use super::trouble::Trouble;

/// The line; it is closed when it is dropped.
pub(in super::super) struct Own {
    wire: Wire,
    name: String,
    id: Option<i64>,
    since: u64,
}

impl Own {
    pub(super) fn new(wire: MultiplexedConnection, since: u64) -> Self {
        Self { wire: Wire::One(wire), name: String::new(), id: None, since }
    }

    /// How often the shared connection had been made again when this one was made.
    pub(in super::super) fn since(&self) -> u64 {
        self.since
    }

    /// Sends one command. A line that did not answer within the limit is of no use any more.
    pub(in super::super) async fn ask(&mut self, cmd: &Cmd, limit: Duration) -> Result<Value, Trouble> {
        timeout(limit, self.wire.send(cmd)).await.unwrap_or_else(|_| Err(late(limit))).map_err(Trouble::from)
    }

    /// By which number the server knows it, where that was learned.
    pub(in super::super) fn id(&self) -> Option<i64> {
        self.id
    }

    pub(super) async fn learn_id(&mut self, limit: Duration) -> Result<(), Trouble> {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("ID");
        self.id = match timeout(limit, self.wire.send(&cmd)).await.unwrap_or_else(|_| Err(late(limit))) {
            Ok(Value::Int(id)) => Some(id),
            Err(error) if error.is_io_error() => return Err(error.into()),
            _ => None,
        };
        Ok(())
    }

    /// Names the line as `CLIENT LIST` shows it. Where that is forbidden, it works without a name.
    pub(in super::super) async fn rename(&mut self, name: &str, limit: Duration) -> Result<(), Trouble> {
        if self.name == name {
            return Ok(());
        }
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("SETNAME").arg(name);
        match timeout(limit, self.wire.send(&cmd)).await.unwrap_or_else(|_| Err(late(limit))) {
            Err(error) if error.is_io_error() => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "a blocking connection to Redis stays without a name");
                name.clone_into(&mut self.name);
                Ok(())
            }
            Ok(_) => {
                name.clone_into(&mut self.name);
                Ok(())
            }
        }
    }
}
