//! Handing out jobs: those whose time has come become ready, the first in order are locked.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::fault::Fault;
use super::flow;
use super::groups;
use super::lane::Lane;
use super::row::{self, CANCELED, OptionsCache, Row, STALLED_OUT};
use crate::backend::groups::next;
use crate::backend::*;
use crate::event::Event;
use crate::exit::Failure;
use crate::job::{JobId, Payload};
use crate::options::GROUPED_CLASS;
use crate::state::{Doom, Place, State};
use crate::time::Timestamp;

/// `?1` q, `?2` how many, `?3` now. The columns are what the job will hold once it is taken.
const NEXT: &str = "SELECT row, id, name, data, opts, priority, flags, created, made, started + 1, stalls, ?3, since FROM jobs \
    WHERE q = ?1 AND place = 0 ORDER BY k1, k2 LIMIT ?2";

/// `?1` row, `?2` now; the same columns.
const ONE: &str = "SELECT row, id, name, data, opts, priority, flags, created, made, started + 1, stalls, ?2, since FROM jobs \
    WHERE row = ?1";

/// `?1` row, `?2` until, `?3` token, `?4` now, `?5` worker, `?6` turn.
const LOCK: &str = "UPDATE jobs SET place = 2, k1 = ?2, k2 = ?6, token = ?3, since = ?4, processed_on = ?4, worker = ?5, \
    started = started + 1 WHERE row = ?1";

/// `?1` q, `?2` now, `?3` token.
const RESUME: &str = "SELECT row, id, name, data, opts, priority, flags, created, made, started, stalls, processed_on, since \
    FROM jobs WHERE q = ?1 AND place = 2 AND k1 > ?2 AND token = ?3 ORDER BY priority, k2";

/// A job that is read to be taken.
pub(super) struct Taken {
    pub(super) priority: u32,
    pub(super) flags: i64,
    pub(super) waited: Duration,
    pub(super) held: Held,
}

pub(super) fn take(
    conn: &Connection,
    cache: &mut OptionsCache,
    lane: &mut Lane,
    wish: &Take,
    worker: &Arc<str>,
    now: Timestamp,
) -> Result<(Vec<Held>, Next), Fault> {
    if wish.mode == TakeMode::Resume {
        let mut resume = conn.prepare_cached(RESUME)?;
        let rows = resume.query(params![lane.q, now.millis(), wish.token.as_str()])?;
        let taken = read(conn, cache, rows, wish)?;
        if !taken.is_empty() {
            return Ok((taken.into_iter().map(|taken| taken.held).collect(), Next::More));
        }
    }
    let promoted = promote_due(conn, lane, now)?;
    if lane.paused {
        return Ok((Vec::new(), Next::Paused));
    }
    let mut held = Vec::new();
    let woken = groups::wake(conn, lane, now)?;
    let most = wish.most.min(lane.room(wish.rate, now).most);
    let takeable = groups::takeable(conn, lane)?;
    if takeable > 0 && most > 0 {
        let until = now.plus(wish.lock_for).millis();
        let mut first = conn.prepare_cached(NEXT)?;
        let rows = first.query(params![lane.q, takeable.min(most as u64) as i64, now.millis()])?;
        let taken = read(conn, cache, rows, wish)?;
        let mut lock = conn.prepare_cached(LOCK)?;
        held.reserve(taken.len());
        let mut heads = Vec::new();
        for job in taken {
            if job.priority == GROUPED_CLASS {
                heads.push(job);
                continue;
            }
            lock.execute(params![job.held.lock.row, until, wish.token.as_str(), now.millis(), &**worker, lane.back()])?;
            held.push(self::taken(lane, job, now));
        }
        if !heads.is_empty() {
            let by = groups::By { wish, worker, most: most - held.len(), now };
            held.extend(groups::hand_out(conn, cache, lane, heads, by)?);
        }
        let started = held.iter().filter(|held| held.failed_already.is_none()).count();
        lane.limits.started(started as u32, wish.rate, now);
    }
    let next = match (promoted.max(woken), groups::takeable(conn, lane)?) {
        (MAX_PROMOTE, _) => Next::More,
        (_, 0) => next_due(conn, lane)?,
        _ => lane.room(wish.rate, now).next,
    };
    Ok((held, next))
}

/// Counts and tells a job that has been locked.
pub(super) fn taken(lane: &mut Lane, job: Taken, now: Timestamp) -> Held {
    lane.minute(now).wait.add(job.waited);
    lane.moved(job.priority, Place::Ready, Place::Active);
    lane.tell(Event::Active { id: job.held.lock.id.clone(), prev: State::ready(job.priority) });
    job.held
}

/// Reads one job to be taken.
pub(super) fn read_row(
    conn: &Connection,
    cache: &mut OptionsCache,
    row: i64,
    wish: &Take,
    now: Timestamp,
) -> Result<Option<Taken>, Fault> {
    let mut one = conn.prepare_cached(ONE)?;
    let rows = one.query(params![row, now.millis()])?;
    Ok(read(conn, cache, rows, wish)?.pop())
}

fn read(
    conn: &Connection,
    cache: &mut OptionsCache,
    mut rows: rusqlite::Rows<'_>,
    wish: &Take,
) -> Result<Vec<Taken>, Fault> {
    let mut taken = Vec::new();
    while let Some(row) = rows.next()? {
        let taken_at = Timestamp::from_millis(row.get(11)?);
        let waited = taken_at.since(Timestamp::from_millis(row.get(12)?));
        let held = read_one(conn, cache, row, &wish.token)?;
        taken.push(Taken { priority: row.get(5)?, flags: row.get(6)?, waited, held });
    }
    Ok(taken)
}

/// A job that was stored damaged is handed out to be failed: it must not keep those behind it from being taken.
fn read_one(conn: &Connection, cache: &mut OptionsCache, row: &SqlRow<'_>, token: &Token) -> Result<Held, Fault> {
    let number: i64 = row.get(0)?;
    let stored = match text_or_null(row, 3)? {
        Some(text) => Ok(Payload::stored(text)),
        None => body(conn, number)?.ok_or_else(|| Failure::damaged("its data is missing")),
    };
    let known = cache.decode(text(row, 4)?).map_err(|fault| Failure::damaged(&fault.to_string()));
    let damage = stored.as_ref().err().or(known.as_ref().err()).cloned();
    let options = known.unwrap_or_default();
    let (flags, started): (i64, u32) = (row.get(6)?, row.get(9)?);
    let processed_on = Timestamp::from_millis(row.get(11)?);
    let doom = Doom {
        stalled_out: flags & STALLED_OUT != 0,
        canceled: flags & CANCELED != 0,
        start_before: options.start_before,
        started: started > 1,
    };
    Ok(Held {
        lock: Lock { id: JobId::stored(text(row, 1)?), token: token.clone(), row: number },
        name: text(row, 2)?.into(),
        data: stored.unwrap_or_else(|_| Payload::null()),
        options,
        made: row.get(8)?,
        started,
        stalls: row.get(10)?,
        timestamp: Timestamp::from_millis(row.get(7)?),
        failed_already: damage.or_else(|| doom.failure(processed_on)).or(flow::failed_child(conn, number, flags)?),
    })
}

/// The data of a job whose row says that it lies elsewhere.
pub(super) fn body(conn: &Connection, row: i64) -> Result<Option<Payload>, Fault> {
    let mut read = conn.prepare_cached("SELECT data FROM bodies WHERE row = ?1")?;
    Ok(read.query_row([row], |row| row.get::<_, String>(0)).optional()?.map(Payload::stored))
}

fn promote_due(conn: &Connection, lane: &mut Lane, now: Timestamp) -> Result<usize, Fault> {
    if lane.counts.delayed == 0 {
        return Ok(0);
    }
    let mut due = conn.prepare_cached(
        "SELECT row, priority, flags, id FROM jobs WHERE q = ?1 AND place = 1 AND k1 <= ?2 ORDER BY k1, k2 LIMIT ?3",
    )?;
    let rows = due
        .query_map(params![lane.q, now.millis(), MAX_PROMOTE as i64], |row| {
            let found = Row {
                row: row.get(0)?,
                place: Place::Delayed,
                k1: 0,
                priority: row.get(1)?,
                flags: row.get(2)?,
                settled: None,
            };
            Ok((found, row.get::<_, String>(3)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    for (row, id) in &rows {
        row.make_ready(conn, lane, row::Lifo::Ignored, now)?;
        lane.tell(Event::Waiting { id: JobId::stored(id.as_str()), prev: Some(State::Delayed) });
    }
    Ok(rows.len())
}

fn next_due(conn: &Connection, lane: &mut Lane) -> Result<Next, Fault> {
    let group = groups::next_due(conn, lane)?;
    if lane.counts.delayed == 0 {
        return Ok(next(lane.ready() > 0, None, group));
    }
    let mut first = conn.prepare_cached("SELECT k1 FROM jobs WHERE q = ?1 AND place = 1 ORDER BY k1, k2 LIMIT 1")?;
    let due = first.query_row([lane.q], |row| row.get::<_, i64>(0)).optional()?;
    Ok(next(lane.ready() > 0, due.map(Timestamp::from_millis), group))
}

/// A text column, or NULL, without a copy.
fn text_or_null<'a>(row: &'a SqlRow<'_>, column: usize) -> Result<Option<&'a str>, Fault> {
    row.get_ref(column)?.as_str_or_null().map_err(|error| Fault::Damaged { what: "jobs", why: error.to_string() })
}

fn text<'a>(row: &'a SqlRow<'_>, column: usize) -> Result<&'a str, Fault> {
    row.get_ref(column)?.as_str().map_err(|error| Fault::Damaged { what: "jobs", why: error.to_string() })
}
