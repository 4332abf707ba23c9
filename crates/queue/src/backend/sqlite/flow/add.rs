//! Adding flows: every job of it in one transaction, over all its queues.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::add::{self, INSERT};
use super::super::fault::Fault;
use super::super::lane::Lane;
use super::super::row::{CHILD, DEDUP, GROUPED, PARENT, Row, SIDE};
use super::super::scribe::Tx;
use super::{News, parent, pass_on, policy};
use crate::backend::flow::{Fate, Known, plan};
use crate::backend::*;
use crate::event::Event;
use crate::exit::Failure;
use crate::job::{JobId, Payload, QueueName};
use crate::state::{Place, State};
use crate::time::Timestamp;

const FAMILY: &str = "INSERT INTO families (row, q, id) VALUES (?1, ?2, ?3)";
const ADOPT: &str =
    "UPDATE families SET total = total + 1, pending = pending + 1, last = last + 1 WHERE row = ?1 RETURNING f, last";
const CHILD_OF: &str = "INSERT INTO children (f, n, q, id, mark, policy) VALUES (?1, ?2, ?3, ?4, 1, ?5)";
const LINK: &str = "INSERT INTO links (row, f, n, policy) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (row) DO UPDATE SET f = excluded.f, n = excluded.n, policy = excluded.policy";
const FLAG: &str = "UPDATE jobs SET flags = flags | ?2 WHERE row = ?1";
/// A job of a flow, once it is stored.
struct Stored {
    row: i64,
    queue: QueueName,
    id: JobId,
}

pub(in super::super) fn add(tx: &mut Tx<'_>, (flow, now): &(AddFlow, Timestamp)) -> Result<Flowed, Fault> {
    let fates = match plan(flow, |queue, id| known(tx, queue, id))? {
        Ok(fates) => fates,
        Err(refused) => return Ok(Flowed::Refused(refused)),
    };
    let parents = flow.parents();
    let mut stored: Vec<Stored> = Vec::with_capacity(flow.nodes.len());
    let mut added = Vec::with_capacity(flow.nodes.len());
    for ((node, fate), is_parent) in flow.nodes.iter().zip(fates).zip(parents) {
        let (row, answer) = add_node(tx, node, fate, is_parent, *now)?;
        if let Some(under) = node.parent.as_ref().filter(|_| fate.link) {
            let parent = match &under.parent {
                Parent::Node(index) => {
                    let above = &stored[*index];
                    Stored { row: above.row, queue: above.queue.clone(), id: above.id.clone() }
                }
                Parent::Job(queue, id) => {
                    let (conn, _, lane) = tx.lane(queue)?;
                    Stored { row: found(conn, lane, id)?.row, queue: queue.clone(), id: id.clone() }
                }
            };
            adopt(tx, &parent, under, (row, &node.queue, answer.id()), fate)?;
        }
        stored.push(Stored { row, queue: node.queue.clone(), id: answer.id().clone() });
        added.push(answer);
    }
    let queues: BTreeSet<&QueueName> = flow.nodes.iter().map(|node| &node.queue).collect();
    for queue in queues {
        tx.lane(queue)?.2.ring = true;
        pass_on(tx, queue, *now)?;
    }
    super::purge(tx.conn, flow.nodes.len())?;
    Ok(Flowed::Added(added))
}

/// A job as the plan wants to know it. A queue that nobody has used yet stays unknown.
fn known(tx: &mut Tx<'_>, queue: &QueueName, id: &JobId) -> Result<Option<Known>, Fault> {
    if !tx.lanes.contains_key(queue) && Lane::find(tx.conn, queue)?.is_none() {
        return Ok(None);
    }
    let (conn, _, lane) = tx.lane(queue)?;
    let Some(row) = Row::find(conn, lane, id)? else {
        return Ok(None);
    };
    let parent = parent(conn, row.row, row.flags)?.map(|parent| (parent.queue, parent.id));
    let mut children = 0;
    if row.flags & PARENT != 0 {
        let mut read = conn.prepare_cached("SELECT total FROM families WHERE row = ?1")?;
        children = read.query_row([row.row], |row| row.get(0)).optional()?.unwrap_or(0);
    }
    Ok(Some(Known { state: row.place.state(row.priority), dedup: row.flags & DEDUP != 0, parent, children }))
}

fn found(conn: &Connection, lane: &Lane, id: &JobId) -> Result<Row, Fault> {
    Row::find(conn, lane, id)?.ok_or(Fault::Damaged { what: "jobs", why: "a job is not there any more".into() })
}

/// Stores one job, and answers its row.
fn add_node(tx: &mut Tx<'_>, node: &Node, fate: Fate, is_parent: bool, now: Timestamp) -> Result<(i64, Added), Fault> {
    let (conn, cache, lane) = tx.lane(&node.queue)?;
    let counted = lane.next_id();
    let id = node.job.id.clone().unwrap_or_else(|| JobId::stored(counted.to_string()));
    if fate.exists {
        lane.tell(Event::Duplicated { id: id.clone() });
        let row = found(conn, lane, &id)?.row;
        return Ok((row, Added::Existing(id)));
    }
    let opts = cache.encode(&node.job.options)?;
    match is_parent {
        true => store_parent(conn, lane, (&id, &node.job, opts), now)?,
        false => drop(add::store(&mut conn.prepare_cached(INSERT)?, conn, lane, (&id, &node.job, opts), now)?),
    }
    // Where its data lies elsewhere, that was stored under the same number.
    Ok((conn.last_insert_rowid(), Added::New(id)))
}

/// Stores a parent, which waits from the beginning.
fn store_parent(
    conn: &Connection,
    lane: &mut Lane,
    (id, job, opts): (&JobId, &NewJob, &str),
    now: Timestamp,
) -> Result<(), Fault> {
    let group = if job.options.group.is_some() { GROUPED } else { 0 };
    let place = (Place::WaitingChildren, now.millis(), lane.back(), group);
    add::insert_row(&mut conn.prepare_cached(INSERT)?, conn, lane, (id, job, opts), place, now)?;
    lane.entered(State::WaitingChildren);
    lane.tell(Event::Added { id: id.clone(), name: job.name.clone() });
    lane.tell(Event::WaitingChildren { id: id.clone(), prev: None });
    Ok(())
}

/// A parent gets another child, which is stored already.
fn adopt(
    tx: &mut Tx<'_>,
    parent: &Stored,
    under: &Under,
    (row, queue, id): (i64, &QueueName, &JobId),
    fate: Fate,
) -> Result<(), Fault> {
    let (conn, _, lane) = tx.lane(&parent.queue)?;
    let numbers = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let mut more = conn.prepare_cached(ADOPT)?;
    let (f, n) = match more.query_row([parent.row], numbers).optional()? {
        Some(numbers) => numbers,
        None => {
            conn.prepare_cached(FAMILY)?.execute(params![parent.row, lane.q, parent.id.as_str()])?;
            conn.prepare_cached(FLAG)?.execute([parent.row, PARENT])?;
            more.query_row([parent.row], numbers)?
        }
    };
    let number = flow_number(under);
    let (_, _, lane) = tx.lane(queue)?;
    conn.prepare_cached(CHILD_OF)?.execute(params![f, n, lane.q, id.as_str(), number])?;
    conn.prepare_cached(LINK)?.execute([row, f, n, number])?;
    conn.prepare_cached(FLAG)?.execute([row, CHILD])?;
    if fate.exists
        && let Some(news) = ended(conn, row)?
    {
        lane.words.push(super::Word { f, n, policy: policy(number), child: id.clone(), news });
    }
    Ok(())
}

fn flow_number(under: &Under) -> i64 {
    let at = crate::backend::flow::POLICIES.iter().position(|policy| *policy == under.on_failure);
    at.unwrap_or_default() as i64
}

/// One that has ended already says so at once.
fn ended(conn: &Connection, row: i64) -> Result<Option<News>, Fault> {
    let mut read = conn.prepare_cached(
        "SELECT j.place, j.flags & ?2, s.result, s.failure FROM jobs AS j LEFT JOIN sides AS s ON s.row = j.row WHERE j.row = ?1",
    )?;
    let (place, [result, failure]): (i64, [Option<String>; 2]) =
        read.query_row([row, SIDE], |row| Ok((row.get(0)?, [row.get(2)?, row.get(3)?])))?;
    if place == Place::Completed as i64 {
        return Ok(Some(News::Completed(result.map_or_else(Payload::null, Payload::stored))));
    }
    let failure = failure.and_then(|text| serde_json::from_str::<Failure>(&text).ok());
    let reason = failure.map_or_else(|| "".into(), |failure| failure.message);
    Ok((place == Place::Failed as i64).then_some(News::Failed { reason, gone: false }))
}
