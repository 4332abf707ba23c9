//! Groups: heads in the order of takes, lines behind them. The rules are in `backend/groups.rs`. Only jobs that belong to a
//! group, and takes of queues that have ever had one, come here.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::lane::Lane;
use super::row::{self, GROUPED, LIFO, Row};
use crate::backend::groups::{Entry, Key, Move, Standing};
use crate::backend::{GroupControl, GroupDefaults, MAX_PROMOTE};
use crate::options::{Group, MAX_PRIORITY};
use crate::state::Place;
use crate::time::Timestamp;

mod hand_out;
mod read;
mod table;
#[cfg(test)]
mod tests;

pub(super) use hand_out::{By, hand_out};
pub(super) use read::{facts, list, totals};
pub(super) use table::Groups;

/// The number of its group in a job's flags; it is valid while the job is ready or active.
const NUMBER: u32 = 16;

const FLAGS: &str = "SELECT flags FROM jobs WHERE row = ?1";
const OPTS: &str = "SELECT opts FROM jobs WHERE row = ?1";
const MOVE: &str = "UPDATE jobs SET k1 = ?2, k2 = ?3 WHERE row = ?1";
const READY: &str =
    "UPDATE jobs SET place = 0, k1 = ?2, k2 = ?3, since = ?4, flags = (flags & 65535) | ?5 WHERE row = ?1";
const UNGROUP: &str = "UPDATE jobs SET place = 0, k1 = ?2, k2 = ?3, since = ?4, priority = ?2, \
    flags = flags & 65535 & ~256 WHERE row = ?1";
const HEAD: &str = "SELECT row FROM jobs WHERE q = ?1 AND place = 0 AND k1 = ?2 AND k2 = ?3";
const FIRST: &str = "SELECT row FROM jobs WHERE q = ?1 AND place = 0 AND k1 = ?2 ORDER BY k2 LIMIT 1";
const DUE: &str = "SELECT number FROM groups WHERE q = ?1 AND idle = 0 AND due <= ?2 ORDER BY due LIMIT ?3";
const NEXT_DUE: &str = "SELECT due FROM groups WHERE q = ?1 AND idle = 0 AND due >= ?2 ORDER BY due LIMIT 1";
const UNSEEN: &str = "SELECT number FROM groups WHERE q = ?1 AND number > ?2 ORDER BY number LIMIT ?3";

/// Which end of its group a job goes to that was active.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Front,
    /// The back, or the front when it asks for LIFO.
    Back,
}

/// The group's bits of a job's flags.
pub(super) fn bits(number: u32) -> i64 {
    GROUPED | (i64::from(number) << NUMBER)
}

fn number(flags: i64) -> u32 {
    (flags >> NUMBER) as u32
}

/// The group that a job names.
pub(super) fn of(conn: &Connection, row: &Row) -> Result<Option<Group>, Fault> {
    if row.flags & GROUPED == 0 {
        return Ok(None);
    }
    let opts: String = conn.prepare_cached(OPTS)?.query_row([row.row], |row| row.get(0))?;
    Ok(row::decode_options(&opts).ok().and_then(|options| options.group))
}

/// The bits and the order numbers of a new ready job.
pub(super) fn key_of_new(
    conn: &Connection,
    lane: &mut Lane,
    group: &Group,
    front: bool,
    now: Timestamp,
) -> Result<(i64, Key), Fault> {
    let mut standing = table::open(conn, lane, group, now)?;
    let key = enter(conn, lane, &mut standing, front, now)?;
    // One that goes into the line finds there what keeps it, so that this does not move it.
    settle(conn, lane, standing, now)?;
    Ok((bits(standing.number), key))
}

/// A job that was delayed or had ended becomes ready.
pub(super) fn make_ready(
    conn: &Connection,
    lane: &mut Lane,
    row: i64,
    front: bool,
    now: Timestamp,
) -> Result<(), Fault> {
    let opts: String = conn.prepare_cached(OPTS)?.query_row([row], |row| row.get(0))?;
    let Some(group) = row::decode_options(&opts).ok().and_then(|options| options.group) else {
        // Damaged options name no group; its taker fails it.
        let turn = lane.back();
        conn.prepare_cached(UNGROUP)?.execute(params![row, MAX_PRIORITY, turn, now.millis()])?;
        return Ok(());
    };
    let mut standing = table::open(conn, lane, &group, now)?;
    let (k1, k2) = enter(conn, lane, &mut standing, front, now)?;
    let args = params![row, k1, k2, now.millis(), bits(standing.number)];
    conn.prepare_cached(READY)?.execute(args)?;
    settle(conn, lane, standing, now)
}

/// A job that was active has been put among the ready ones: here it gets its place in its group.
pub(super) fn returned(conn: &Connection, lane: &mut Lane, row: i64, to: To, now: Timestamp) -> Result<(), Fault> {
    let flags = flags(conn, row)?;
    if flags & GROUPED == 0 {
        return Ok(());
    }
    let front = to == To::Front || flags & LIFO != 0;
    let Some(mut standing) = table::find_again(conn, lane, number(flags))? else {
        return make_ready(conn, lane, row, front, now);
    };
    lane.groups(conn)?.fair.ended(&mut standing);
    let (k1, k2) = enter(conn, lane, &mut standing, front, now)?;
    conn.prepare_cached(MOVE)?.execute(params![row, k1, k2])?;
    settle(conn, lane, standing, now)
}

/// A job with these flags has left `active`, but not for the ready ones.
pub(super) fn ended(conn: &Connection, lane: &mut Lane, flags: i64, now: Timestamp) -> Result<(), Fault> {
    if flags & GROUPED == 0 {
        return Ok(());
    }
    let Some(mut standing) = table::find_again(conn, lane, number(flags))? else {
        return Ok(());
    };
    lane.groups(conn)?.fair.ended(&mut standing);
    settle(conn, lane, standing, now)
}

/// The same, given by its row.
pub(super) fn delayed(conn: &Connection, lane: &mut Lane, row: i64, now: Timestamp) -> Result<(), Fault> {
    if !lane.grouped {
        return Ok(());
    }
    let flags = flags(conn, row)?;
    ended(conn, lane, flags, now)
}

/// A job has been removed from where it was.
pub(super) fn removed(conn: &Connection, lane: &mut Lane, row: &Row, now: Timestamp) -> Result<(), Fault> {
    match row.place {
        Place::Active => ended(conn, lane, row.flags, now),
        Place::Ready if row.flags & GROUPED != 0 => {
            let Some(mut standing) = table::find_again(conn, lane, number(row.flags))? else {
                return Ok(());
            };
            // The row may have become the head since it was read.
            let head = standing.head && first(conn, lane, standing.key())?.is_none();
            lane.groups(conn)?.fair.removed(&mut standing, head);
            settle(conn, lane, standing, now)
        }
        _ => Ok(()),
    }
}

/// Its group is to start nothing before a time.
pub(super) fn slow_down(
    conn: &Connection,
    lane: &mut Lane,
    row: i64,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), Fault> {
    let flags = flags(conn, row)?;
    if flags & GROUPED == 0 {
        return Ok(());
    }
    let standing = table::find(conn, lane, number(flags))?;
    order(conn, lane, standing, GroupControl::HoldUntil(until), now)
}

pub(super) fn control(
    tx: &mut super::scribe::Tx<'_>,
    (queue, group, what, now): &(crate::job::QueueName, Group, GroupControl, Timestamp),
) -> Result<(), Fault> {
    let (conn, _, lane) = tx.lane(queue)?;
    let standing = table::open(conn, lane, group, *now)?;
    lane.ring = true;
    order(conn, lane, standing, *what, *now)
}

fn order(
    conn: &Connection,
    lane: &mut Lane,
    mut standing: Standing,
    what: GroupControl,
    now: Timestamp,
) -> Result<(), Fault> {
    if let Move::Lower(key) = lane.groups(conn)?.fair.order(&mut standing, what) {
        lower(conn, lane, key, &standing)?;
    }
    settle(conn, lane, standing, now)
}

/// What holds for groups without settings has changed: they are looked at step by step, the first step here.
pub(super) fn set_defaults(
    conn: &Connection,
    lane: &mut Lane,
    defaults: GroupDefaults,
    now: Timestamp,
) -> Result<(), Fault> {
    let groups = lane.groups(conn)?;
    groups.fair.defaults = defaults;
    groups.fair.unseen = Some(0);
    look(conn, lane, now).map(|_| ())
}

/// Gives groups their heads whose time has come; answers how many were looked at.
pub(super) fn wake(conn: &Connection, lane: &mut Lane, now: Timestamp) -> Result<usize, Fault> {
    if !lane.grouped {
        return Ok(0);
    }
    let looked = look(conn, lane, now)?;
    if lane.groups(conn)?.fair.due.is_none_or(|due| due > now) {
        return Ok(looked);
    }
    table::flush(conn, lane)?;
    let due = numbers(conn, DUE, (lane.q, now.millis(), MAX_PROMOTE as i64))?;
    for number in &due {
        let standing = table::find(conn, lane, *number)?;
        settle(conn, lane, standing, now)?;
    }
    next_due(conn, lane)?;
    Ok(looked.max(due.len()))
}

fn look(conn: &Connection, lane: &mut Lane, now: Timestamp) -> Result<usize, Fault> {
    let Some(after) = lane.groups(conn)?.fair.unseen else {
        return Ok(0);
    };
    table::flush(conn, lane)?;
    let found = numbers(conn, UNSEEN, (lane.q, i64::from(after), MAX_PROMOTE as i64))?;
    for number in &found {
        let standing = table::find(conn, lane, *number)?;
        settle(conn, lane, standing, now)?;
    }
    let full = found.len() == MAX_PROMOTE;
    lane.groups(conn)?.fair.unseen = found.last().copied().filter(|_| full);
    Ok(found.len())
}

fn numbers(conn: &Connection, sql: &'static str, args: (i64, i64, i64)) -> Result<Vec<u32>, Fault> {
    let mut read = conn.prepare_cached(sql)?;
    Ok(read.query_map(args, |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// When the next group may start something that has jobs and may start none now.
pub(super) fn next_due(conn: &Connection, lane: &mut Lane) -> Result<Option<Timestamp>, Fault> {
    if !lane.grouped {
        return Ok(None);
    }
    let due = if lane.groups(conn)?.fair.behind == 0 {
        None
    } else {
        table::flush(conn, lane)?;
        let mut first = conn.prepare_cached(NEXT_DUE)?;
        first.query_row(params![lane.q, i64::MIN], |row| row.get::<_, i64>(0)).optional()?
    };
    let due = due.map(Timestamp::from_millis);
    lane.groups(conn)?.fair.due = due;
    Ok(due)
}

/// Ready jobs that stand in the order of takes.
pub(super) fn takeable(conn: &Connection, lane: &mut Lane) -> Result<u64, Fault> {
    let behind = if lane.grouped { lane.groups(conn)?.fair.behind } else { 0 };
    Ok(lane.ready().saturating_sub(behind))
}

fn enter(
    conn: &Connection,
    lane: &mut Lane,
    standing: &mut Standing,
    front: bool,
    now: Timestamp,
) -> Result<Key, Fault> {
    let entry = lane.groups(conn)?.fair.enter(standing, front, now);
    Ok(match entry {
        Entry::Head(key) => key,
        Entry::Before(key) => {
            lower(conn, lane, key, standing)?;
            key
        }
        Entry::Line => (standing.line(), if front { lane.front() } else { lane.back() }),
    })
}

fn settle(conn: &Connection, lane: &mut Lane, mut standing: Standing, now: Timestamp) -> Result<(), Fault> {
    let moved = lane.groups(conn)?.fair.settle(&mut standing, now);
    match moved {
        Move::Stay => {}
        Move::Raise(key) => match first_in_line(conn, lane, &standing)? {
            Some(row) => move_to(conn, row, key)?,
            None => standing = table::miscounted(conn, lane, standing)?,
        },
        Move::Lower(key) => lower(conn, lane, key, &standing)?,
    }
    table::put(conn, lane, standing)
}

fn lower(conn: &Connection, lane: &mut Lane, key: Key, standing: &Standing) -> Result<(), Fault> {
    let turn = lane.front();
    match first(conn, lane, key)? {
        Some(row) => move_to(conn, row, (standing.line(), turn)),
        None => Ok(()),
    }
}

fn move_to(conn: &Connection, row: i64, (k1, k2): Key) -> Result<(), Fault> {
    conn.prepare_cached(MOVE)?.execute(params![row, k1, k2])?;
    Ok(())
}

fn first(conn: &Connection, lane: &Lane, (k1, k2): Key) -> Result<Option<i64>, Fault> {
    Ok(conn.prepare_cached(HEAD)?.query_row(params![lane.q, k1, k2], |row| row.get(0)).optional()?)
}

fn first_in_line(conn: &Connection, lane: &Lane, standing: &Standing) -> Result<Option<i64>, Fault> {
    Ok(conn.prepare_cached(FIRST)?.query_row([lane.q, standing.line()], |row| row.get(0)).optional()?)
}

fn flags(conn: &Connection, row: i64) -> Result<i64, Fault> {
    Ok(conn.prepare_cached(FLAGS)?.query_row([row], |row| row.get(0))?)
}
