//! Moves the log into the file beside the writer, so that no commit pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::fault::Fault;
use super::writer::Desk;

/// Pages written, about, between two looks at the log (8 MiB).
const LOOK_EVERY: u64 = 2_000;
/// Pages that a commit writes at the least, about: the queue's row, its events, the ends of the indexes.
const COMMIT: u64 = 8;
/// SQLite's own size of a page.
const PAGE: u64 = 4_096;
/// Pages in the log from which the writer moves the rest, so that the log can start over (64 MiB).
const LONG_LOG: i64 = 16_000;

pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    pages: AtomicU64,
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
        Ok(Self { shared, thread: Some(thread), pages: AtomicU64::new(0) })
    }

    /// The writer has committed so many jobs with so many bytes of payload; now and then that is a reason to look.
    pub(super) fn written(&self, jobs: usize, bytes: usize) {
        let pages = COMMIT + jobs as u64 + bytes as u64 / PAGE;
        let before = self.pages.fetch_add(pages, Ordering::Relaxed);
        if before / LOOK_EVERY != (before + pages) / LOOK_EVERY
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
