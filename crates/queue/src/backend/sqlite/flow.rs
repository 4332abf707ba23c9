//! Flows: what happens to children is passed on to their parents, within the transaction. Only jobs that have a parent
//! (flag `CHILD`) or children (flag `PARENT`) lead here.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::lane::Lane;
use super::row::{self, CHILD, CHILD_FAILED, Lifo, Row};
use super::scribe::Tx;
use crate::backend::flow::{Mark, News, POLICIES, Upshot, doom, rule};
use crate::event::Event;
use crate::exit::{Failure, FailureKind};
use crate::job::{ChildFailure, JobId, QueueName};
use crate::state::{Place, State};
use crate::time::Timestamp;

mod add;
mod read;

pub(super) use add::add;
pub(super) use read::{children, parent, pending};

/// Children of removed parents that are forgotten with each write that concerns a flow, and with each sign of life.
pub(super) const PURGE: usize = 200;
/// What each child that ends or goes lets be forgotten: more rows than it leaves.
const PURGE_PER_WORD: usize = 4;

/// Something that a verb has done to a child.
#[derive(Debug)]
pub(super) struct Word {
    f: i64,
    n: i64,
    policy: ChildFailure,
    child: JobId,
    news: News,
}

const LINK: &str = "SELECT f, n, policy FROM links WHERE row = ?1";
const HEAR: &str = "UPDATE children SET mark = ?3, value = ?4 WHERE f = ?1 AND n = ?2 AND mark < 2";
const FORGET: &str = "DELETE FROM children WHERE f = ?1 AND n = ?2 AND mark < 2";
const LESS: &str = "UPDATE families SET pending = pending - 1, total = total - ?2, doom = COALESCE(?3, doom) WHERE f = ?1 \
    RETURNING row, pending";
const PARENT_JOB: &str = "SELECT j.place, j.priority, j.flags, j.started, j.opts, j.id, q.name, j.k1 FROM jobs AS j \
    JOIN queues AS q ON q.q = j.q WHERE j.row = ?1";

/// Notes what a verb does to a job, if that is a child; before anything of it is removed.
pub(super) fn note(
    conn: &Connection,
    lane: &mut Lane,
    (row, flags): (i64, i64),
    child: &JobId,
    news: News,
) -> Result<(), Fault> {
    if flags & CHILD == 0 {
        return Ok(());
    }
    let mut read = conn.prepare_cached(LINK)?;
    let link = read.query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))).optional()?;
    if let Some((f, n, number)) = link {
        lane.words.push(Word { f, n, policy: policy(number), child: child.clone(), news });
    }
    Ok(())
}

/// A job is about to be removed: whoever waits for it waits no longer.
pub(super) fn removing(conn: &Connection, lane: &mut Lane, row: &Row) -> Result<(), Fault> {
    if row.flags & CHILD == 0 {
        return Ok(());
    }
    let mut read = conn.prepare_cached("SELECT id FROM jobs WHERE row = ?1")?;
    let id: String = read.query_row([row.row], |row| row.get(0))?;
    note(conn, lane, (row.row, row.flags), &JobId::stored(id), News::Gone)
}

/// A damaged policy is none: the parent waits, and `explain` says for whom.
fn policy(number: i64) -> ChildFailure {
    usize::try_from(number).ok().and_then(|at| POLICIES.get(at).copied()).unwrap_or_default()
}

/// Tells parents what a verb has done to children in a queue.
pub(super) fn pass_on(tx: &mut Tx<'_>, queue: &QueueName, now: Timestamp) -> Result<(), Fault> {
    let words = match tx.lanes.get_mut(queue) {
        Some(lane) if !lane.words.is_empty() => std::mem::take(&mut lane.words),
        _ => return Ok(()),
    };
    // A child leaves one row, and its family at most one more: what is forgotten keeps pace with what ends.
    let most = PURGE_PER_WORD * words.len();
    for word in words {
        hear(tx, queue, word, now)?;
    }
    purge(tx.conn, most)
}

fn hear(tx: &mut Tx<'_>, queue: &QueueName, word: Word, now: Timestamp) -> Result<(), Fault> {
    let conn = tx.conn;
    let key = [word.f, word.n];
    if word.news == News::Again {
        return again(conn, key);
    }
    let (mark, upshot) = rule(&word.news, word.policy);
    let value = match &word.news {
        News::Completed(result) => (!result.is_null()).then(|| result.as_str()),
        News::Failed { reason, .. } => Some(&**reason),
        News::Gone | News::Again => None,
    };
    let heard = match mark {
        Some(mark) => conn.prepare_cached(HEAR)?.execute(params![word.f, word.n, mark as i64, value])?,
        None => conn.prepare_cached(FORGET)?.execute(key)?,
    };
    if heard == 0 || upshot == Upshot::Nothing {
        return Ok(());
    }
    let why = (upshot == Upshot::Fails).then(|| doom(queue, &word.child));
    let mut less = conn.prepare_cached(LESS)?;
    let args = params![word.f, i64::from(mark.is_none()), why.as_deref()];
    let family = less.query_row(args, |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?))).optional()?;
    match family {
        Some((Some(parent), pending)) => moves(tx, parent, pending, upshot, now),
        // The parent is gone.
        Some((None, _)) | None => Ok(()),
    }
}

/// A child is pending again, whatever it was before.
fn again(conn: &Connection, key: [i64; 2]) -> Result<(), Fault> {
    let mut old = conn.prepare_cached("SELECT mark FROM children WHERE f = ?1 AND n = ?2")?;
    let Some(old) = old.query_row(key, |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(());
    };
    let mut set = conn.prepare_cached("UPDATE children SET mark = 1, value = NULL WHERE f = ?1 AND n = ?2")?;
    set.execute(key)?;
    if old > Mark::Pending as i64 {
        conn.prepare_cached("UPDATE families SET pending = pending + 1 WHERE f = ?1")?.execute([key[0]])?;
    }
    Ok(())
}

/// What a parent does when it has heard of a child: it is in the place of parents, or it is to fail wherever it is.
fn moves(tx: &mut Tx<'_>, parent: i64, pending: i64, upshot: Upshot, now: Timestamp) -> Result<(), Fault> {
    let conn = tx.conn;
    let mut read = conn.prepare_cached(PARENT_JOB)?;
    let found = read.query_row([parent], |row| {
        let numbers = (row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, u32>(3)?);
        let texts: [String; 3] = [row.get(4)?, row.get(5)?, row.get(6)?];
        Ok((numbers, texts, row.get(7)?))
    });
    let Some(((number, priority, flags, started), [opts, id, name], k1)) = found.optional()? else {
        return Ok(());
    };
    let name = QueueName::new(&name).map_err(|error| Fault::Damaged { what: "queues", why: error.to_string() })?;
    let (_, _, lane) = tx.lane(&name)?;
    let row = Row { row: parent, place: row::place(number)?, k1, priority, flags, settled: None };
    let waits = row.place == Place::WaitingChildren;
    let delay = || match row::decode_options(&opts) {
        Ok(options) if started == 0 && !options.delay.is_zero() => Some(now.plus(options.delay)),
        // A damaged parent is handed out, to be failed.
        _ => None,
    };
    let id = JobId::stored(id);
    match upshot {
        Upshot::Less if waits && pending == 0 => release(conn, lane, &row, id, delay(), now),
        Upshot::GoesOn if waits => release(conn, lane, &row, id, delay(), now),
        Upshot::Fails if !row.place.state(0).is_final() => {
            conn.prepare_cached("UPDATE jobs SET flags = flags | ?2 WHERE row = ?1")?
                .execute([parent, CHILD_FAILED])?;
            if waits || row.place == Place::Delayed {
                release(conn, lane, &row, id, None, now)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// In front of its class, or delayed.
fn release(
    conn: &Connection,
    lane: &mut Lane,
    row: &Row,
    id: JobId,
    due: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    lane.ring = true;
    let Some(due) = due else {
        row.make_ready(conn, lane, Lifo::Front, now)?;
        lane.tell(Event::Waiting { id, prev: Some(row.place.state(row.priority)) });
        return Ok(());
    };
    let turn = lane.back();
    let mut delay = conn.prepare_cached("UPDATE jobs SET place = 1, k1 = ?2, k2 = ?3, since = ?4 WHERE row = ?1")?;
    delay.execute(params![row.row, due.millis(), turn, now.millis()])?;
    lane.moved(row.priority, row.place, Place::Delayed);
    lane.tell(Event::Delayed { id, due });
    Ok(())
}

/// Whether the parent in this row has anything to wait for.
pub(super) fn must_wait(conn: &Connection, row: i64) -> Result<bool, Fault> {
    let mut read = conn.prepare_cached(
        "SELECT f.pending, j.flags FROM families AS f JOIN jobs AS j ON j.row = f.row WHERE f.row = ?1",
    )?;
    let found = read.query_row([row], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()?;
    Ok(found.is_some_and(|(pending, flags)| pending > 0 && flags & CHILD_FAILED == 0))
}

/// Whether the job in this row has, or had, any children.
pub(super) fn has_children(conn: &Connection, row: i64) -> Result<bool, Fault> {
    let mut read = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM families WHERE row = ?1)")?;
    Ok(read.query_row([row], |row| row.get(0))?)
}

/// What a parent is to be failed with.
pub(super) fn failed_child(conn: &Connection, row: i64, flags: i64) -> Result<Option<Failure>, Fault> {
    if flags & CHILD_FAILED == 0 {
        return Ok(None);
    }
    let mut read = conn.prepare_cached("SELECT doom FROM families WHERE row = ?1")?;
    let doom: Option<String> = read.query_row([row], |row| row.get(0)).optional()?.flatten();
    Ok(Some(Failure::new(FailureKind::Child, doom.as_deref().unwrap_or("a child failed"))))
}

/// A parent has been told to wait.
pub(super) fn waits(lane: &mut Lane, id: &JobId, priority: u32) {
    lane.moved(priority, Place::Active, Place::WaitingChildren);
    lane.tell(Event::WaitingChildren { id: id.clone(), prev: Some(State::Active) });
}

/// Takes a pending child from its parent.
pub(super) fn detach(conn: &Connection, lane: &mut Lane, row: &Row, id: &JobId) -> Result<bool, Fault> {
    let mut read = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM links AS l JOIN children AS c ON c.f = l.f AND c.n = l.n \
         JOIN families AS f ON f.f = l.f WHERE l.row = ?1 AND c.mark < 2 AND f.row IS NOT NULL)",
    )?;
    if row.flags & CHILD == 0 || !read.query_row([row.row], |row| row.get(0))? {
        return Ok(false);
    }
    note(conn, lane, (row.row, row.flags), id, News::Gone)?;
    conn.prepare_cached("DELETE FROM links WHERE row = ?1")?.execute([row.row])?;
    conn.prepare_cached("UPDATE jobs SET flags = flags & ~?2 WHERE row = ?1")?.execute([row.row, CHILD])?;
    Ok(true)
}

/// Forgets at most so many rows that removed parents have left: no removal is a long write.
pub(super) fn purge(conn: &Connection, most: usize) -> Result<(), Fault> {
    let mut left = most as i64;
    while left > 0 {
        let mut read = conn.prepare_cached("SELECT f FROM families WHERE row IS NULL LIMIT 1")?;
        let Some(f) = read.query_row([], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(());
        };
        let mut forget = conn.prepare_cached(
            "DELETE FROM children WHERE rowid IN (SELECT rowid FROM children WHERE f = ?1 ORDER BY n LIMIT ?2)",
        )?;
        left -= forget.execute([f, left])? as i64;
        if left > 0 {
            conn.prepare_cached("DELETE FROM families WHERE f = ?1")?.execute([f])?;
            left -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
