//! What became of the slots of job schedulers.

use rusqlite::{Connection, Row as SqlRow, params};

use super::fault::Fault;
use super::lane::Lane;
use crate::job::QueueName;
use crate::repeat::{Fate, MAX_TICKS, Tick};
use crate::time::Timestamp;

/// The first word on a slot is kept.
const NOTE: &str = "INSERT INTO ticks (q, id, first, last, count, fate, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
    ON CONFLICT (q, id, first) DO NOTHING";
const TRIM: &str = "DELETE FROM ticks WHERE q = ?1 AND id = ?2 AND first <= \
    (SELECT first FROM ticks WHERE q = ?1 AND id = ?2 ORDER BY first DESC LIMIT 1 OFFSET ?3)";
const LIST: &str =
    "SELECT first, last, count, fate, at FROM ticks WHERE q = ?1 AND id = ?2 ORDER BY first DESC LIMIT ?3";

/// Notes what became of slots of a scheduler.
pub(super) fn note(
    conn: &Connection,
    lane: &Lane,
    id: &str,
    ticks: impl IntoIterator<Item = Tick>,
) -> Result<(), Fault> {
    let mut noted = 0;
    for tick in ticks {
        let (first, last, at) = (tick.first.millis(), tick.last.millis(), tick.at.millis());
        let row = params![lane.q, id, first, last, tick.count, tick.fate.name(), at];
        noted += conn.prepare_cached(NOTE)?.execute(row)?;
    }
    if noted > 0 {
        conn.prepare_cached(TRIM)?.execute(params![lane.q, id, MAX_TICKS as i64])?;
    }
    Ok(())
}

/// Forgets them, all.
pub(super) fn forget(conn: &Connection, lane: &Lane, id: &str) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM ticks WHERE q = ?1 AND id = ?2")?.execute(params![lane.q, id])?;
    Ok(())
}

pub(super) fn list(conn: &Connection, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Vec::new());
    };
    let mut read = conn.prepare_cached(LIST)?;
    let mut rows = read.query(params![lane.q, id, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(tick(row)?);
    }
    Ok(found)
}

fn tick(row: &SqlRow<'_>) -> Result<Tick, Fault> {
    let time = |column| row.get(column).map(Timestamp::from_millis);
    let name: String = row.get(3)?;
    let fate = Fate::ALL.into_iter().find(|fate| fate.name() == name);
    let fate = fate.ok_or(Fault::Damaged { what: "ticks.fate", why: name })?;
    Ok(Tick { fate, first: time(0)?, last: time(1)?, count: row.get(2)?, at: time(4)? })
}
