//! Moves the log into the file beside the writer, so that no commit pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::fault::Fault;
use super::writer::Desk;

/// Commits between two looks at the log.
const LOOK_EVERY: u64 = 200;
/// Pages in the log from which the writer moves the rest, so that the log can start over (64 MiB).
const LONG_LOG: i64 = 16_000;

pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    commits: AtomicU64,
}

struct Shared {
    stop: AtomicBool,
}

impl Checkpointer {
    pub(super) fn start(conn: Connection, desk: Arc<Desk>) -> Result<Self, Fault> {
        let shared = Arc::new(Shared { stop: AtomicBool::new(false) });
        let mine = shared.clone();
        let thread = std::thread::Builder::new().name("lk-sqlite-checkpoint".into());
        let thread = thread.spawn(move || work(&conn, &desk, &mine)).map_err(Fault::Thread)?;
        Ok(Self { shared, thread: Some(thread), commits: AtomicU64::new(0) })
    }

    /// The writer has committed; now and then that is a reason to look.
    pub(super) fn written(&self) {
        if (self.commits.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(LOOK_EVERY)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }

    pub(super) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn work(conn: &Connection, desk: &Desk, shared: &Shared) {
    while !shared.stop.load(Ordering::Acquire) {
        std::thread::park();
        match passive(conn) {
            Ok(pages) if pages > LONG_LOG => desk.finish_checkpoint(),
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "the log could not be moved into the file"),
        }
    }
}

/// Moves what can be moved without waiting for anybody; answers how many pages the log has.
pub(super) fn passive(conn: &Connection) -> Result<i64, Fault> {
    Ok(conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |row| row.get(1))?)
}
