//! What readers see of flows.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::fault::Fault;
use super::super::lane::Lane;
use super::super::row::{CHILD, PARENT, Row};
use super::policy;
use crate::backend::flow::Mark;
use crate::backend::{Child, ChildState, Children, MAX_PENDING};
use crate::job::{JobId, ParentRef, Payload, QueueName};

const PARENT_OF: &str = "SELECT q.name, f.id, l.policy FROM links AS l JOIN families AS f ON f.f = l.f AND f.row IS NOT NULL \
    JOIN queues AS q ON q.q = f.q WHERE l.row = ?1";
const PAGE: &str = "SELECT c.n, q.name, c.id, c.policy, c.mark, c.value FROM children AS c \
    JOIN queues AS q ON q.q = c.q WHERE c.f = ?1 AND c.n > ?2 ORDER BY c.n LIMIT ?3";
const PENDING: &str = "SELECT c.n, q.name, c.id, c.policy, c.mark, c.value FROM children AS c \
    JOIN queues AS q ON q.q = c.q WHERE c.f = ?1 AND c.mark < 2 ORDER BY c.mark, c.n LIMIT ?2";

/// The parent of a job, if that is there.
pub(in super::super) fn parent(conn: &Connection, row: i64, flags: i64) -> Result<Option<ParentRef>, Fault> {
    if flags & CHILD == 0 {
        return Ok(None);
    }
    let mut read = conn.prepare_cached(PARENT_OF)?;
    let found =
        read.query_row([row], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)));
    let Some((queue, id, number)) = found.optional()? else {
        return Ok(None);
    };
    Ok(Some(ParentRef { queue: name(&queue)?, id: JobId::stored(id), on_failure: policy(number) }))
}

pub(in super::super) fn children(
    conn: &Connection,
    queue: &QueueName,
    id: &JobId,
    after: u64,
    most: u32,
) -> Result<Children, Fault> {
    let Some(lane) = Lane::find(conn, queue)? else {
        return Ok(Children::default());
    };
    let job = Row::find(conn, &lane, id)?.map_or((0, 0), |row| (row.row, row.flags));
    let Some((f, pending)) = family(conn, job)? else {
        return Ok(Children::default());
    };
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut read = conn.prepare_cached(PAGE)?;
    let mut rows = read.query(params![f, after, most])?;
    let mut children = Vec::new();
    while let Some(row) = rows.next()? {
        children.push(child(row)?);
    }
    let next = children.last().filter(|_| children.len() == most as usize).map(|child| child.number);
    Ok(Children { children, pending, next })
}

/// How many children of the job in this row, with these flags, are pending, and the first of those.
pub(in super::super) fn pending(conn: &Connection, job: (i64, i64)) -> Result<(u32, Vec<Child>), Fault> {
    let Some((f, pending)) = family(conn, job)? else {
        return Ok((0, Vec::new()));
    };
    let mut read = conn.prepare_cached(PENDING)?;
    let mut rows = read.query(params![f, MAX_PENDING])?;
    let mut children = Vec::new();
    while let Some(row) = rows.next()? {
        children.push(child(row)?);
    }
    Ok((pending, children))
}

fn family(conn: &Connection, (row, flags): (i64, i64)) -> Result<Option<(i64, u32)>, Fault> {
    if flags & PARENT == 0 {
        return Ok(None);
    }
    let mut read = conn.prepare_cached("SELECT f, pending FROM families WHERE row = ?1")?;
    Ok(read.query_row([row], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A damaged mark shows as pending: nothing has been heard of that child.
fn child(row: &SqlRow<'_>) -> Result<Child, Fault> {
    let mark = usize::try_from(row.get::<_, i64>(4)?).ok().and_then(|at| Mark::ALL.get(at).copied());
    let state = mark.unwrap_or(Mark::Pending).state();
    let value: Option<String> = row.get(5)?;
    let (result, reason) = match state {
        ChildState::Completed => (value.map(Payload::stored), None),
        _ => (None, value.map(Into::into)),
    };
    Ok(Child {
        number: row.get(0)?,
        queue: name(&row.get::<_, String>(1)?)?,
        id: JobId::stored(row.get::<_, String>(2)?),
        on_failure: policy(row.get(3)?),
        state,
        result,
        reason,
    })
}

fn name(text: &str) -> Result<QueueName, Fault> {
    QueueName::new(text).map_err(|error| Fault::Damaged { what: "queues", why: error.to_string() })
}
