//! Changes to single jobs, and orders to a whole queue.

use rusqlite::{Connection, params};
use std::sync::Arc;

use super::dedup;
use super::fault::Fault;
use super::flow;
use super::groups;
use super::lane::Lane;
use super::read;
use super::repeat;
use super::row::{self, BODY, CANCELED, INLINE, LOGS, Lifo, Row, SIDE};
use super::scribe::Tx;
use super::turn::side;
use crate::backend::flow::News;
use crate::backend::groups::ranges;
use crate::backend::*;
use crate::event::Event;
use crate::job::{JobId, Payload, QueueName};
use crate::state::{Place, State};
use crate::time::Timestamp;

pub(super) fn edit(tx: &mut Tx<'_>, (all, now): &(EditAll, Timestamp)) -> Result<Vec<Edited>, Fault> {
    let mut edited = Vec::with_capacity(all.edits.len());
    for edit in &all.edits {
        let (conn, _, lane) = tx.lane(&all.queue)?;
        edited.push(edit_one(conn, lane, edit, *now)?);
        flow::pass_on(tx, &all.queue, *now)?;
    }
    Ok(edited)
}

pub(super) fn control(tx: &mut Tx<'_>, (queue, what, now): &(QueueName, Control, Timestamp)) -> Result<(), Fault> {
    let (conn, _, lane) = tx.lane(queue)?;
    match *what {
        Control::Pause => pause(lane, true),
        Control::Resume => pause(lane, false),
        Control::Concurrency(most) => lane.limits.concurrency = most,
        Control::Rate(rate) => lane.limits.rate = rate,
        Control::HoldUntil(until) => lane.limits.hold(until),
        Control::ClearRate => lane.limits.clear(),
        Control::GroupDefaults(defaults) => groups::set_defaults(conn, lane, defaults, *now)?,
    }
    lane.ring = true;
    Ok(())
}

fn pause(lane: &mut Lane, paused: bool) {
    if lane.paused != paused {
        lane.paused = paused;
        lane.tell(if paused { Event::Paused } else { Event::Resumed });
    }
}

fn edit_one(conn: &Connection, lane: &mut Lane, edit: &Edit, now: Timestamp) -> Result<Edited, Fault> {
    let id = match edit {
        Edit::Progress(id, _)
        | Edit::Log(id, _)
        | Edit::Data(id, _)
        | Edit::Promote(id)
        | Edit::Retry(id, _)
        | Edit::Remove(id)
        | Edit::Cancel(id)
        | Edit::Detach(id) => id,
        Edit::FreeDedup(key) if dedup::free(conn, lane, key, now)? => return Ok(Edited::Done),
        Edit::FreeDedup(_) => return Ok(Edited::Missing),
        Edit::Schedule(put) => return repeat::put(conn, lane, put, now),
        Edit::Unschedule(id) => return repeat::remove(conn, lane, id, now),
        Edit::Advance(step) => return repeat::advance(conn, lane, step, now),
    };
    let Some(row) = Row::find(conn, lane, id)? else {
        return Ok(Edited::Missing);
    };
    let state = row.place.state(row.priority);
    match edit {
        Edit::Progress(_, value) => {
            side(conn, row.row, "progress", value.as_str())?;
            set_flag(conn, &row, SIDE)?;
            lane.tell(Event::progress(id.clone(), value));
        }
        Edit::Log(_, lines) => append(conn, &row, lines)?,
        Edit::Data(_, data) => replace(conn, &row, data)?,
        Edit::Promote(_) if state == State::Delayed => {
            row.make_ready(conn, lane, Lifo::Ignored, now)?;
            lane.tell(Event::Waiting { id: id.clone(), prev: Some(State::Delayed) });
        }
        Edit::Retry(_, made) if state.is_final() => revive(conn, lane, &row, id, *made, now)?,
        Edit::Promote(_) | Edit::Retry(..) => return Ok(Edited::WrongState(state)),
        Edit::Remove(_) => {
            if state == State::Active && row.k1 > now.millis() {
                return Ok(Edited::Locked);
            }
            dedup::removing(conn, lane, &row, id)?;
            row.remove(conn, lane, now)?;
            // A slot of a full queue may be free now.
            lane.ring |= state == State::Active;
            lane.tell(Event::Removed { id: id.clone(), prev: state });
        }
        Edit::Cancel(_) if state.is_final() => return Ok(Edited::WrongState(state)),
        Edit::Cancel(_) => {
            set_flag(conn, &row, CANCELED)?;
            if state == State::WaitingChildren {
                row.make_ready(conn, lane, Lifo::Front, now)?;
                lane.tell(Event::Waiting { id: id.clone(), prev: Some(state) });
            }
            lane.ring = true;
        }
        Edit::Detach(_) if !flow::detach(conn, lane, &row, id)? => return Ok(Edited::NoParent),
        Edit::Detach(_) => {}
        // Answered above: they are about no job.
        Edit::FreeDedup(_) | Edit::Schedule(_) | Edit::Unschedule(_) | Edit::Advance(_) => {}
    }
    Ok(Edited::Done)
}

/// A finished job becomes ready again; what it answered is forgotten.
pub(super) fn revive(
    conn: &Connection,
    lane: &mut Lane,
    row: &Row,
    id: &JobId,
    made: Made,
    now: Timestamp,
) -> Result<(), Fault> {
    if row.flags & SIDE != 0 {
        conn.prepare_cached("UPDATE sides SET result = NULL, failure = NULL WHERE row = ?1")?.execute([row.row])?;
    }
    let keep = i64::from(made == Made::Keep);
    conn.prepare_cached(
        "UPDATE jobs SET processed_on = NULL, finished_on = NULL, made = made * ?2, started = started * ?2, \
         stalls = stalls * ?2 WHERE row = ?1",
    )?
    .execute(params![row.row, keep])?;
    flow::note(conn, lane, (row.row, row.flags), id, News::Again)?;
    row.make_ready(conn, lane, Lifo::Honoured, now)?;
    lane.tell(Event::Waiting { id: id.clone(), prev: Some(row.place.state(row.priority)) });
    Ok(())
}

fn set_flag(conn: &Connection, row: &Row, flag: i64) -> Result<(), Fault> {
    if row.flags & flag == 0 {
        conn.prepare_cached("UPDATE jobs SET flags = flags | ?2 WHERE row = ?1")?.execute([row.row, flag])?;
    }
    Ok(())
}

fn replace(conn: &Connection, row: &Row, data: &Payload) -> Result<(), Fault> {
    let text = data.as_str();
    let inline = text.len() <= INLINE;
    let flags = if inline { row.flags & !BODY } else { row.flags | BODY };
    conn.prepare_cached("UPDATE jobs SET data = ?2, flags = ?3 WHERE row = ?1")?.execute(params![
        row.row,
        inline.then_some(text),
        flags
    ])?;
    if inline {
        return row::remove_sides(conn, row.row, row.flags & BODY);
    }
    conn.prepare_cached(
        "INSERT INTO bodies (row, data) VALUES (?1, ?2) ON CONFLICT (row) DO UPDATE SET data = excluded.data",
    )?
    .execute(params![row.row, text])?;
    Ok(())
}

fn append(conn: &Connection, row: &Row, lines: &[Arc<str>]) -> Result<(), Fault> {
    let options: String =
        conn.prepare_cached("SELECT opts FROM jobs WHERE row = ?1")?.query_row([row.row], |row| row.get(0))?;
    let keep =
        row::decode_options(&options).ok().and_then(|options| options.keep_logs).unwrap_or(MAX_LOGS).min(MAX_LOGS);
    let mut last: i64 = conn
        .prepare_cached("SELECT COALESCE(MAX(n), 0) FROM logs WHERE row = ?1")?
        .query_row([row.row], |row| row.get(0))?;
    let mut insert = conn.prepare_cached("INSERT INTO logs (row, n, line) VALUES (?1, ?2, ?3)")?;
    for line in lines {
        last += 1;
        insert.execute(params![row.row, last, cut_line(line)])?;
    }
    conn.prepare_cached("DELETE FROM logs WHERE row = ?1 AND n <= ?2")?
        .execute(params![row.row, last - i64::from(keep)])?;
    set_flag(conn, row, LOGS)
}

/// One step over many jobs of a place, first in order first.
pub(super) fn sweep(tx: &mut Tx<'_>, (sweep, now): &(Sweep, Timestamp)) -> Result<Swept, Fault> {
    let (conn, _, lane) = tx.lane(&sweep.queue)?;
    let (place, last) = match sweep.what {
        SweepWhat::Clean(state, before) => (Place::of(state), before.millis()),
        SweepWhat::DrainWaiting => (Place::Ready, i64::MAX),
        SweepWhat::DrainDelayed | SweepWhat::PromoteDelayed => (Place::Delayed, i64::MAX),
        SweepWhat::RetryFailed(before) => (Place::Failed, before.millis()),
    };
    let mut find = conn.prepare_cached(
        "SELECT row, priority, flags, id, k1, k2, name, since FROM jobs \
         WHERE q = ?1 AND place = ?2 AND (k1, k2) > (?3, ?4) AND k1 <= ?5 ORDER BY k1, k2 LIMIT ?6",
    )?;
    let mut found = Vec::new();
    for (after, last) in ranges(place, sweep.after, last) {
        let left = sweep.most as usize - found.len();
        let rows = find.query_map(params![lane.q, place as i64, after.0, after.1, last, left as i64], |row| {
            let found = Row {
                row: row.get(0)?,
                place,
                k1: row.get(4)?,
                priority: row.get(1)?,
                flags: row.get(2)?,
                settled: None,
            };
            let since = Timestamp::from_millis(row.get(7)?);
            Ok((found, row.get::<_, String>(3)?, Cursor(row.get(4)?, row.get(5)?), row.get::<_, String>(6)?, since))
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    let scanned = found.len() as u32;
    let next = found.last().filter(|_| scanned == sweep.most).map(|(_, _, cursor, _, _)| *cursor);
    let mut done = Vec::with_capacity(found.len());
    for (row, id, _, name, since) in found {
        let failure = if sweep.pick.asks_why() { read::failure(conn, &row)? } else { None };
        let group = if sweep.pick.group.is_some() { groups::of(conn, &row)? } else { None };
        if !sweep.pick.chooses(&name, group.as_ref(), since, failure.as_ref()) {
            continue;
        }
        let id = JobId::stored(id);
        if sweep.dry {
            done.push(id);
            continue;
        }
        match sweep.what {
            SweepWhat::Clean(..) | SweepWhat::DrainWaiting | SweepWhat::DrainDelayed => {
                dedup::removing(conn, lane, &row, &id)?;
                row.remove(conn, lane, *now)?;
            }
            SweepWhat::RetryFailed(_) => revive(conn, lane, &row, &id, Made::Keep, *now)?,
            SweepWhat::PromoteDelayed => {
                row.make_ready(conn, lane, Lifo::Ignored, *now)?;
                lane.tell(Event::Waiting { id: id.clone(), prev: Some(State::Delayed) });
            }
        }
        done.push(id);
    }
    if matches!(sweep.what, SweepWhat::Clean(..)) && !sweep.dry {
        lane.tell(Event::Cleaned { count: done.len() as u64 });
    }
    flow::pass_on(tx, &sweep.queue, *now)?;
    Ok(Swept { done, scanned, next })
}
