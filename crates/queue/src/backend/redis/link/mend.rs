//! How the shared connection is made, given up and made again.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisResult};

use super::trouble::Trouble;
use super::{Inner, Line, State, bare};
use crate::error::StoreError;

/// The shortest pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

impl Inner {
    /// A connection of which it is known that the server answers on it.
    pub(super) async fn connect(self: &Arc<Self>, number: u64) -> RedisResult<Line> {
        let broken = Arc::new(AtomicBool::new(false));
        let heard = {
            let (inner, broken) = (Arc::downgrade(self), broken.clone());
            move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    broken.store(true, Ordering::Release);
                    if let Some(inner) = inner.upgrade() {
                        inner.lost(number, hung_up());
                    }
                }
                Ok(())
            }
        };
        let mut wire = self.in_time(self.times.connect, self.road.shared(heard)).await?;
        let ping = redis::cmd("PING");
        match self.in_time(self.times.connect, wire.send(&ping)).await {
            Err(error) if error.code() != Some("NOPERM") => Err(error),
            _ => Ok(Line { number, wire, broken }),
        }
    }

    pub(super) fn publish(self: &Arc<Self>, line: Line) {
        let (number, broken) = (line.number, line.broken.clone());
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = State::Up(line);
            }
            open
        });
        if broken.load(Ordering::Acquire) {
            self.lost(number, hung_up());
        }
    }

    /// A line is of no use any more: a new one is made, by one doer, however many notice.
    pub(super) fn lost(self: &Arc<Self>, number: u64, why: StoreError) {
        let mut gone = None;
        self.state.send_if_modified(|state| {
            let this = matches!(state, State::Up(line) if line.number == number);
            if this {
                gone = Some(mem::replace(state, State::Down(why.clone())));
            }
            this
        });
        if gone.is_none() {
            return;
        }
        {
            let mut health = self.health();
            health.losses += 1;
            health.last_error = Some(bare(&why));
        }
        tracing::warn!(why = bare(&why), "the connection to Redis is lost");
        let inner = self.clone();
        self.tasks.spawn(async move { inner.mend(number + 1).await });
    }

    /// A cluster's connection has lost a node, and makes that line again by itself; one loss, however many calls notice.
    pub(super) fn ails(&self, why: StoreError) {
        if self.ails.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut health = self.health();
        health.losses += 1;
        health.last_error = Some(bare(&why));
        drop(health);
        tracing::warn!(why = bare(&why), "the connection to a node of the Redis cluster is lost");
    }

    /// A call was answered.
    pub(super) fn is_well(&self) {
        if self.ails.load(Ordering::Relaxed) && self.ails.swap(false, Ordering::Relaxed) {
            self.health().recoveries += 1;
            tracing::info!("connected to the node of the Redis cluster again");
        }
    }

    /// Makes a new line, for as long as it takes.
    async fn mend(self: Arc<Self>, number: u64) {
        loop {
            let tries = self.tries.fetch_add(1, Ordering::Relaxed);
            let made = async {
                if let Some(pause) = pause(tries, self.times.pause) {
                    tokio::time::sleep(pause).await;
                }
                self.connect(number).await
            };
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                made = made => match made {
                    Ok(line) => {
                        self.health().recoveries += 1;
                        tracing::info!("connected to Redis again");
                        return self.publish(line);
                    }
                    Err(error) => {
                        let why = StoreError::from(Trouble::from(error));
                        tracing::debug!(why = bare(&why), "no connection to Redis yet");
                        self.health().last_error = Some(bare(&why));
                        self.state.send_if_modified(|state| {
                            if let State::Down(known) = state {
                                *known = why;
                            }
                            false
                        });
                    }
                }
            }
        }
    }
}

/// The pause before a further attempt, longer each time; never quite the same, since others wait as well.
pub(in super::super) fn pause(tries: u32, longest: Duration) -> Option<Duration> {
    let doublings = tries.checked_sub(1)?;
    let pause = PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
    Some(pause.mul_f64(rand::random_range(0.75..=1.0)))
}

fn hung_up() -> StoreError {
    StoreError::Unavailable("Redis closed the connection".to_owned())
}
