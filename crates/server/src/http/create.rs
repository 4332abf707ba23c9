//! Creating jobs in groups: whatever waits is made in one commit.
//!
//! There is no timer. While one group is being committed the next one gathers, so a lone request
//! never waits for company, and many requests share one sync of the disk.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::Clock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::ledger_problem;
use crate::failpoint::{self, Point};
use crate::ledger::{Create, Created, Kind, Ledger, LedgerError};
use crate::problem::{Code, Problem};

/// Requests in one commit at most; the ledger's own bound.
const MOST_IN_A_GROUP: usize = 256;
/// Requests that may wait; more are told to come back.
const MOST_WAITING: usize = 4_096;
/// KiB of input that may wait, in all requests together.
const MOST_WAITING_KIB: usize = 64 * 1_024;
/// Rows that may wait for the queue before nothing more is accepted.
const MOST_BACKLOG: u32 = 100_000;
/// How often the backlog is counted at most, in ms.
const COUNTED_MS: i64 = 1_000;
/// A group that the database rolled back is tried so often, unless that took longer than `PATIENCE`.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands create requests to the [`Creator`].
#[derive(Clone)]
pub struct Creates {
    send: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// Commits what the [`Creates`] hand in. Its future ends when all of them are dropped.
pub struct Creator {
    receive: mpsc::Receiver<Waiting>,
    ledger: Ledger,
    clock: Clock,
    wake: Arc<Notify>,
    most_backlog: u32,
    counted_at: i64,
    full: bool,
}

struct Waiting {
    create: Create,
    answer: oneshot::Sender<Result<Created, Problem>>,
    room: OwnedSemaphorePermit,
}

/// Where an answer goes, and the room that its request takes up until then.
struct Answer {
    to: oneshot::Sender<Result<Created, Problem>>,
    _room: OwnedSemaphorePermit,
}

/// Both ends. `wake` is told after each commit that made jobs.
pub fn creates(ledger: Ledger, clock: Clock, wake: Arc<Notify>) -> (Creates, Creator) {
    let (send, receive) = mpsc::channel(MOST_WAITING);
    (
        Creates { send, room: Arc::new(Semaphore::new(MOST_WAITING_KIB)) },
        Creator { receive, ledger, clock, wake, most_backlog: MOST_BACKLOG, counted_at: i64::MIN, full: false },
    )
}

impl Creates {
    /// Makes one request's jobs; answers after the commit.
    pub async fn create(&self, create: Create) -> Result<Created, Problem> {
        let bytes: usize = create.jobs.iter().map(|job| job.input.len()).sum();
        let kib = u32::try_from(bytes.div_ceil(1_024).clamp(1, MOST_WAITING_KIB)).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(kib);
        let room = room.map_err(|_| overloaded("Too much text is waiting."))?;
        let (answer, answered) = oneshot::channel();
        self.send.try_send(Waiting { create, answer, room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded("Too many requests are waiting."),
            mpsc::error::TrySendError::Closed(_) => overloaded("The server is stopping."),
        })?;
        answered.await.unwrap_or_else(|_| Err(Problem::internal()))
    }
}

impl Creator {
    /// Accepts nothing more while so many rows wait for the queue; 100,000 unless this is called.
    pub fn most_backlog(mut self, rows: u32) -> Creator {
        self.most_backlog = rows;
        self
    }

    /// Works until nobody can hand in anything more.
    pub async fn run(mut self) {
        let mut group = Vec::with_capacity(MOST_IN_A_GROUP);
        while self.receive.recv_many(&mut group, MOST_IN_A_GROUP).await > 0 {
            self.count_backlog().await;
            let (creates, answers): (Vec<_>, Vec<_>) =
                group.drain(..).map(|w| (w.create, Answer { to: w.answer, _room: w.room })).unzip();
            let results = if self.full {
                Err(overloaded("The backlog of jobs that wait for the queue is over its bound."))
            } else {
                self.commit(creates).await
            };
            failpoint::pass(Point::Created);
            match results {
                Ok(results) => answers.into_iter().zip(results).for_each(|(answer, result)| reply(answer, Ok(result))),
                Err(problem) => answers.into_iter().for_each(|answer| reply(answer, Err(problem.clone()))),
            }
        }
    }

    async fn commit(&self, creates: Vec<Create>) -> Result<Vec<Created>, Problem> {
        let mut tried = 0;
        let begun = self.clock.now();
        loop {
            tried += 1;
            match self.ledger.create(creates.clone(), self.clock.now().millis()).await {
                Ok(results) => {
                    self.wake.notify_one();
                    return Ok(results);
                }
                // Rolled back: nothing was made, and the same group may go through at once.
                Err(LedgerError::Busy(_)) if tried < TRIES && self.clock.now().since(begun) < PATIENCE => {}
                Err(error) => return Err(ledger_problem(&error)),
            }
        }
    }

    async fn count_backlog(&mut self) {
        let now = self.clock.now().millis();
        if (0..COUNTED_MS).contains(&now.saturating_sub(self.counted_at)) {
            return;
        }
        self.counted_at = now;
        // When it cannot be counted, the create that follows will say what is wrong.
        if let Ok(backlog) = self.ledger.backlog(Kind::Job, self.most_backlog).await {
            self.full = backlog >= u64::from(self.most_backlog);
        }
    }
}

/// A caller that has gone does not want its answer; its job is made all the same.
fn reply(answer: Answer, result: Result<Created, Problem>) {
    let _ = answer.to.send(result);
}

fn overloaded(detail: &str) -> Problem {
    Problem::new(Code::Overloaded, detail).retry_after(1)
}
