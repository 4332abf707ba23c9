//! Handing out heads: one after the other in the order of their keys, and each that is taken brings in the next of its
//! group, which competes at once.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::super::fault::Fault;
use super::super::lane::Lane;
use super::super::row::OptionsCache;
use super::super::take::{Taken, read_row, taken};
use super::{first_in_line, move_to, number, settle, table};
use crate::backend::groups::{Key, Move};
use crate::backend::{GroupStatus, Held, Take};
use crate::time::Timestamp;

/// `?1` row, `?2` until, `?3` token, `?4` now, `?5` worker, `?6` turn: a key of another order says nothing about the order of
/// the active ones.
const LOCK: &str = "UPDATE jobs SET place = 2, k1 = ?2, k2 = ?6, token = ?3, since = ?4, processed_on = ?4, worker = ?5, \
    started = started + 1 WHERE row = ?1";

/// Who takes how many, and when.
pub(in super::super) struct By<'a> {
    pub(in super::super) wish: &'a Take,
    pub(in super::super) worker: &'a str,
    pub(in super::super) most: usize,
    pub(in super::super) now: Timestamp,
}

enum Candidate {
    Read(Taken),
    /// Brought in by the head before it; its row says that it is in the line.
    InLine(i64),
}

/// Takes the given heads, the first of all in the order of takes, or those that they bring in and that come before them.
pub(in super::super) fn hand_out(
    conn: &Connection,
    cache: &mut OptionsCache,
    lane: &mut Lane,
    heads: Vec<Taken>,
    by: By<'_>,
) -> Result<Vec<Held>, Fault> {
    let now = by.now;
    let mut order: BTreeMap<Key, (u32, Candidate)> = BTreeMap::new();
    for head in heads {
        let number = number(head.flags);
        let key = table::find(conn, lane, number)?.key();
        order.insert(key, (number, Candidate::Read(head)));
    }
    let until = now.plus(by.wish.lock_for).millis();
    let mut lock = conn.prepare_cached(LOCK)?;
    let (mut held, mut most) = (Vec::with_capacity(order.len()), by.most);
    while held.len() < most
        && let Some((_, (number, candidate))) = order.pop_first()
    {
        let mut standing = table::find(conn, lane, number)?;
        if standing.status(&lane.groups(conn)?.fair.defaults, now) != GroupStatus::Open {
            settle(conn, lane, standing, now)?;
            // The head in whose place it would be was not read.
            most -= 1;
            continue;
        }
        let job = match candidate {
            Candidate::Read(job) => job,
            Candidate::InLine(row) => {
                let gone = || Fault::Damaged { what: "jobs", why: format!("the row {row} has vanished") };
                read_row(conn, cache, row, by.wish, now)?.ok_or_else(gone)?
            }
        };
        let turn = lane.back();
        lock.execute(params![job.held.lock.row, until, by.wish.token.as_str(), now.millis(), by.worker, turn])?;
        let fair = &mut lane.groups(conn)?.fair;
        fair.taken(&mut standing, job.held.failed_already.is_none(), now);
        if let Move::Raise(key) = fair.settle(&mut standing, now) {
            match first_in_line(conn, lane, &standing)? {
                Some(row) => drop(order.insert(key, (number, Candidate::InLine(row)))),
                None => standing = table::miscounted(conn, lane, standing)?,
            }
        }
        table::put(conn, lane, standing)?;
        held.push(taken(lane, job, now));
    }
    for (key, (_, candidate)) in order {
        if let Candidate::InLine(row) = candidate {
            move_to(conn, row, key)?;
        }
    }
    Ok(held)
}
