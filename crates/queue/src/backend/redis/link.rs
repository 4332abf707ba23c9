//! The line to the server: one shared connection for everything that answers at once, and lines of their own for what blocks.

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{Client, Cmd, ErrorKind, RedisError, Value};
use std::time::Duration;

use super::RedisOptions;
use super::script::Call;
use crate::error::{Failed, Happened, StoreError};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) struct Link {
    client: Client,
    shared: ConnectionManager,
}

/// A command that failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: StoreError,
    /// Whether it may have been carried out all the same.
    pub(super) happened: Happened,
}

impl Trouble {
    /// Something that went wrong before anything was sent.
    pub(super) fn before(why: StoreError) -> Self {
        Self { why, happened: Happened::No }
    }

    /// Something that went wrong after it was carried out.
    pub(super) fn after(why: StoreError) -> Self {
        Self { why, happened: Happened::Unknown }
    }

    /// Hands the input of a write back.
    pub(super) fn back<T: std::fmt::Debug>(self, input: T) -> Failed<T> {
        Failed { why: self.why, happened: self.happened, input: Box::new(input) }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.why
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self { why: StoreError::Unavailable(error.to_string()), happened: Happened::Unknown }
    }
}

impl Link {
    pub(super) async fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let unavailable = |error: RedisError| StoreError::Unavailable(error.to_string());
        let client = Client::open(options.url.as_str()).map_err(unavailable)?;
        let config = ConnectionManagerConfig::new().set_response_timeout(Some(ANSWER));
        let shared = client.get_connection_manager_with_config(config).await.map_err(unavailable)?;
        Ok(Self { client, shared })
    }

    /// Calls a script; loads it when the server does not know it.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, Trouble> {
        let mut shared = self.shared.clone();
        match shared.send_packed_command(&call.cmd).await.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(call.script.text);
                shared.send_packed_command(&load).await?.extract_error()?;
                Ok(shared.send_packed_command(&call.cmd).await?.extract_error()?)
            }
            answer => Ok(answer?),
        }
    }

    /// Sends one command.
    pub(super) async fn send(&self, cmd: &Cmd) -> Result<Value, Trouble> {
        Ok(self.shared.clone().send_packed_command(cmd).await?.extract_error()?)
    }

    /// Sends several commands at once; one that fails fails all.
    pub(super) async fn pipe(&self, pipe: &redis::Pipeline) -> Result<Vec<Value>, Trouble> {
        let all = self.shared.clone().send_packed_commands(pipe, 0, pipe.len()).await?;
        all.into_iter().map(|one| Ok(one.extract_error()?)).collect()
    }

    pub(super) async fn close(&self) {}

    /// A line of its own, for a command that blocks; it knows no time limit.
    pub(super) async fn own(&self) -> Result<MultiplexedConnection, Trouble> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(self.client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}
