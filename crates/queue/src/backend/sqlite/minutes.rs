//! Metrics: one row a minute, written once in a transaction however many jobs it counts.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::lane::Lane;
use crate::backend::{Histogram, MAX_MINUTES, Minute};
use crate::job::QueueName;
use crate::time::Timestamp;

/// Old rows removed for each new one at the most.
const TRIM: u32 = 10;
const COLUMNS: &str = "minute, completed, failed, wait, run";

/// Adds to the row of a minute.
pub(super) fn store(conn: &Connection, q: i64, number: i64, counted: &Minute) -> Result<(), Fault> {
    let mut find = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM minutes WHERE q = ?1 AND minute = ?2"))?;
    let known = find.query_row(params![q, number], |row| Ok(read(row))).optional()?.transpose()?;
    let is_new = known.is_none();
    let mut minute = known.unwrap_or_else(|| Minute::of(number));
    minute.merge(counted);
    let mut write = conn.prepare_cached(
        "INSERT INTO minutes (q, minute, completed, failed, wait, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (q, minute) DO UPDATE SET completed = excluded.completed, failed = excluded.failed, \
         wait = excluded.wait, run = excluded.run",
    )?;
    write.execute(params![q, number, minute.completed, minute.failed, text(&minute.wait)?, text(&minute.run)?])?;
    if is_new {
        let mut trim = conn.prepare_cached(
            "DELETE FROM minutes WHERE q = ?1 AND minute IN \
             (SELECT minute FROM minutes WHERE q = ?1 AND minute <= ?2 ORDER BY minute LIMIT ?3)",
        )?;
        trim.execute(params![q, number.saturating_sub(i64::from(MAX_MINUTES)), TRIM])?;
    }
    Ok(())
}

/// Newest first.
pub(super) fn list(
    conn: &Connection,
    queue: &QueueName,
    before: Option<Timestamp>,
    most: u32,
) -> Result<Vec<Minute>, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else { return Ok(Vec::new()) };
    let mut find = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM minutes WHERE q = ?1 AND minute < ?2 ORDER BY minute DESC LIMIT ?3"
    ))?;
    let mut rows = find.query(params![lane.q, before.map_or(i64::MAX, Minute::number), most])?;
    let mut minutes = Vec::new();
    while let Some(row) = rows.next()? {
        minutes.push(read(row)?);
    }
    Ok(minutes)
}

fn read(row: &Row<'_>) -> Result<Minute, Fault> {
    Ok(Minute {
        completed: row.get(1)?,
        failed: row.get(2)?,
        wait: histogram(&row.get::<_, String>(3)?),
        run: histogram(&row.get::<_, String>(4)?),
        ..Minute::of(row.get(0)?)
    })
}

fn text(times: &Histogram) -> Result<String, Fault> {
    serde_json::to_string(times).map_err(|error| Fault::Damaged { what: "minutes", why: error.to_string() })
}

/// One that cannot be read is empty: no job must wait for it.
fn histogram(text: &str) -> Histogram {
    serde_json::from_str(text).unwrap_or_default()
}
