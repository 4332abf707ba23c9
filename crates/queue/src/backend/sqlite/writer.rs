//! The one thread that writes. Verbs queue up in two lanes, urgent ones (ends, takes, locks) before the rest, so that a
//! flood of adds makes no lock expire. What is there is written in one transaction and answered after its commit.
//!
//! Verbs check everything before their first write, so a verb fails only when the file does. Then the transaction is
//! rolled back and every verb of it is tried alone: one that cannot be written harms only itself.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::checkpoint::Checkpointer;
use super::fault::Fault;
use super::lane::Lane;
use super::row::OptionsCache;
use super::schema;
use super::wake::{Bells, Knocker};
use crate::error::{Failed, Happened, StoreError};
use crate::job::QueueName;

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

/// One transaction under way.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) options: &'a mut OptionsCache,
    lanes: HashMap<QueueName, Lane>,
}

impl<'a> Tx<'a> {
    /// The queue's row and the connection to change its jobs with.
    pub(super) fn lane(&mut self, queue: &QueueName) -> Result<(&'a Connection, &mut OptionsCache, &mut Lane), Fault> {
        if !self.lanes.contains_key(queue) {
            self.lanes.insert(queue.clone(), Lane::load(self.conn, queue)?);
        }
        let lane = self.lanes.get_mut(queue).ok_or(Fault::Damaged { what: "queues", why: "vanished".into() })?;
        Ok((self.conn, self.options, lane))
    }
}

/// A verb that waits to be written.
trait Task: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, fault: Option<(StoreError, Happened)>);
    fn ticket(&self) -> Ticket;
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
        let checkpointer = Checkpointer::start(schema::checkpointer(path)?, desk.clone())?;
        let thread = std::thread::Builder::new().name("lk-sqlite-writer".into());
        let knocker = Knocker::new(path).map_err(Fault::Log)?;
        let mut scribe = Scribe {
            desk: desk.clone(),
            conn,
            checkpointer,
            knocker,
            options: OptionsCache::default(),
            full: true,
            seen: 0,
        };
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
            // The writer answers every verb, also while it closes; only its own panic leaves one unanswered.
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
        match tokio::time::timeout(ROOM, async { tokio::try_join!(jobs, kib) }).await {
            Ok(Ok((jobs, kib))) => Ok([jobs, kib]),
            Ok(Err(_)) => Err(StoreError::Closed),
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

    pub(super) fn is_closed(&self) -> bool {
        self.inner().closed
    }

    /// Somebody wrote to the file's log, perhaps another process.
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

/// What the writer is to do next.
enum Order {
    Write(Vec<Box<dyn Task>>),
    Listen,
    Checkpoint,
    Close,
}

/// The writer thread.
struct Scribe {
    desk: Arc<Desk>,
    conn: Connection,
    checkpointer: Checkpointer,
    knocker: Knocker,
    options: OptionsCache,
    /// What `synchronous` stands at.
    full: bool,
    /// The last `data_version`: it changes when another connection commits.
    seen: i64,
}

impl Scribe {
    fn work(&mut self) {
        loop {
            match self.next() {
                Order::Write(tasks) => self.write(tasks),
                Order::Listen => self.listen(),
                Order::Checkpoint => self.checkpoint(),
                Order::Close => break,
            }
        }
        self.checkpointer.stop();
        // The last connection that closes moves the log into the file by itself.
    }

    fn next(&self) -> Order {
        let mut inner = self.desk.inner();
        loop {
            if std::mem::take(&mut inner.finish_checkpoint) {
                return Order::Checkpoint;
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
            inner = self.desk.come.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&mut self, mut tasks: Vec<Box<dyn Task>>) {
        // A transaction that cannot even begin is nobody's fault, and trying it for each verb would wait for each.
        let written = match self.begin(&tasks) {
            Err(fault) => Err((fault, Happened::No)),
            Ok(()) => match self.commit(&mut tasks) {
                Err((_, Happened::No)) if tasks.len() > 1 => {
                    tasks.into_iter().for_each(|task| self.write(vec![task]));
                    return;
                }
                written => written,
            },
        };
        let fault = written.err().map(|(fault, happened)| {
            tracing::error!(%fault, "a write to the queue's file failed");
            (StoreError::from(fault), happened)
        });
        for task in tasks {
            task.answer(fault.clone());
        }
        self.checkpointer.written();
    }

    fn begin(&mut self, tasks: &[Box<dyn Task>]) -> Result<(), Fault> {
        self.set_sync(tasks.iter().any(|task| task.ticket().sync == Sync::Full))?;
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<(), (Fault, Happened)> {
        let lanes = match self.run_tasks(tasks) {
            Ok(lanes) => lanes,
            Err(fault) => {
                self.roll_back();
                return Err((fault, Happened::No));
            }
        };
        if let Err(fault) = self.run("COMMIT") {
            self.roll_back();
            // The frames may be in the log all the same.
            return Err((fault, Happened::Unknown));
        }
        self.knocker.knock();
        for lane in lanes {
            if lane.ring {
                self.desk.bells.work(&lane.name);
            }
            self.desk.bells.events(&lane.name, lane.newest());
        }
        Ok(())
    }

    fn run_tasks(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<Vec<Lane>, Fault> {
        let mut tx = Tx { conn: &self.conn, options: &mut self.options, lanes: HashMap::new() };
        for task in tasks {
            task.run(&mut tx)?;
        }
        let Tx { lanes, .. } = tx;
        let mut lanes: Vec<Lane> = lanes.into_values().collect();
        for lane in &mut lanes {
            lane.store(&self.conn)?;
        }
        Ok(lanes)
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(fault) = self.run("ROLLBACK")
        {
            tracing::error!(%fault, "a failed write could not be rolled back");
        }
    }

    fn set_sync(&mut self, full: bool) -> Result<(), Fault> {
        if full != self.full {
            let level = if full { "PRAGMA synchronous = 2" } else { "PRAGMA synchronous = 1" };
            self.run(level)?;
            self.full = full;
        }
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.conn.prepare_cached(sql)?.raw_execute().map(|_| ())?)
    }

    /// Wakes everybody when another process has written.
    fn listen(&mut self) {
        let version =
            self.conn.prepare_cached("PRAGMA data_version").and_then(|mut get| get.query_row([], |row| row.get(0)));
        let Ok(version) = version else { return };
        if self.seen == version {
            return;
        }
        self.seen = version;
        for queue in self.desk.bells.queues() {
            if let Ok(Some(lane)) = Lane::find(&self.conn, &queue) {
                self.desk.bells.events(&queue, lane.newest());
            }
        }
        self.desk.bells.all();
    }

    fn checkpoint(&self) {
        if let Err(fault) = super::checkpoint::passive(&self.conn) {
            tracing::warn!(%fault, "the log could not be moved into the file");
        }
    }
}
