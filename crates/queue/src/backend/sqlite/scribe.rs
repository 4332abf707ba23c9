//! The thread that writes: one transaction after the other, each with whatever has come meanwhile.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::checkpoint::{self, Checkpointer};
use super::fault::Fault;
use super::lane::Lane;
use super::row::OptionsCache;
use super::schema;
use super::wake::Knocker;
use super::writer::{Desk, Order, Sync, Task};
use crate::error::{Happened, StoreError};
use crate::job::QueueName;

/// One transaction under way.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) options: &'a mut OptionsCache,
    pub(super) lanes: HashMap<QueueName, Lane>,
}

impl<'a> Tx<'a> {
    /// The queue's row and the connection to change its jobs with.
    pub(super) fn lane(&mut self, queue: &QueueName) -> Result<(&'a Connection, &mut OptionsCache, &mut Lane), Fault> {
        if !self.lanes.contains_key(queue) {
            self.lanes.insert(queue.clone(), Lane::load(self.conn, queue)?);
        }
        let lane = self.lanes.get_mut(queue).ok_or(Fault::Damaged { what: "queues", why: "vanished".into() })?;
        lane.gone = false;
        Ok((self.conn, self.options, lane))
    }

    /// Whether there is such a queue.
    pub(super) fn has(&self, queue: &QueueName) -> Result<bool, Fault> {
        Ok(match self.lanes.get(queue) {
            Some(lane) => !lane.gone,
            None => Lane::find(self.conn, queue)?.is_some_and(|lane| !lane.gone),
        })
    }
}

/// The writer thread.
pub(super) struct Scribe {
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
    pub(super) fn new(path: &Path, conn: Connection, desk: Arc<Desk>) -> Result<Self, Fault> {
        let checkpointer = Checkpointer::start(schema::checkpointer(path)?, desk.clone())?;
        let knocker = Knocker::new(path).map_err(Fault::Bell)?;
        let seen = data_version(&conn)?;
        Ok(Self { desk, conn, checkpointer, knocker, options: OptionsCache::default(), full: true, seen })
    }

    /// Works until the desk is closed.
    pub(super) fn work(&mut self) {
        let mut wrote = false;
        loop {
            let order = self.desk.next(wrote);
            wrote = matches!(order, Order::Write(_));
            match order {
                Order::Write(tasks) => self.write(tasks),
                Order::Listen => self.listen(),
                Order::Checkpoint => self.checkpoint(),
                Order::Close => break,
            }
        }
        self.checkpointer.stop();
        // The last connection that closes moves the log into the file by itself.
    }

    fn write(&mut self, mut tasks: Vec<Box<dyn Task>>) {
        tasks.retain(|task| !task.is_abandoned());
        if tasks.is_empty() {
            return;
        }
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
        let (mut jobs, mut bytes) = (0, 0);
        for task in tasks {
            jobs += task.ticket().jobs;
            bytes += task.ticket().bytes;
            task.answer(fault.clone());
        }
        self.checkpointer.written(jobs, bytes);
    }

    fn begin(&mut self, tasks: &[Box<dyn Task>]) -> Result<(), Fault> {
        self.set_sync(tasks.iter().any(|task| task.ticket().sync == Sync::Full))?;
        self.run("BEGIN IMMEDIATE")
    }

    fn commit(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<(), (Fault, Happened)> {
        // A bug in one verb, or a record that nobody foresaw, must not end the thread that all others wait for.
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_tasks(tasks))).unwrap_or(Err(Fault::Panicked));
        let lanes = match ran {
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
        let Ok(version) = data_version(&self.conn) else { return };
        if std::mem::replace(&mut self.seen, version) == version {
            return;
        }
        for queue in self.desk.bells.queues() {
            if let Ok(Some(lane)) = Lane::find(&self.conn, &queue) {
                self.desk.bells.events(&queue, lane.newest());
            }
        }
        self.desk.bells.all();
    }

    fn checkpoint(&self) {
        if let Err(fault) = checkpoint::passive(&self.conn) {
            tracing::warn!(%fault, "the log could not be moved into the file");
        }
    }
}

fn data_version(conn: &Connection) -> Result<i64, Fault> {
    Ok(conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}
