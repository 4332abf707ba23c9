//! Deduplication: who owns which id, and what is to run after an owner. Only jobs that carry an id come here.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::add;
use super::fault::Fault;
use super::lane::Lane;
use super::row::{self, DEDUP, Row};
use crate::backend::dedup::{Owner, Ruling, live, rule};
use crate::backend::{MAX_EVICT, NewJob};
use crate::event::Event;
use crate::job::{JobId, Payload};
use crate::options::Dedup;
use crate::state::State;
use crate::time::Timestamp;

const OWNER: &str = "SELECT d.job, d.until, j.place, j.flags, j.opts FROM dedups AS d \
    LEFT JOIN jobs AS j ON j.q = d.q AND j.id = d.job WHERE d.q = ?1 AND d.id = ?2";
const OWN: &str = "INSERT INTO dedups (q, id, job, until) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (q, id) DO UPDATE SET job = excluded.job, until = excluded.until";
const FORGET_ENDED: &str = "DELETE FROM dedups WHERE q = ?1 AND id IN \
    (SELECT id FROM dedups WHERE q = ?1 AND until <= ?2 ORDER BY until LIMIT ?3)";
const REMEMBER: &str = "INSERT INTO lasts (q, owner, job, name, data, opts) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
    ON CONFLICT (q, owner) DO UPDATE SET job = excluded.job, name = excluded.name, data = excluded.data, \
    opts = excluded.opts";
const RESCHEDULE: &str = "UPDATE jobs SET k1 = ?3, k2 = ?4 WHERE q = ?1 AND id = ?2 AND place = 1";

/// Claims its deduplication id for a new job, given with its options' text. Answers the owner when the job is not to be
/// added.
pub(super) fn claim(
    conn: &Connection,
    lane: &mut Lane,
    wish: &Dedup,
    (id, job, opts): (&JobId, &NewJob, &str),
    now: Timestamp,
) -> Result<Option<JobId>, Fault> {
    let key = &wish.id;
    let says = |survivor: &JobId, lost: &JobId| Event::Deduplicated {
        id: survivor.clone(),
        dedup: key.clone(),
        lost: lost.clone(),
    };
    match rule(wish, job.options.delay, owner(conn, lane, key)?, now) {
        Ruling::Own(until) => claimed(conn, lane, key, id, until, now)?,
        Ruling::Inherit(old, until) => {
            forget_last(conn, lane, &old.job)?;
            claimed(conn, lane, key, id, until, now)?;
        }
        Ruling::Replace(old, until) => {
            if let Some(row) = Row::find(conn, lane, &old.job)? {
                row.remove(conn, lane, now)?;
            }
            forget_last(conn, lane, &old.job)?;
            lane.tell(Event::Removed { id: old.job.clone(), prev: State::Delayed });
            lane.tell(says(id, &old.job));
            claimed(conn, lane, key, id, until, now)?;
        }
        Ruling::Remember(owner) => {
            lane.tell(says(&owner.job, id));
            own(conn, lane, key, &owner.job, None)?;
            let row = params![lane.q, owner.job.as_str(), id.as_str(), &*job.name, job.data.as_str(), opts];
            conn.prepare_cached(REMEMBER)?.execute(row)?;
            return Ok(Some(owner.job));
        }
        Ruling::Ignore(owner) => return Ok(Some(owner.job)),
        Ruling::Drop { owner, until, due } => {
            lane.tell(says(&owner.job, id));
            if until != owner.until {
                own(conn, lane, key, &owner.job, until)?;
            }
            if let Some(due) = due {
                let turn = lane.back();
                conn.prepare_cached(RESCHEDULE)?.execute(params![lane.q, owner.job.as_str(), due.millis(), turn])?;
                lane.tell(Event::Delayed { id: owner.job.clone(), due });
            }
            return Ok(Some(owner.job));
        }
    }
    Ok(None)
}

fn owner(conn: &Connection, lane: &Lane, key: &str) -> Result<Option<Owner>, Fault> {
    let mut find = conn.prepare_cached(OWNER)?;
    let found = find
        .query_row(params![lane.q, key], |row| {
            let carries = row.get::<_, Option<i64>>(3)?.is_some_and(|flags| flags & DEDUP != 0)
                && named(&row.get::<_, String>(4)?).is_some_and(|dedup| *dedup.id == *key);
            let place = row.get::<_, Option<i64>>(2)?.filter(|_| carries);
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, place))
        })
        .optional()?;
    let Some((job, until, place)) = found else {
        return Ok(None);
    };
    let place = place.map(row::place).transpose()?;
    Ok(Some(Owner { job: JobId::stored(job), until: until.map(Timestamp::from_millis), place }))
}

fn own(conn: &Connection, lane: &Lane, key: &str, job: &JobId, until: Option<Timestamp>) -> Result<(), Fault> {
    let row = params![lane.q, key, job.as_str(), until.map(Timestamp::millis)];
    conn.prepare_cached(OWN)?.execute(row)?;
    Ok(())
}

/// A new job owns the id. For each that is owned for a time, two whose time is over are forgotten: else they would pile up.
fn claimed(
    conn: &Connection,
    lane: &Lane,
    key: &str,
    id: &JobId,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    own(conn, lane, key, id, until)?;
    if until.is_some() {
        conn.prepare_cached(FORGET_ENDED)?.execute(params![lane.q, now.millis(), MAX_EVICT as i64])?;
    }
    Ok(())
}

/// What was to run after an owner is not added.
fn forget_last(conn: &Connection, lane: &Lane, owner: &JobId) -> Result<(), Fault> {
    let mut forget = conn.prepare_cached("DELETE FROM lasts WHERE q = ?1 AND owner = ?2")?;
    forget.execute(params![lane.q, owner.as_str()])?;
    Ok(())
}

/// The deduplication id in stored options. Damaged ones name none: whoever comes next takes the id of a job that is gone.
fn named(opts: &str) -> Option<Dedup> {
    row::decode_options(opts).ok()?.deduplication
}

/// A job has ended for good: it gives its id up unless that is owned for longer, and what waited for it is added.
pub(super) fn ended(conn: &Connection, lane: &mut Lane, opts: &str, id: &JobId, now: Timestamp) -> Result<(), Fault> {
    let Some(Dedup { id: key, .. }) = named(opts) else {
        return Ok(());
    };
    conn.prepare_cached("DELETE FROM dedups WHERE q = ?1 AND id = ?2 AND job = ?3 AND (until IS NULL OR until <= ?4)")?
        .execute(params![lane.q, &*key, id.as_str(), now.millis()])?;
    let mut recall =
        conn.prepare_cached("DELETE FROM lasts WHERE q = ?1 AND owner = ?2 RETURNING job, name, data, opts")?;
    let last = recall
        .query_row(params![lane.q, id.as_str()], |row| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok(texts)
        })
        .optional()?;
    let Some([next, name, data, opts]) = last else {
        return Ok(());
    };
    lane.next_id();
    let next = JobId::stored(next);
    // One with damaged options is stored as it is, for its taker to fail.
    let options = Arc::new(row::decode_options(&opts).unwrap_or_default());
    let job = NewJob { id: None, name: name.into(), data: Payload::stored(data), options };
    let mut insert = conn.prepare_cached(add::INSERT)?;
    if add::store(&mut insert, conn, lane, (&next, &job, &opts), now)? {
        // Freed by hand, the id may have come to be another's meanwhile.
        if owner(conn, lane, &key)?.is_none_or(|other| !live(other.until, now)) {
            own(conn, lane, &key, &next, None)?;
        }
        lane.ring = true;
    }
    Ok(())
}

/// A job is about to be removed by somebody's wish: its id is free, nothing runs after it.
pub(super) fn removing(conn: &Connection, lane: &Lane, row: &Row, id: &JobId) -> Result<(), Fault> {
    if row.flags & DEDUP == 0 {
        return Ok(());
    }
    let mut read = conn.prepare_cached("SELECT opts FROM jobs WHERE row = ?1")?;
    let opts: String = read.query_row([row.row], |row| row.get(0))?;
    if let Some(Dedup { id: key, .. }) = named(&opts) {
        let args = params![lane.q, &*key, id.as_str()];
        conn.prepare_cached("DELETE FROM dedups WHERE q = ?1 AND id = ?2 AND job = ?3")?.execute(args)?;
        forget_last(conn, lane, id)?;
    }
    Ok(())
}

/// Frees an id by hand; answers whether somebody owned it.
pub(super) fn free(conn: &Connection, lane: &Lane, key: &str, now: Timestamp) -> Result<bool, Fault> {
    let mut free = conn.prepare_cached("DELETE FROM dedups WHERE q = ?1 AND id = ?2 RETURNING until")?;
    let freed = free.query_row(params![lane.q, key], |row| row.get::<_, Option<i64>>(0)).optional()?;
    Ok(freed.is_some_and(|until| live(until.map(Timestamp::from_millis), now)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::{row::OptionsCache, schema, scribe::Tx};
    use super::*;
    use crate::backend::Add;
    use crate::job::QueueName;
    use crate::options::JobOptions;

    #[test]
    fn ids_whose_time_is_over_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let conn = schema::writer(&folder.path().join("queue.db")).unwrap();
        let mut options = OptionsCache::default();
        let mut tx = Tx { conn: &conn, options: &mut options, lanes: HashMap::new() };
        for n in 0..100 {
            let dedup = Dedup::throttle(format!("id {n}"), Duration::from_secs(5));
            let options = Arc::new(JobOptions { deduplication: Some(dedup), ..JobOptions::default() });
            let job = NewJob { id: None, name: "n".into(), data: Payload::null(), options };
            let add = Add { queue: QueueName::new("q").unwrap(), jobs: vec![job] };
            add::add(&mut tx, &(add, Timestamp::from_millis(n * 1_000))).unwrap();
        }
        let kept: i64 = conn.query_row("SELECT COUNT(*) FROM dedups", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 5);
    }
}
