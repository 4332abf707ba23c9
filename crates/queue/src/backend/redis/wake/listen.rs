//! The blocking lines: one that pops markers, one that reads events; each lives while somebody waits.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::super::keys::{Keys, visible};
use super::super::link::{Own, Trouble, pause};
use super::seat::Seat;
use super::{Bell, Inner};
use crate::error::{Happened, StoreError};
use crate::event::Position;

/// Pops markers and wakes one waiter for each.
pub(super) async fn work(inner: Arc<Inner>, bell: Arc<Bell>) {
    let key = format!("{}:{}:marker", inner.prefix, bell.queue);
    let times = inner.link.times();
    let named = || bell.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let linger = || if named().is_some() { times.linger_named } else { times.linger };
    let mut line = None;
    let mut fails = 0;
    while inner.open(bell.workers.wanted(linger)).await == Some(true) {
        let name = line_name(&inner.prefix, &bell, &named().map(|name| format!(":w:{name}")).unwrap_or_default());
        let popped = match ready(&inner, &mut line, &key, &name).await {
            Ok(own) => {
                // What came while there was no line is found by looking.
                if mended(&bell.workers, &name) {
                    bell.work.notify_one();
                }
                pop(&inner, own, &key).await
            }
            Err(trouble) => Err(trouble),
        };
        match popped {
            Ok(popped) => {
                fails = 0;
                let Some((member, score)) = popped else { continue };
                if bell.workers.waiting() && !inner.closed.is_cancelled() {
                    bell.work.notify_one();
                    yield_now().await; // whoever is woken asks for work before this line asks for the next marker
                } else {
                    put_back(&inner, &key, &member, score).await;
                }
            }
            Err(trouble) => {
                line = None;
                failed(&bell.workers, &name, trouble);
                fails += 1;
                inner.rest(fails).await;
            }
        }
    }
}

/// Publishes the newest event.
pub(super) async fn events(inner: Arc<Inner>, bell: Arc<Bell>) {
    let key = format!("{}:{}:events", inner.prefix, bell.queue);
    let name = line_name(&inner.prefix, &bell, ":qe");
    let linger = inner.link.times().linger;
    let mut line = None;
    let mut fails = 0;
    while inner.open(bell.readers.wanted(|| linger)).await == Some(true) {
        match inner.open(news(&inner, &bell, &mut line, &key, &name)).await {
            Some(Ok(())) => {
                fails = 0;
                mended(&bell.readers, &name);
            }
            Some(Err(trouble)) => {
                line = None;
                failed(&bell.readers, &name, trouble);
                fails += 1;
                inner.rest(fails).await;
            }
            None => break,
        }
    }
}

/// The line, made when there is none, under its name of the moment.
async fn ready<'a>(inner: &Inner, line: &'a mut Option<Own>, key: &str, name: &str) -> Result<&'a mut Own, Trouble> {
    let made = async {
        let own = match line {
            Some(own) => own,
            None => line.insert(inner.link.own(key, name).await?),
        };
        own.rename(name, inner.link.times().answer).await?;
        Ok(own)
    };
    inner.open(made).await.unwrap_or_else(|| Err(shut()))
}

/// One blocking pop; `None` when there was no marker. It is not left alone when the store is closed, since it might still
/// pop one.
async fn pop(inner: &Inner, own: &mut Own, key: &str) -> Result<Option<(Vec<u8>, f64)>, Trouble> {
    let times = inner.link.times();
    let (id, since) = (own.id(), own.since());
    let mut cmd = redis::cmd("BZPOPMIN");
    cmd.arg(key).arg(times.block.as_secs_f64());
    let popping = own.ask(&cmd, times.block + times.slack);
    tokio::pin!(popping);
    let answer = tokio::select! {
        biased;
        answer = &mut popping => answer,
        () = inner.link.made_again(since) => {
            // The server may still hold it for a waiter, and give it the next marker. Without an answer it does so no longer
            // than the pop lasts.
            if let Some(id) = id {
                let _ = inner.link.unblock(id).await;
            }
            return Err(doubted());
        }
        () = inner.closed.cancelled() => {
            let Some(id) = id else { return Err(shut()) };
            inner.link.unblock(id).await?;
            timeout(times.slack, popping).await.unwrap_or_else(|_| Err(shut()))
        }
    };
    let popped: Option<(Vec<u8>, Vec<u8>, f64)> = read(answer?)?;
    Ok(popped.map(|(_, member, score)| (member, score)))
}

/// Gives a marker back that nobody here waits for any more, for others to take.
async fn put_back(inner: &Inner, key: &str, member: &[u8], score: f64) {
    let mut cmd = redis::cmd("ZADD");
    cmd.arg(key).arg("NX").arg(score).arg(member);
    if let Err(trouble) = inner.link.send(&cmd).await {
        tracing::debug!(why = %trouble.why, "a wake-up that nobody waited for could not be given back");
    }
}

/// Publishes the newest event, and what comes within one blocking read. A new line looks at what is there first.
async fn news(inner: &Inner, bell: &Bell, line: &mut Option<Own>, key: &str, name: &str) -> Result<(), Trouble> {
    let times = inner.link.times();
    let own = match line {
        Some(own) => own,
        None => {
            let own = line.insert(inner.link.own(key, name).await?);
            publish(bell, newest(own, key, times.answer).await?);
            return Ok(());
        }
    };
    let mut cmd = redis::cmd("XREAD");
    let after = bell.newest.borrow().to_string();
    cmd.arg("COUNT").arg(1).arg("BLOCK").arg(times.block.as_millis().max(1).to_string());
    cmd.arg("STREAMS").arg(key).arg(after);
    let since = own.since();
    let answer = tokio::select! {
        biased;
        answer = own.ask(&cmd, times.block + times.slack) => answer,
        () = inner.link.made_again(since) => Err(doubted()),
    };
    if answer? != Value::Nil {
        publish(bell, newest(own, key, times.answer).await?);
    }
    Ok(())
}

/// There is a line; answers whether there was none before.
fn mended(seat: &Seat, name: &str) -> bool {
    let missed = seat.note(None);
    if missed {
        tracing::info!(name, "a blocking connection to Redis was made again");
    }
    missed
}

/// There is no line, which is told once.
fn failed(seat: &Seat, name: &str, trouble: Trouble) {
    let why = trouble.why.to_string();
    if !seat.note(Some(trouble.why)) {
        tracing::warn!(why, name, "a blocking connection to Redis is lost");
    }
}

/// Where a stream ends.
async fn newest(own: &mut Own, key: &str, limit: Duration) -> Result<Position, Trouble> {
    let mut cmd: Cmd = redis::cmd("XREVRANGE");
    cmd.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    let entries: Vec<(String, Value)> = read(own.ask(&cmd, limit).await?)?;
    Ok(entries.first().map_or(Position::START, |(id, _)| position(id)))
}

/// Readers look again whenever it is another place, also when the stream was deleted.
fn publish(bell: &Bell, newest: Position) {
    bell.newest.send_if_modified(|known| std::mem::replace(known, newest) != newest);
}

fn position(id: &str) -> Position {
    let (seq, index) = id.split_once('-').unwrap_or((id, "0"));
    Position { seq: seq.parse().unwrap_or_default(), index: index.parse().unwrap_or(u32::MAX) }
}

/// What `CLIENT LIST` shows.
fn line_name(prefix: &str, bell: &Bell, ending: &str) -> String {
    format!("{}{}", Keys::new(prefix).lines(&bell.queue), visible(ending))
}

/// Where the shared connection was dead, one that says nothing for seconds may be as well.
fn doubted() -> Trouble {
    Trouble::before(StoreError::Unavailable("the connection to Redis had to be made again".to_owned()))
}

fn shut() -> Trouble {
    Trouble::before(StoreError::Closed)
}

fn read<T: redis::FromRedisValue>(value: Value) -> Result<T, Trouble> {
    redis::from_redis_value(value)
        .map_err(|error| Trouble { why: StoreError::Damaged(error.to_string()), happened: Happened::Unknown })
}

impl Inner {
    /// What comes of it, or `None` when the store is closed first.
    async fn open<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(doing).await
    }

    /// The pause after a failure.
    async fn rest(&self, fails: u32) {
        if let Some(pause) = pause(fails, self.link.times().pause) {
            self.open(sleep(pause)).await;
        }
    }
}
