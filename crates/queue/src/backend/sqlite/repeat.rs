//! Job schedulers. Only jobs whose id says that a scheduler made them lead here.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};

use super::add;
use super::fault::Fault;
use super::lane::Lane;
use super::row::{self, Row};
use super::ticks;
use crate::backend::repeat::{Old, holds_up, is_stuck, iteration, plan, spent, standing};
use crate::backend::*;
use crate::event::Event;
use crate::job::{JobId, Payload, QueueName};
use crate::repeat::Repeat;
use crate::state::Place;
use crate::time::Timestamp;

const FIND: &str = "SELECT slot, made, def, data FROM repeats WHERE q = ?1 AND id = ?2";
const PUT: &str = "INSERT INTO repeats (q, id, slot, made, def, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
    ON CONFLICT (q, id) DO UPDATE SET slot = excluded.slot, made = excluded.made, def = excluded.def, \
    data = excluded.data";
const MOVE: &str = "UPDATE repeats SET slot = ?3, made = ?4 WHERE q = ?1 AND id = ?2";
const AFTER: &str = "SELECT slot, made, def, data FROM repeats WHERE q = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
const OVERDUE: &str = "SELECT slot, id FROM repeats WHERE q = ?1 AND slot < ?2 AND (slot, id) > (?3, ?4) \
    ORDER BY slot, id LIMIT ?5";

/// Puts a definition in place and its job into its slot.
pub(super) fn put(conn: &Connection, lane: &mut Lane, put: &Put, now: Timestamp) -> Result<Edited, Fault> {
    let id = &put.repeat.id;
    let found = find(conn, lane, id)?;
    let job = match found.as_ref().and_then(|old| old.slot) {
        Some(slot) => Row::find(conn, lane, &JobId::of_iteration(id, slot))?,
        None => None,
    };
    let place = job.as_ref().map(|job| stands(conn, job)).transpose()?;
    let old = found.as_ref().map(|old| Old { repeat: &old.repeat, slot: old.slot, count: old.count, place });
    let plan = plan(put, old.as_ref(), now);
    if let Some(slot) = plan.slot.filter(|slot| plan.make && plan.remove != Some(*slot))
        && let Some(taken) = Row::find(conn, lane, &JobId::of_iteration(id, slot))?
    {
        return Ok(Edited::WrongState(taken.place.state(taken.priority)));
    }
    if let (Some(slot), Some(job)) = (plan.remove, job) {
        withdraw(conn, lane, &job, JobId::of_iteration(id, slot), now)?;
    }
    if let Some(slot) = plan.slot.filter(|_| plan.make) {
        make(conn, lane, &put.repeat, slot, now)?;
    }
    let text = serde_json::to_string(&*put.repeat)
        .map_err(|error| Fault::Damaged { what: "repeats.def", why: error.to_string() })?;
    let slot = plan.slot.map(Timestamp::millis);
    let row = params![lane.q, &**id, slot, plan.count, text, put.repeat.data.as_str()];
    conn.prepare_cached(PUT)?.execute(row)?;
    ticks::note(conn, lane, id, plan.missed)?;
    Ok(plan.slot.map_or(Edited::Done, Edited::Due))
}

/// Removes a definition with its ticks, and its job if that still waits for its slot.
pub(super) fn remove(conn: &Connection, lane: &mut Lane, id: &str, now: Timestamp) -> Result<Edited, Fault> {
    let mut delete = conn.prepare_cached("DELETE FROM repeats WHERE q = ?1 AND id = ?2 RETURNING slot")?;
    let slot = delete.query_row(params![lane.q, id], |row| row.get::<_, Option<i64>>(0)).optional()?;
    let Some(slot) = slot else {
        return Ok(Edited::Missing);
    };
    ticks::forget(conn, lane, id)?;
    if let Some(slot) = slot.map(Timestamp::from_millis) {
        let job = JobId::of_iteration(id, slot);
        if let Some(row) = Row::find(conn, lane, &job)?
            && stands(conn, &row)? == Place::Delayed
        {
            withdraw(conn, lane, &row, job, now)?;
        }
    }
    Ok(Edited::Done)
}

/// Makes the next job of a scheduler that stands at the given slot.
pub(super) fn advance(conn: &Connection, lane: &mut Lane, step: &Advance, now: Timestamp) -> Result<Edited, Fault> {
    let Some(old) = find(conn, lane, &step.id)?.filter(|old| old.slot == Some(step.slot)) else {
        return Ok(Edited::Missing);
    };
    let job = Row::find(conn, lane, &JobId::of_iteration(&step.id, step.slot))?;
    if holds_up(&old.repeat, job.map(|job| job.place)) {
        ticks::note(conn, lane, &step.id, [step.tick])?;
        return Ok(Edited::Locked);
    }
    let mut stand = conn.prepare_cached(MOVE)?;
    let Some(next) = step.next.filter(|_| !spent(&old.repeat, old.count)) else {
        stand.execute(params![lane.q, &*step.id, None::<i64>, old.count])?;
        ticks::note(conn, lane, &step.id, step.ticks())?;
        return Ok(Edited::Done);
    };
    if let Some(taken) = Row::find(conn, lane, &JobId::of_iteration(&step.id, next))? {
        return Ok(Edited::WrongState(taken.place.state(taken.priority)));
    }
    make(conn, lane, &old.repeat, next, now)?;
    stand.execute(params![lane.q, &*step.id, next.millis(), old.count + 1])?;
    ticks::note(conn, lane, &step.id, step.ticks())?;
    Ok(Edited::Due(next))
}

fn make(conn: &Connection, lane: &mut Lane, repeat: &Repeat, slot: Timestamp, now: Timestamp) -> Result<(), Fault> {
    lane.next_id();
    let (id, job) = iteration(repeat, slot, now);
    let opts = row::encode_options(&job.options)?;
    let mut insert = conn.prepare_cached(add::INSERT)?;
    add::store(&mut insert, conn, lane, (&id, &job, &opts), now)?;
    lane.ring = true;
    Ok(())
}

fn stands(conn: &Connection, job: &Row) -> Result<Place, Fault> {
    let mut started = conn.prepare_cached("SELECT started FROM jobs WHERE row = ?1")?;
    Ok(standing(job.place, started.query_row([job.row], |row| row.get(0))?))
}

fn withdraw(conn: &Connection, lane: &mut Lane, row: &Row, id: JobId, now: Timestamp) -> Result<(), Fault> {
    row.remove(conn, lane, now)?;
    lane.tell(Event::Removed { id, prev: row.place.state(row.priority) });
    Ok(())
}

fn find(conn: &Connection, lane: &Lane, id: &str) -> Result<Option<Scheduled>, Fault> {
    let mut find = conn.prepare_cached(FIND)?;
    let mut rows = find.query(params![lane.q, id])?;
    rows.next()?.map(scheduled).transpose()
}

fn readable(conn: &Connection, lane: &Lane, id: &str) -> Result<Option<Scheduled>, Fault> {
    undamaged(lane, find(conn, lane, id))
}

/// A damaged definition must not hold up or hide those beside it. It can be dropped.
fn undamaged(lane: &Lane, found: Result<Option<Scheduled>, Fault>) -> Result<Option<Scheduled>, Fault> {
    match found {
        Err(fault @ Fault::Damaged { .. }) => {
            tracing::error!(queue = %lane.name, %fault, "a scheduler cannot be read");
            Ok(None)
        }
        found => found,
    }
}

fn scheduled(row: &SqlRow<'_>) -> Result<Scheduled, Fault> {
    let repeat: Repeat = serde_json::from_str(&row.get::<_, String>(2)?)
        .map_err(|error| Fault::Damaged { what: "repeats.def", why: error.to_string() })?;
    let repeat = Arc::new(Repeat { data: Payload::stored(row.get::<_, String>(3)?), ..repeat });
    let slot = row.get::<_, Option<i64>>(0)?.map(Timestamp::from_millis);
    Ok(Scheduled { repeat, slot, count: row.get(1)? })
}

pub(super) fn list(conn: &Connection, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(RepeatPage::default());
    };
    match wanted {
        Repeats::Ids(ids) => {
            let mut found = Vec::new();
            for id in ids.iter().take(most as usize) {
                found.extend(readable(conn, &lane, id)?);
            }
            Ok(RepeatPage { found, next: None })
        }
        Repeats::After(after) => {
            let mut read = conn.prepare_cached(AFTER)?;
            let mut rows = read.query(params![lane.q, after.as_deref().unwrap_or_default(), most])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(undamaged(&lane, scheduled(row).map(Some))?);
            }
            Ok(RepeatPage { found, next: None })
        }
        Repeats::Stuck { before, after } => {
            let (slot, id) = after.as_ref().map_or((i64::MIN, ""), |(slot, id)| (slot.millis(), &**id));
            let args: [&dyn ToSql; 5] = [&lane.q, &before.millis(), &slot, &id, &most];
            let overdue = conn
                .prepare_cached(OVERDUE)?
                .query_map(args, |row| Ok((Timestamp::from_millis(row.get(0)?), row.get::<_, String>(1)?.into())))?
                .collect::<Result<Vec<(Timestamp, Arc<str>)>, _>>()?;
            let next = overdue.last().filter(|_| overdue.len() == most as usize).cloned();
            let mut found = Vec::new();
            for (slot, id) in overdue {
                let place = Row::find(conn, &lane, &JobId::of_iteration(&id, slot))?.map(|job| job.place);
                // What waits is the common case, and needs no definition to be read.
                if !matches!(place, Some(Place::Ready | Place::Delayed)) {
                    found.extend(readable(conn, &lane, &id)?.filter(|one| is_stuck(&one.repeat, place)));
                }
            }
            Ok(RepeatPage { found, next })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::{edit, row::OptionsCache, schema, scribe::Tx};
    use super::*;
    use crate::repeat::Schedule;

    #[test]
    fn a_damaged_definition_hides_no_other_and_can_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let conn = schema::writer(&folder.path().join("queue.db")).unwrap();
        let mut options = OptionsCache::default();
        let mut tx = Tx { conn: &conn, options: &mut options, lanes: HashMap::new() };
        let (queue, now) = (QueueName::new("q").unwrap(), Timestamp::from_millis(5));
        let put = |id: &str| {
            let repeat = Repeat::named(id, Schedule::Every(Duration::from_secs(1)), "n", &1).unwrap();
            Edit::Schedule(Put { repeat: Arc::new(repeat), first: now })
        };
        let edits = ["a", "b", "c"].map(put).to_vec();
        edit::edit(&mut tx, &(EditAll { queue: queue.clone(), edits }, now)).unwrap();
        conn.execute_batch("DELETE FROM jobs; UPDATE repeats SET def = '{' WHERE id = 'b'").unwrap();
        let stuck = Repeats::Stuck { before: Timestamp::from_millis(6), after: None };
        let ids = Repeats::Ids(["a", "b", "c"].map(Into::into).to_vec());
        for wanted in [ids, Repeats::After(None), stuck] {
            let page = list(&conn, &queue, &wanted, 10).unwrap();
            assert_eq!(page.found.iter().map(|one| &*one.repeat.id).collect::<Vec<_>>(), ["a", "c"], "{wanted:?}");
        }
        let drop = EditAll { queue: queue.clone(), edits: vec![Edit::Unschedule("b".into()), put("b")] };
        assert_eq!(edit::edit(&mut tx, &(drop, now)).unwrap(), [Edited::Done, Edited::Due(now)]);
    }
}
