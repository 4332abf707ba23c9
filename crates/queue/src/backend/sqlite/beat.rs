//! Signs of life, and what happens when they stop.

use rusqlite::{OptionalExtension, params};

use super::fault::Fault;
use super::flow;
use super::groups;
use super::row::{CANCELED, Row, STALLED_OUT};
use super::scribe::Tx;
use crate::backend::*;
use crate::event::Event;
use crate::job::JobId;
use crate::options::GROUPED_CLASS;
use crate::state::{Place, State};
use crate::time::Timestamp;

const RENEW: &str = "UPDATE jobs SET k1 = ?4 WHERE row = ?1 AND token = ?2 AND place = 2 AND k1 > ?3 AND q = ?5 AND id = ?6 \
    RETURNING flags";

pub(super) fn beat(tx: &mut Tx<'_>, (beat, now): &(Beat, Timestamp)) -> Result<Beaten, Fault> {
    let (conn, _, lane) = tx.lane(&beat.queue)?;
    let mut beaten = Beaten { paused: lane.paused, ..Beaten::default() };
    let mut renew = conn.prepare_cached(RENEW)?;
    let until = now.plus(beat.lock_for).millis();
    for lock in &beat.locks {
        let row = match lock.row {
            0 => Row::find(conn, lane, &lock.id)?.map_or(0, |found| found.row),
            row => row,
        };
        let args = params![row, lock.token.as_str(), now.millis(), until, lane.q, lock.id.as_str()];
        match renew.query_row(args, |row| row.get::<_, i64>(0)).optional()? {
            Some(flags) if flags & CANCELED != 0 => beaten.cancel.push(lock.id.clone()),
            Some(_) => {}
            None => beaten.lost.push(lock.id.clone()),
        }
    }
    let info = serde_json::to_string(&beat.worker)
        .map_err(|error| Fault::Damaged { what: "workers", why: error.to_string() })?;
    conn.prepare_cached(
        "INSERT INTO workers (q, id, seen, info) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (q, id) DO UPDATE SET seen = excluded.seen, info = excluded.info",
    )?
    .execute(params![lane.q, &*beat.worker.id, now.millis(), info])?;
    conn.prepare_cached("DELETE FROM workers WHERE q = ?1 AND seen <= ?2")?
        .execute(params![lane.q, now.minus(WORKER_GONE).millis()])?;
    flow::purge(conn, flow::PURGE)?;
    Ok(beaten)
}

/// Jobs whose lock has run out. `?1` q, `?2` now, `?3` how many.
const EXPIRED: &str =
    "SELECT row, priority, stalls, id FROM jobs WHERE q = ?1 AND place = 2 AND k1 <= ?2 ORDER BY k1, k2 LIMIT ?3";

pub(super) fn rescue(tx: &mut Tx<'_>, (rescue, now): &(Rescue, Timestamp)) -> Result<Rescued, Fault> {
    let (conn, _, lane) = tx.lane(&rescue.queue)?;
    let expired = conn
        .prepare_cached(EXPIRED)?
        .query_map(params![lane.q, now.millis(), rescue.most], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?, row.get::<_, String>(3)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut put_back = conn.prepare_cached(
        "UPDATE jobs SET place = 0, k1 = priority, k2 = ?2, since = ?3, stalls = stalls + 1, flags = flags | ?4, \
         token = NULL WHERE row = ?1",
    )?;
    // Backwards, so that the job that was to expire first ends up in front.
    for (row, priority, stalls, id) in expired.iter().rev() {
        let doomed = if stalls + 1 > rescue.max_stalled { STALLED_OUT } else { 0 };
        let turn = lane.front();
        put_back.execute(params![row, turn, now.millis(), doomed])?;
        lane.moved(*priority, Place::Active, Place::Ready);
        if *priority == GROUPED_CLASS {
            groups::returned(conn, lane, *row, groups::To::Front, *now)?;
        }
        let id = JobId::stored(id.as_str());
        lane.tell(Event::Waiting { id: id.clone(), prev: Some(State::Active) });
        lane.tell(Event::Stalled { id });
    }
    lane.ring |= !expired.is_empty();
    let more = expired.len() == rescue.most as usize;
    Ok(Rescued { jobs: expired.into_iter().map(|(_, _, _, id)| JobId::stored(id)).collect(), more })
}
