//! The line to the server: one shared connection for everything that answers at once, and lines of their own for what blocks.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::road::{Road, Wire};
use self::trouble::{ends_line, is_moved, is_no_script, no_node};
use super::options::{RedisOptions, Times};
use super::script::Call;
use crate::error::StoreError;

mod mend;
mod own;
mod probe;
mod road;
mod sentinel;
#[cfg(test)]
pub(super) mod tests;
mod trouble;

pub(super) use self::mend::pause;
pub(super) use self::own::Own;
pub(super) use self::probe::{field, server_name, text as plain_text};
pub(super) use self::trouble::Trouble;

/// How often a call follows keys that moved to another node of a cluster.
const MOVES: u32 = 3;

/// How the connection to Redis has fared.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RedisHealth {
    /// Whether there is a connection now.
    pub connected: bool,
    /// How often it was lost.
    pub losses: u64,
    /// How often it was made again.
    pub recoveries: u64,
    /// Why it was lost, or could not be made, the last time.
    pub last_error: Option<String>,
    /// What the server is, as it said when the store was opened.
    pub server: Option<String>,
}

/// The line of one store handle.
pub(super) struct Link {
    inner: Arc<Inner>,
    /// Without a handle nobody needs a connection.
    _guard: DropGuard,
}

struct Inner {
    road: Road,
    times: Times,
    state: watch::Sender<State>,
    /// Calls in flight and the doer that makes connections.
    tasks: TaskTracker,
    closed: CancellationToken,
    health: Mutex<RedisHealth>,
    /// Connections made since one was of use.
    tries: AtomicU32,
    /// Whether a cluster's connection, which is still one, misses the node that it needs.
    ails: AtomicBool,
}

#[derive(Clone)]
enum State {
    Up(Line),
    Down(StoreError),
    Closed,
}

/// One connection.
#[derive(Clone)]
struct Line {
    number: u64,
    wire: Wire,
    broken: Arc<AtomicBool>,
}

impl Link {
    /// Connects, and looks whether the server will do.
    pub(super) async fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        options.check().map_err(|why| StoreError::Refused(why.to_string()))?;
        // Nobody was asked yet: it lies with the options.
        let road = Road::new(options).map_err(|error| StoreError::Refused(error.to_string()))?;
        let closed = CancellationToken::new();
        let inner = Arc::new(Inner {
            road,
            times: options.times,
            state: watch::channel(State::Down(StoreError::Unavailable("not connected yet".to_owned()))).0,
            tasks: TaskTracker::new(),
            closed: closed.clone(),
            health: Mutex::default(),
            tries: AtomicU32::new(0),
            ails: AtomicBool::new(false),
        });
        let link = Self { inner, _guard: closed.drop_guard() };
        let mut line = match link.inner.connect(0).await {
            Ok(line) => line,
            Err(error) => {
                let at = |why| format!("{}: {why}", options.site);
                let refusal = link.inner.road.refusal().await;
                return Err(match refusal.unwrap_or_else(|| Trouble::from(error).why) {
                    StoreError::Unavailable(why) => StoreError::Unavailable(at(why)),
                    StoreError::Refused(why) => StoreError::Refused(at(why)),
                    why => why,
                });
            }
        };
        let server = probe::look(&mut line.wire, options.times.answer).await?;
        link.inner.health().server = Some(server);
        link.inner.publish(line);
        Ok(link)
    }

    /// Calls a script; tells its text when the server does not know it.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, Trouble> {
        self.inner.tasks.track_future(self.inner.call(&call)).await
    }

    /// Sends one command.
    pub(super) async fn send(&self, cmd: &Cmd) -> Result<Value, Trouble> {
        self.inner.tasks.track_future(self.inner.send(cmd)).await
    }

    /// A line of its own to the server that holds a key, for what blocks, under a name that others see.
    pub(super) async fn own(&self, key: &str, name: &str) -> Result<Own, Trouble> {
        if self.inner.closed.is_cancelled() {
            return Err(Trouble::before(StoreError::Closed));
        }
        let since = self.inner.health().recoveries;
        let slots = if self.inner.road.is_cluster() { self.send(&road::slots()).await? } else { Value::Nil };
        let wire = self.inner.in_time(self.inner.times.connect, self.inner.road.own(key, &slots)).await?;
        let mut own = Own::new(wire, since);
        own.rename(name, self.inner.times.answer).await?;
        if !self.inner.road.is_cluster() {
            own.learn_id(self.inner.times.answer).await?;
        }
        Ok(own)
    }

    /// Ends what blocks a line, which then answers that nothing came.
    pub(super) async fn unblock(&self, id: i64) -> Result<Value, Trouble> {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("UNBLOCK").arg(id);
        self.send(&cmd).await
    }

    /// Ends when the shared connection has been made again more often than `since`.
    pub(super) async fn made_again(&self, since: u64) {
        let mut news = self.inner.state.subscribe();
        // Fails only without a link, which its borrower prevents.
        let _ = news.wait_for(|_| self.inner.health().recoveries > since).await;
    }

    pub(super) fn times(&self) -> Times {
        self.inner.times
    }

    /// How the line has fared.
    pub(super) fn health(&self) -> RedisHealth {
        let up = matches!(*self.inner.state.borrow(), State::Up(_));
        let connected = up && !self.inner.ails.load(Ordering::Relaxed);
        RedisHealth { connected, ..self.inner.health().clone() }
    }

    /// Lets calls in flight end, no longer than an answer may take. Later ones answer [`StoreError::Closed`].
    pub(super) async fn close(&self) {
        let inner = &self.inner;
        inner.closed.cancel();
        inner.tasks.close();
        let gone = inner.state.send_replace(State::Closed);
        let _ = timeout(inner.times.answer, inner.tasks.wait()).await;
        drop(gone);
    }
}

impl Inner {
    async fn call(self: &Arc<Self>, call: &Call<'_>) -> Result<Value, Trouble> {
        let answer = self.ask(&call.cmd).await;
        if !matches!(&answer, Err(Failure::Said(error)) if is_no_script(error)) {
            return Ok(answer?);
        }
        // With its text it is known from then on, at the node that has the keys; loading it would ask all nodes of a cluster.
        Ok(self.ask(&call.whole()).await?)
    }

    async fn send(self: &Arc<Self>, cmd: &Cmd) -> Result<Value, Trouble> {
        Ok(self.ask(cmd).await?)
    }

    /// Sends one command on the line of the moment. Only what went to a wrong node of a cluster is sent again.
    async fn ask(self: &Arc<Self>, cmd: &Cmd) -> Result<Value, Failure> {
        let mut moves = 0;
        loop {
            let mut line = self.line().await?;
            match self.in_time(self.times.answer, line.wire.send(cmd)).await {
                Ok(value) => {
                    if self.tries.load(Ordering::Relaxed) > 0 {
                        self.tries.store(0, Ordering::Relaxed);
                    }
                    self.is_well();
                    return Ok(value);
                }
                Err(error) if is_moved(&error) && moves < MOVES => moves += 1,
                Err(error) => {
                    // A cluster's connection mends itself, unless a node hangs.
                    let ended = if self.road.is_cluster() { error.is_timeout() } else { ends_line(&error) };
                    if ended {
                        self.lost(line.number, StoreError::from(Trouble::from(error.clone())));
                    } else if no_node(&error) {
                        self.ails(StoreError::from(Trouble::from(error.clone())));
                    }
                    return Err(Failure::Said(error));
                }
            }
        }
    }

    /// The line of the moment; a new one is waited for, but not for long.
    async fn line(&self) -> Result<Line, Trouble> {
        match &*self.state.borrow() {
            State::Up(line) => return Ok(line.clone()),
            State::Closed => return Err(Trouble::before(StoreError::Closed)),
            State::Down(_) => {}
        }
        let mut news = self.state.subscribe();
        let _ = timeout(self.times.patience, news.wait_for(|state| !matches!(state, State::Down(_)))).await;
        match &*self.state.borrow() {
            State::Up(line) => Ok(line.clone()),
            State::Down(why) => Err(Trouble::before(why.clone())),
            State::Closed => Err(Trouble::before(StoreError::Closed)),
        }
    }

    async fn in_time<T>(&self, limit: Duration, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        timeout(limit, answer).await.unwrap_or_else(|_| Err(late(limit)))
    }

    fn health(&self) -> MutexGuard<'_, RedisHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer.
enum Failure {
    /// The command was not sent.
    Unsent(Trouble),
    /// The server or the connection says so.
    Said(RedisError),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Failure::Unsent(trouble)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(trouble) => trouble,
            Failure::Said(error) => error.into(),
        }
    }
}

fn late(limit: Duration) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into()
}

/// The cause alone.
fn bare(why: &StoreError) -> String {
    match why {
        StoreError::Unavailable(why) | StoreError::Refused(why) => why.clone(),
        why => why.to_string(),
    }
}
