//! What the stored columns of a job mean.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::flow;
use super::groups;
use super::lane::Lane;
use crate::job::JobId;
use crate::options::JobOptions;
use crate::state::Place;
use crate::time::Timestamp;

/// Payloads up to this many bytes stay in the hot row.
pub(super) const INLINE: usize = 1024;

/// Bits of `jobs.flags`.
pub(super) const BODY: i64 = 1;
pub(super) const SIDE: i64 = 2;
pub(super) const LOGS: i64 = 4;
pub(super) const CANCELED: i64 = 8;
pub(super) const STALLED_OUT: i64 = 16;
pub(super) const LIFO: i64 = 32;
/// Its options name a deduplication id.
pub(super) const DEDUP: i64 = 64;
/// It is the child of a job.
pub(super) const CHILD: i64 = 128;
/// It has children.
pub(super) const PARENT: i64 = 512;
/// A child of it has failed, and it is to fail too.
pub(super) const CHILD_FAILED: i64 = 1024;
/// Its options name a group. While it is ready or active, the bits from the sixteenth on are the group's number.
pub(super) const GROUPED: i64 = 256;

/// A job as moves need it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) row: i64,
    pub(super) place: Place,
    pub(super) k1: i64,
    pub(super) priority: u32,
    pub(super) flags: i64,
    pub(super) settled: Option<String>,
}

pub(super) fn place(number: i64) -> Result<Place, Fault> {
    usize::try_from(number)
        .ok()
        .and_then(|index| Place::ALL.get(index).copied())
        .ok_or_else(|| Fault::Damaged { what: "jobs.place", why: number.to_string() })
}

impl Row {
    pub(super) fn find(conn: &Connection, lane: &Lane, id: &JobId) -> Result<Option<Row>, Fault> {
        let mut find =
            conn.prepare_cached("SELECT row, place, k1, priority, flags, settled FROM jobs WHERE q = ?1 AND id = ?2")?;
        let found = find
            .query_row(params![lane.q, id.as_str()], |row| {
                let (number, place, k1) = (row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?);
                Ok((number, place, k1, row.get(3)?, row.get(4)?, row.get(5)?))
            })
            .optional()?;
        found
            .map(|(row, number, k1, priority, flags, settled)| {
                Ok(Row { row, place: place(number)?, k1, priority, flags, settled })
            })
            .transpose()
    }

    /// Removes the job with everything that hangs on it.
    pub(super) fn remove(&self, conn: &Connection, lane: &mut Lane, now: Timestamp) -> Result<(), Fault> {
        flow::removing(conn, lane, self)?;
        conn.prepare_cached("DELETE FROM jobs WHERE row = ?1")?.execute([self.row])?;
        lane.left(self.place.state(self.priority));
        if self.flags & GROUPED != 0 {
            groups::removed(conn, lane, self, now)?;
        }
        remove_sides(conn, self.row, self.flags)
    }

    /// Puts the job among the ready ones: at the back, or in front when it asks for LIFO and that counts here.
    pub(super) fn make_ready(
        &self,
        conn: &Connection,
        lane: &mut Lane,
        lifo: Lifo,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let asks = lifo == Lifo::Honoured && self.flags & LIFO != 0;
        let freed = lifo == Lifo::Front;
        if self.flags & GROUPED != 0 {
            groups::make_ready(conn, lane, self.row, asks || freed, now)?;
        } else {
            let turn = if freed || asks && self.priority == 0 { lane.front() } else { lane.back() };
            conn.prepare_cached("UPDATE jobs SET place = 0, k1 = priority, k2 = ?2, since = ?3 WHERE row = ?1")?
                .execute(params![self.row, turn, now.millis()])?;
        }
        lane.moved(self.priority, self.place, Place::Ready);
        lane.ring = true;
        Ok(())
    }
}

/// Whether a move honours the job's wish to be taken first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifo {
    Honoured,
    /// Promotion ignores it, as in BullMQ.
    Ignored,
    /// In front of its class in any case: a parent whose children are done.
    Front,
}

/// Removes what hangs on a job that is gone.
pub(super) fn remove_sides(conn: &Connection, row: i64, flags: i64) -> Result<(), Fault> {
    let sides = [
        (CHILD, "DELETE FROM links WHERE row = ?1"),
        (PARENT, "UPDATE families SET row = NULL WHERE row = ?1"),
        (BODY, "DELETE FROM bodies WHERE row = ?1"),
        (SIDE, "DELETE FROM sides WHERE row = ?1"),
        (LOGS, "DELETE FROM logs WHERE row = ?1"),
    ];
    for (flag, sql) in sides {
        if flags & flag != 0 {
            conn.prepare_cached(sql)?.execute([row])?;
        }
    }
    Ok(())
}

/// The stored text of options; the defaults are the empty text.
pub(super) fn encode_options(options: &JobOptions) -> Result<String, Fault> {
    let text =
        serde_json::to_string(options).map_err(|error| Fault::Damaged { what: "options", why: error.to_string() })?;
    Ok(if text == "{}" { String::new() } else { text })
}

/// Options by their text. Jobs of one producer carry the same text, so the last one is kept.
#[derive(Debug, Default)]
pub(super) struct OptionsCache {
    last: Option<(String, Arc<JobOptions>)>,
    encoded: Option<(Arc<JobOptions>, String)>,
}

impl OptionsCache {
    pub(super) fn decode(&mut self, text: &str) -> Result<Arc<JobOptions>, Fault> {
        match &self.last {
            Some((known, options)) if known == text => Ok(options.clone()),
            _ => {
                let options = Arc::new(decode_options(text)?);
                self.last = Some((text.to_owned(), options.clone()));
                Ok(options)
            }
        }
    }

    pub(super) fn encode(&mut self, options: &Arc<JobOptions>) -> Result<&str, Fault> {
        if !self.encoded.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, options)) {
            self.encoded = Some((options.clone(), encode_options(options)?));
        }
        Ok(self.encoded.as_ref().map_or("", |(_, text)| text))
    }
}

pub(super) fn decode_options(text: &str) -> Result<JobOptions, Fault> {
    if text.is_empty() {
        return Ok(JobOptions::default());
    }
    serde_json::from_str(text).map_err(|error| Fault::Damaged { what: "jobs.opts", why: error.to_string() })
}
