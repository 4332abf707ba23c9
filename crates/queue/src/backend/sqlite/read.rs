//! Reads, on connections of their own: they never wait for the writer, and it never waits for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::flow;
use super::groups;
use super::lane::Lane;
use super::row::{self, BODY, SIDE};
use super::schema;
use crate::backend::*;
use crate::error::StoreError;
use crate::event::{Event, Position};
use crate::exit::Failure;
use crate::job::{JobId, Payload, QueueName, Record};
use crate::state::Place;
use crate::time::Timestamp;

/// Reads at once.
const READERS: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    spare: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        let places = Arc::new(Semaphore::new(READERS));
        Self { path: path.to_owned(), spare: Arc::default(), places }
    }

    /// Runs a read on a thread that may block, in one transaction: it sees one moment.
    pub(super) async fn read<O, F>(&self, read: F) -> Result<O, StoreError>
    where
        O: Send + 'static,
        F: FnOnce(&Connection) -> Result<O, Fault> + Send + 'static,
    {
        let place = self.places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (path, spare) = (self.path.clone(), self.spare.clone());
        let work = move || {
            let _place = place;
            let kept = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = kept.map_or_else(|| schema::reader(&path), Ok)?;
            let tx = conn.unchecked_transaction()?;
            let answer = read(&tx)?;
            drop(tx);
            spare.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            Ok::<O, Fault>(answer)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Ends all reads to come and closes the connections.
    pub(super) fn close(&self) {
        self.places.close();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

const COLUMNS: &str = "row, id, place, k1, name, data, opts, priority, flags, created, since, made, started, stalls, \
    worker, processed_on, finished_on";

pub(super) fn get(conn: &Connection, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(ids.iter().map(|_| None).collect());
    };
    let mut find = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE q = ?1 AND id = ?2"))?;
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = find.query(params![lane.q, id.as_str()])?;
        records.push(rows.next()?.map(|row| record(conn, row)).transpose()?);
    }
    Ok(records)
}

pub(super) fn list(conn: &Connection, queue: &QueueName, list: &List) -> Result<Page, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Page::default());
    };
    let (low, high) = Place::keys(list.state);
    // The cursor is the only bound on its side: at a second one SQLite would begin, and walk from there to the cursor.
    let (beyond, until, order) = if list.state.is_final() { ("<", ">=", "DESC") } else { (">", "<=", "ASC") };
    let (start, end) = match list.state.is_final() {
        true => (list.after.unwrap_or(Cursor(i64::MAX, i64::MAX)), low),
        false => (list.after.map_or(Cursor(low, i64::MIN), |after| after.max(Cursor(low, i64::MIN))), high),
    };
    let sql = format!(
        "SELECT {COLUMNS}, k2 FROM jobs WHERE q = ?1 AND place = ?2 AND (k1, k2) {beyond} (?3, ?4) AND k1 {until} ?5 \
         ORDER BY k1 {order}, k2 {order} LIMIT ?6"
    );
    let mut find = conn.prepare_cached(&sql)?;
    let place = Place::of(list.state) as i64;
    let mut rows = find.query(params![lane.q, place, start.0, start.1, end, list.most])?;
    let (mut jobs, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(Cursor(row.get(3)?, row.get(17)?));
        jobs.push(record(conn, row)?);
    }
    let full = list.most > 0 && jobs.len() == list.most as usize;
    Ok(Page { jobs, next: last.filter(|_| full) })
}

/// Why a job of the place `failed` has failed, as far as it can be read.
pub(super) fn failure(conn: &Connection, row: &row::Row) -> Result<Option<Failure>, Fault> {
    if row.place != Place::Failed || row.flags & SIDE == 0 {
        return Ok(None);
    }
    let mut read = conn.prepare_cached("SELECT failure FROM sides WHERE row = ?1")?;
    let text: Option<String> = read.query_row([row.row], |row| row.get(0)).optional()?.flatten();
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// What cannot be read of a damaged job is shown as null and as the defaults: it must not hide those beside it. Its taker
/// fails it as damaged.
fn record(conn: &Connection, row: &SqlRow<'_>) -> Result<Record, Fault> {
    let number: i64 = row.get(0)?;
    let place = row::place(row.get(2)?)?;
    let k1: i64 = row.get(3)?;
    let flags: i64 = row.get(8)?;
    let data = match flags & BODY {
        0 => Payload::stored(row.get::<_, String>(5)?),
        _ => super::take::body(conn, number)?.unwrap_or_else(Payload::null),
    };
    let mut sides = conn.prepare_cached("SELECT progress, result, failure FROM sides WHERE row = ?1")?;
    let sides: Option<[Option<String>; 3]> =
        sides.query_row([number], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).optional()?;
    let [progress, result, failure] = sides.unwrap_or_default();
    let time = |millis: Option<i64>| millis.map(Timestamp::from_millis);
    Ok(Record {
        id: JobId::stored(row.get::<_, String>(1)?),
        name: row.get::<_, String>(4)?.into(),
        data,
        options: Arc::new(row::decode_options(&row.get::<_, String>(6)?).unwrap_or_default()),
        state: place.state(row.get(7)?),
        timestamp: Timestamp::from_millis(row.get(9)?),
        since: Timestamp::from_millis(row.get(10)?),
        due: (place == Place::Delayed).then(|| Timestamp::from_millis(k1)),
        made: row.get(11)?,
        started: row.get(12)?,
        stalls: row.get(13)?,
        processed_by: row.get::<_, Option<String>>(14)?.map(Into::into),
        processed_on: time(row.get(15)?),
        finished_on: time(row.get(16)?),
        progress: progress.map(Payload::stored),
        result: result.map(Payload::stored),
        failure: failure.map(|text| decode::<Failure>("failure", &text)).transpose()?,
        parent: flow::parent(conn, number, flags)?,
    })
}

pub(super) fn logs(conn: &Connection, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Logs::default());
    };
    let Some(row) = row::Row::find(conn, &lane, id)? else {
        return Ok(Logs::default());
    };
    let mut count = conn.prepare_cached("SELECT COALESCE(MAX(n) - MIN(n) + 1, 0) FROM logs WHERE row = ?1")?;
    let total = count.query_row([row.row], |row| row.get(0))?;
    let mut read = conn.prepare_cached("SELECT line FROM logs WHERE row = ?1 ORDER BY n LIMIT ?2 OFFSET ?3")?;
    let lines = read
        .query_map(params![row.row, most, skip], |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect::<Result<Vec<Arc<str>>, _>>()?;
    Ok(Logs { lines, total })
}

pub(super) fn events(conn: &Connection, queue: &QueueName, after: Position, most: u32) -> Result<Events, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Events { next: after, ..Events::default() });
    };
    let mut read = conn.prepare_cached("SELECT pos, packed FROM events WHERE pos >= ?1 AND pos <= ?2 ORDER BY pos")?;
    let bounds = [Lane::event_key(lane.q, after.seq), Lane::event_key(lane.q, lane.newest().seq)];
    let mut rows = read.query(bounds)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        if events.len() >= most as usize {
            break;
        }
        let seq = Lane::event_seq(row.get(0)?);
        let packed: Vec<Event> = decode("events", &row.get::<_, String>(1)?)?;
        let placed = packed.into_iter().zip(0..).map(|(event, index)| (Position { seq, index }, event));
        events.extend(placed.filter(|(position, _)| *position > after));
    }
    events.truncate(most as usize);
    let gap = after > Position::START && after < lane.trimmed();
    let next = events.last().map_or(after, |(position, _)| *position);
    Ok(Events { events, gap, next })
}

pub(super) fn info(conn: &Connection, queue: &QueueName, now: Timestamp) -> Result<Info, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Info::default());
    };
    let mut first = conn.prepare_cached("SELECT since FROM jobs WHERE q = ?1 AND place = 0 ORDER BY k1, k2 LIMIT 1")?;
    let oldest = first.query_row([lane.q], |row| row.get::<_, i64>(0)).optional()?;
    let mut alive = conn.prepare_cached("SELECT info FROM workers WHERE q = ?1 AND seen > ?2 ORDER BY id")?;
    let workers = alive
        .query_map(params![lane.q, now.minus(WORKER_GONE).millis()], |row| row.get::<_, String>(0))?
        .map(|text| decode("workers", &text?))
        .collect::<Result<Vec<WorkerInfo>, Fault>>()?;
    let (groups, group_defaults) = groups::totals(conn, &lane)?;
    Ok(Info {
        groups,
        group_defaults,
        counts: lane.counts,
        paused: lane.paused,
        limits: lane.limits,
        oldest_ready: oldest.map(Timestamp::from_millis),
        workers,
        newest_event: lane.newest(),
    })
}

/// `?1` q, `?2` and `?3` the order numbers of a ready job, `?4` how many to count at the most.
const AHEAD: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE q = ?1 AND place = 0 AND (k1, k2) < (?2, ?3) LIMIT ?4)";

pub(super) fn facts(conn: &Connection, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, Fault> {
    let mut facts = Facts { info: info(conn, queue, now)?, ..Facts::default() };
    let Some(lane) = Lane::find(conn, queue)? else { return Ok(facts) };
    facts.job = get(conn, queue, std::slice::from_ref(id))?.pop().flatten();
    let mut order = conn.prepare_cached("SELECT place, k1, k2, row, flags FROM jobs WHERE q = ?1 AND id = ?2")?;
    let order = order.query_row(params![lane.q, id.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, (row.get(3)?, row.get(4)?)))
    });
    let order = order.optional()?;
    let group = facts.job.as_ref().and_then(|job| job.options.group.clone());
    if let Some(group) = &group {
        let key = order.filter(|(place, ..)| *place == Place::Ready as i64).map(|(_, k1, k2, _)| (k1, k2));
        (facts.group, facts.ahead) = groups::facts(conn, &lane, group, key)?;
    }
    if let Some((number, k1, k2, parent)) = order {
        (facts.pending, facts.children) = flow::pending(conn, parent)?;
        match row::place(number)? {
            Place::Ready if group.is_some() => {}
            Place::Ready => {
                let args = params![lane.q, k1, k2, MAX_AHEAD + 1];
                facts.ahead = conn.prepare_cached(AHEAD)?.query_row(args, |row| row.get(0))?;
            }
            Place::Active => facts.lock_until = Some(Timestamp::from_millis(k1)),
            _ => {}
        }
    } else {
        let mut owner = conn.prepare_cached("SELECT owner FROM lasts WHERE q = ?1 AND job = ?2 LIMIT 1")?;
        let owner = owner.query_row(params![lane.q, id.as_str()], |row| row.get::<_, String>(0)).optional()?;
        facts.follows = owner.map(JobId::stored);
    }
    Ok(facts)
}

/// Whether any lock has run out: looked up here before the writer is asked to put jobs back.
pub(super) fn any_expired(conn: &Connection, queue: &QueueName, now: Timestamp) -> Result<bool, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(false);
    };
    let mut any = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM jobs WHERE q = ?1 AND place = 2 AND k1 <= ?2)")?;
    Ok(any.query_row(params![lane.q, now.millis()], |row| row.get(0))?)
}

pub(super) fn queues(conn: &Connection) -> Result<Vec<QueueName>, Fault> {
    let mut read = conn.prepare_cached("SELECT name FROM queues WHERE gone = 0 ORDER BY name")?;
    let names = read.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let checked = names.iter().map(|name| QueueName::new(name));
    checked.collect::<Result<_, _>>().map_err(|error| Fault::Damaged { what: "queues", why: error.to_string() })
}

fn decode<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Damaged { what, why: error.to_string() })
}
