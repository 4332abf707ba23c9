//! The desk of the one thread that writes. Verbs queue up in two lanes, urgent ones (ends, takes, locks) before the rest, so that a
//! flood of adds makes no lock expire. What is there is written in one transaction and answered after its commit.
//!
//! Verbs check everything before their first write, so a verb fails only when the file does. Then the transaction is
//! rolled back and every verb of it is tried alone: one that cannot be written harms only itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};

use super::fault::Fault;
use super::scribe::{Scribe, Tx};
use super::wake::Bells;
use crate::error::{Failed, Happened, StoreError};

/// Jobs that may wait in a lane.
const LANE_JOBS: usize = 20_000;
/// Payload that may wait in a lane, in KiB.
const LANE_KIB: usize = 64 * 1024;
/// Jobs in one transaction at the most (beyond its first verb): it holds the write lock for a few milliseconds only.
const TX_JOBS: usize = 1_000;
/// How long a verb waits for room in its lane.
const ROOM: Duration = Duration::from_secs(5);

/// Which verbs go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Ends, takes, locks.
    First,
    /// Adds and changes.
    Second,
}

/// Whether the answer may come before the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Answered when it is on the disk.
    Full,
    /// A power failure may undo it.
    Lazy,
}

/// How a verb is queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) urgency: Urgency,
    pub(super) sync: Sync,
    pub(super) jobs: usize,
    pub(super) bytes: usize,
}

/// A verb that waits to be written.
pub(super) trait Task: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, fault: Option<(StoreError, Happened)>);
    fn ticket(&self) -> Ticket;
    /// Whether it is an add or a change for whose answer nobody waits any more: it need not be written. A renewal that was given
    /// up still renews.
    fn is_abandoned(&self) -> bool;
}

type Reply<I, O> = Result<O, (StoreError, Happened, I)>;

struct Verb<I, O> {
    input: I,
    output: Option<O>,
    run: fn(&mut Tx<'_>, &I) -> Result<O, Fault>,
    reply: oneshot::Sender<Reply<I, O>>,
    ticket: Ticket,
    _room: [OwnedSemaphorePermit; 2],
}

impl<I: Send, O: Send> Task for Verb<I, O> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.output = Some((self.run)(tx, &self.input)?);
        Ok(())
    }

    fn answer(self: Box<Self>, fault: Option<(StoreError, Happened)>) {
        let reply = match (fault, self.output) {
            (Some((why, happened)), _) => Err((why, happened, self.input)),
            (None, Some(output)) => Ok(output),
            (None, None) => Err((StoreError::Closed, Happened::No, self.input)),
        };
        // Nobody listens any more: a lost answer, which every caller must survive.
        let _ = self.reply.send(reply);
    }

    fn ticket(&self) -> Ticket {
        self.ticket
    }

    fn is_abandoned(&self) -> bool {
        self.ticket.urgency == Urgency::Second && self.reply.is_closed()
    }
}

/// The writer's side that verbs talk to.
pub(super) struct Writer {
    desk: Arc<Desk>,
    rooms: [Rooms; 2],
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Rooms {
    jobs: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// What the writer is to do next.
pub(super) enum Order {
    Write(Vec<Box<dyn Task>>),
    Listen,
    Checkpoint,
    Close,
}

/// What the writer thread and everybody else share.
pub(super) struct Desk {
    inner: Mutex<Inner>,
    come: Condvar,
    pub(super) bells: Bells,
}

#[derive(Default)]
struct Inner {
    first: VecDeque<Box<dyn Task>>,
    second: VecDeque<Box<dyn Task>>,
    heard: bool,
    finish_checkpoint: bool,
    closed: bool,
}

impl Writer {
    pub(super) fn start(path: &Path, conn: Connection) -> Result<Writer, Fault> {
        let desk = Arc::new(Desk { inner: Mutex::default(), come: Condvar::new(), bells: Bells::default() });
        let mut scribe = Scribe::new(path, conn, desk.clone())?;
        let thread = std::thread::Builder::new().name("lk-sqlite-writer".into());
        let thread = thread.spawn(move || scribe.work()).map_err(Fault::Thread)?;
        let rooms = || Rooms { jobs: Arc::new(Semaphore::new(LANE_JOBS)), kib: Arc::new(Semaphore::new(LANE_KIB)) };
        Ok(Writer { desk, rooms: [rooms(), rooms()], thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Queues a verb and waits for its commit.
    pub(super) async fn write<I, O>(
        &self,
        ticket: Ticket,
        input: I,
        run: fn(&mut Tx<'_>, &I) -> Result<O, Fault>,
    ) -> Result<O, Failed<I>>
    where
        I: Send + std::fmt::Debug + 'static,
        O: Send + 'static,
    {
        let room = match self.room(ticket).await {
            Ok(room) => room,
            Err(why) => return Err(Failed::before(why, input)),
        };
        let (reply, answer) = oneshot::channel();
        let verb = Verb { input, output: None, run, reply, ticket, _room: room };
        self.desk.put(Box::new(verb));
        match answer.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err((why, happened, input))) => Err(Failed { why, happened, input: Box::new(input) }),
            // The writer answers every verb, also one that panics and also while it closes.
            Err(_) => std::future::pending().await,
        }
    }

    async fn room(&self, ticket: Ticket) -> Result<[OwnedSemaphorePermit; 2], StoreError> {
        let kib = ticket.bytes.div_ceil(1024).max(1);
        // Ends must always be sayable: a worker can neither shorten its jobs' results nor give up telling them.
        if kib > LANE_KIB && ticket.urgency == Urgency::Second {
            return Err(StoreError::OutOfBounds("more than 64 MiB in one request"));
        }
        let kib = kib.min(LANE_KIB);
        let rooms = &self.rooms[ticket.urgency as usize];
        let jobs = rooms.jobs.clone().acquire_many_owned(ticket.jobs.clamp(1, LANE_JOBS) as u32);
        let kib = rooms.kib.clone().acquire_many_owned(kib as u32);
        // One after the other: whoever waits for the second holds the first's place in line, and nobody overtakes.
        match tokio::time::timeout(ROOM, async { Ok([jobs.await?, kib.await?]) }).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(AcquireError { .. })) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Writes what waits, answers what comes later as closed, and ends the threads.
    pub(super) fn close(&self) {
        self.desk.inner().closed = true;
        self.desk.come.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the writer has been reported by the panic hook already.
            let _ = thread.join();
        }
        self.desk.bells.all();
    }
}

impl Desk {
    fn put(&self, task: Box<dyn Task>) {
        let mut inner = self.inner();
        if inner.closed {
            drop(inner);
            task.answer(Some((StoreError::Closed, Happened::No)));
            return;
        }
        match task.ticket().urgency {
            Urgency::First => inner.first.push_back(task),
            Urgency::Second => inner.second.push_back(task),
        }
        drop(inner);
        self.come.notify_one();
    }

    /// After a write, other processes are heard before the next one: they must not wait until there is nothing to do.
    pub(super) fn next(&self, wrote: bool) -> Order {
        let mut inner = self.inner();
        loop {
            if std::mem::take(&mut inner.finish_checkpoint) {
                return Order::Checkpoint;
            }
            if wrote && std::mem::take(&mut inner.heard) {
                return Order::Listen;
            }
            let mut tasks = Vec::new();
            let mut jobs = 0;
            let Inner { first, second, .. } = &mut *inner;
            for lane in [first, second] {
                while let Some(task) = lane.front() {
                    let weight = task.ticket().jobs.max(1);
                    if !tasks.is_empty() && jobs + weight > TX_JOBS {
                        break;
                    }
                    jobs += weight;
                    tasks.extend(lane.pop_front());
                }
            }
            if !tasks.is_empty() {
                return Order::Write(tasks);
            }
            if std::mem::take(&mut inner.heard) {
                return Order::Listen;
            }
            if inner.closed {
                return Order::Close;
            }
            inner = self.come.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner().closed
    }

    /// Somebody has rung the file's bell, perhaps another process.
    pub(super) fn heard(&self) {
        let mut inner = self.inner();
        if !inner.heard {
            inner.heard = true;
            drop(inner);
            self.come.notify_one();
        }
    }

    /// The log is long and nearly moved: the writer is to move the rest, so that it can start over.
    pub(super) fn finish_checkpoint(&self) {
        self.inner().finish_checkpoint = true;
        self.come.notify_one();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::backend::sqlite::schema;

    /// What hangs, and is repeated, must not pile up.
    #[tokio::test]
    async fn a_verb_that_nobody_waits_for_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let writer = Writer::start(&path, schema::writer(&path).unwrap()).unwrap();
        let note = |key: &'static str| {
            let ticket = Ticket { urgency: Urgency::Second, sync: Sync::Full, jobs: 1, bytes: 0 };
            writer.write(ticket, key, |tx, key| {
                tx.conn.execute("INSERT INTO meta (key, value) VALUES (?1, '')", [key])?;
                Ok(())
            })
        };
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut first = pin!(note("first"));
        assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err());
        // The writer has it, and waits for the file.
        while !writer.desk().inner().second.is_empty() {
            std::thread::yield_now();
        }
        assert!(tokio::time::timeout(Duration::ZERO, note("second")).await.is_err());
        other.execute_batch("COMMIT").unwrap();
        first.await.unwrap();
        note("third").await.unwrap();
        let there = |key: &str| {
            other.query_row("SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?1)", [key], |row| row.get::<_, bool>(0))
        };
        assert_eq!(["first", "second", "third"].map(|key| there(key).unwrap()), [true, false, true]);
        writer.close();
    }
}
