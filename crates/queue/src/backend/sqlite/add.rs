//! Adding jobs.

use rusqlite::{CachedStatement, Connection, params};

use super::dedup;
use super::fault::Fault;
use super::groups;
use super::lane::Lane;
use super::row::{BODY, DEDUP, GROUPED, INLINE, LIFO, Row};
use super::scribe::Tx;
use crate::backend::{Add, Added, NewJob};
use crate::event::Event;
use crate::job::JobId;
use crate::state::{Place, State};
use crate::time::Timestamp;

pub(super) const INSERT: &str = "INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11) ON CONFLICT (q, id) DO NOTHING";

pub(super) fn add(tx: &mut Tx<'_>, (add, now): &(Add, Timestamp)) -> Result<Vec<Added>, Fault> {
    let (conn, cache, lane) = tx.lane(&add.queue)?;
    let mut insert = conn.prepare_cached(INSERT)?;
    let mut added = Vec::with_capacity(add.jobs.len());
    for job in &add.jobs {
        let counted = lane.next_id();
        let id = job.id.clone().unwrap_or_else(|| JobId::stored(counted.to_string()));
        let opts = cache.encode(&job.options)?;
        if let Some(wish) = &job.options.deduplication
            && Row::find(conn, lane, &id)?.is_none()
            && let Some(owner) = dedup::claim(conn, lane, wish, (&id, job, opts), *now)?
        {
            added.push(Added::Deduplicated(owner));
            continue;
        }
        added.push(match store(&mut insert, conn, lane, (&id, job, opts), *now)? {
            true => Added::New(id),
            false => Added::Existing(id),
        });
    }
    lane.ring = true;
    Ok(added)
}

/// Stores a job, given with its options' text, and tells it; answers whether its id was free.
pub(super) fn store(
    insert: &mut CachedStatement<'_>,
    conn: &Connection,
    lane: &mut Lane,
    (id, job, opts): (&JobId, &NewJob, &str),
    now: Timestamp,
) -> Result<bool, Fault> {
    let options = &job.options;
    let due = (!options.delay.is_zero()).then(|| now.plus(options.delay));
    let lifo = options.lifo && options.priority == 0;
    let (place, (k1, turn), group) = match (due, &options.group) {
        (Some(due), group) => (Place::Delayed, (due.millis(), lane.back()), group.as_ref().map_or(0, |_| GROUPED)),
        (None, None) => {
            let turn = if lifo { lane.front() } else { lane.back() };
            (Place::Ready, (i64::from(options.priority), turn), 0)
        }
        (None, Some(_)) if Row::find(conn, lane, id)?.is_some() => {
            lane.tell(Event::Duplicated { id: id.clone() });
            return Ok(false);
        }
        (None, Some(group)) => {
            let (bits, key) = groups::key_of_new(conn, lane, group, lifo, now)?;
            (Place::Ready, key, bits)
        }
    };
    if !insert_row(insert, conn, lane, (id, job, opts), (place, k1, turn, group), now)? {
        lane.tell(Event::Duplicated { id: id.clone() });
        return Ok(false);
    }
    lane.tell(Event::Added { id: id.clone(), name: job.name.clone() });
    match due {
        Some(due) => {
            lane.entered(State::Delayed);
            lane.tell(Event::Delayed { id: id.clone(), due });
        }
        None => {
            lane.entered(State::ready(options.class()));
            lane.tell(Event::Waiting { id: id.clone(), prev: None });
        }
    }
    Ok(true)
}

/// Stores the row of a new job, with the bits of its group, and its data; answers whether its id was free.
pub(super) fn insert_row(
    insert: &mut CachedStatement<'_>,
    conn: &Connection,
    lane: &Lane,
    (id, job, opts): (&JobId, &NewJob, &str),
    (place, k1, k2, group): (Place, i64, i64, i64),
    now: Timestamp,
) -> Result<bool, Fault> {
    let (data, options) = (job.data.as_str(), &job.options);
    let inline = data.len() <= INLINE;
    let flags = if options.lifo { LIFO } else { 0 }
        | if inline { 0 } else { BODY }
        | if options.deduplication.is_some() { DEDUP } else { 0 }
        | group;
    let stored = insert.execute(params![
        lane.q,
        id.as_str(),
        place as i64,
        k1,
        k2,
        &*job.name,
        inline.then_some(data),
        opts,
        options.class(),
        flags,
        now.millis(),
    ])?;
    if stored > 0 && !inline {
        conn.prepare_cached("INSERT INTO bodies (row, data) VALUES (?1, ?2)")?
            .execute(params![conn.last_insert_rowid(), data])?;
    }
    Ok(stored > 0)
}
