//! What readers see of groups. Nothing here changes anything.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::fault::Fault;
use super::super::lane::Lane;
use super::table::{AFTER, BY_ID, fair, standing};
use crate::backend::groups::{BEHIND, Key};
use crate::backend::{GroupDefaults, GroupInfo, GroupsWanted, MAX_AHEAD};
use crate::job::QueueName;
use crate::options::Group;

const AHEAD: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE q = ?1 AND place = 0 AND k1 = ?2 AND k2 < ?3 LIMIT ?4)";

pub(in super::super) fn list(
    conn: &Connection,
    queue: &QueueName,
    wanted: &GroupsWanted,
    most: u32,
) -> Result<Vec<GroupInfo>, Fault> {
    let Some(lane) = Lane::find(conn, queue)?.filter(|lane| lane.grouped) else {
        return Ok(Vec::new());
    };
    match wanted {
        GroupsWanted::Ids(ids) => {
            let mut found = Vec::new();
            for id in ids.iter().take(most as usize) {
                found.extend(one(conn, &lane, id)?);
            }
            Ok(found)
        }
        GroupsWanted::After(after) => {
            let defaults = fair(conn, lane.q)?.defaults;
            let after = after.as_ref().map_or("", Group::as_str);
            let mut read = conn.prepare_cached(AFTER)?;
            let found = read.query_map(params![lane.q, after, most], |row| {
                Ok(standing(row)?.info(Group::new(row.get::<_, String>(0)?), &defaults))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        }
    }
}

fn one(conn: &Connection, lane: &Lane, id: &Group) -> Result<Option<GroupInfo>, Fault> {
    let defaults = fair(conn, lane.q)?.defaults;
    let found = conn.prepare_cached(BY_ID)?.query_row(params![lane.q, id.as_str()], standing).optional()?;
    Ok(found.map(|standing| standing.info(id.clone(), &defaults)))
}

/// How many groups there are, and what holds for those without settings.
pub(in super::super) fn totals(conn: &Connection, lane: &Lane) -> Result<(u64, GroupDefaults), Fault> {
    if !lane.grouped {
        return Ok(Default::default());
    }
    let fair = fair(conn, lane.q)?;
    Ok((fair.groups, fair.defaults))
}

/// The group of a job, and how many of its jobs stand before one with this key, if it is ready.
pub(in super::super) fn facts(
    conn: &Connection,
    lane: &Lane,
    id: &Group,
    key: Option<Key>,
) -> Result<(Option<GroupInfo>, u32), Fault> {
    if !lane.grouped {
        return Ok((None, 0));
    }
    let info = one(conn, lane, id)?;
    let Some((k1, k2)) = key.filter(|(k1, _)| *k1 >= BEHIND) else {
        return Ok((info, 0));
    };
    let head = u32::from(info.as_ref().is_some_and(|info| info.in_turn));
    let args = params![lane.q, k1, k2, MAX_AHEAD + 1 - head];
    let ahead: u32 = conn.prepare_cached(AHEAD)?.query_row(args, |row| row.get(0))?;
    Ok((info, ahead + head))
}
