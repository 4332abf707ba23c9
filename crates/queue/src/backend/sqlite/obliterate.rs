//! A whole queue is removed, in steps of a bounded number of rows.

use rusqlite::{Connection, params};

use super::dedup;
use super::fault::Fault;
use super::flow;
use super::lane::Lane;
use super::row::{self, Row};
use super::scribe::Tx;
use crate::backend::{HeldJobs, MAX_READ, Obliterated};
use crate::job::{JobId, QueueName};
use crate::state::Place;
use crate::time::Timestamp;

const JOBS: &str = "SELECT row, place, priority, flags, k1, id FROM jobs WHERE q = ?1 ORDER BY id LIMIT ?2";

/// What else a queue has, by table and key.
const REST: [&str; 8] = [
    "DELETE FROM dedups WHERE (q, id) IN (SELECT q, id FROM dedups WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM lasts WHERE (q, owner) IN (SELECT q, owner FROM lasts WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM ticks WHERE (q, id, first) IN (SELECT q, id, first FROM ticks WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM repeats WHERE (q, id) IN (SELECT q, id FROM repeats WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM groups WHERE (q, number) IN (SELECT q, number FROM groups WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM minutes WHERE (q, minute) IN (SELECT q, minute FROM minutes WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM workers WHERE (q, id) IN (SELECT q, id FROM workers WHERE q = ?1 LIMIT ?2)",
    "DELETE FROM fairs WHERE q IN (SELECT q FROM fairs WHERE q = ?1 LIMIT ?2)",
];
const EVENTS: &str =
    "DELETE FROM events WHERE pos IN (SELECT pos FROM events WHERE pos >= ?1 AND pos < ?2 ORDER BY pos LIMIT ?3)";

pub(super) fn obliterate(
    tx: &mut Tx<'_>,
    (queue, held, most, now): &(QueueName, HeldJobs, u32, Timestamp),
) -> Result<Obliterated, Fault> {
    if !tx.has(queue)? {
        return Ok(Obliterated::All(0));
    }
    let (conn, _, lane) = tx.lane(queue)?;
    if !lane.paused {
        return Ok(Obliterated::NotPaused);
    }
    if *held == HeldJobs::Refuse && lane.counts.active > 0 {
        return Ok(Obliterated::Held);
    }
    let gone = remove_jobs(conn, lane, *most, *now)?;
    flow::pass_on(tx, queue, *now)?;
    let (conn, _, lane) = tx.lane(queue)?;
    if gone == *most || !remove_rest(conn, lane.q)? {
        return Ok(Obliterated::More(gone));
    }
    conn.prepare_cached("UPDATE queues SET grouped = 0 WHERE q = ?1")?.execute([lane.q])?;
    lane.wipe();
    Ok(Obliterated::All(gone))
}

fn remove_jobs(conn: &Connection, lane: &mut Lane, most: u32, now: Timestamp) -> Result<u32, Fault> {
    let mut find = conn.prepare_cached(JOBS)?;
    let found = find.query_map(params![lane.q, most], |row| {
        // A damaged row goes with the others.
        let place = row::place(row.get(1)?).unwrap_or(Place::Ready);
        let job =
            Row { row: row.get(0)?, place, k1: row.get(4)?, priority: row.get(2)?, flags: row.get(3)?, settled: None };
        Ok((job, JobId::stored(row.get::<_, String>(5)?)))
    })?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    for (job, id) in &found {
        dedup::removing(conn, lane, job, id)?;
        job.remove(conn, lane, now)?;
    }
    Ok(found.len() as u32)
}

/// As many rows of what else there is as of jobs in the largest step; answers whether nothing is left.
fn remove_rest(conn: &Connection, q: i64) -> Result<bool, Fault> {
    let mut left = i64::from(MAX_READ);
    for delete in REST {
        left -= conn.prepare_cached(delete)?.execute([q, left.max(0)])? as i64;
    }
    let (first, end) = (Lane::event_key(q, 0), Lane::event_key(q + 1, 0));
    left -= conn.prepare_cached(EVENTS)?.execute([first, end, left.max(0)])? as i64;
    Ok(left > 0)
}
