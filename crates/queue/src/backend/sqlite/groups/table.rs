//! The rows of groups within one transaction: read at the first touch, written back at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::fault::Fault;
use super::super::lane::Lane;
use crate::backend::groups::{Fair, Standing};
use crate::backend::{GroupDefaults, Limits, MAX_EVICT, Rate};
use crate::options::Group;
use crate::time::Timestamp;

/// The groups of one queue that a transaction has touched.
#[derive(Debug)]
pub(in super::super) struct Groups {
    pub(in super::super) fair: Fair,
    stored: Fair,
    all: BTreeMap<u32, Cached>,
    numbers: HashMap<Group, u32>,
    touched: BTreeSet<u32>,
}

#[derive(Debug)]
struct Cached {
    id: Group,
    standing: Standing,
    /// As the table has it; `None`: it has no such row.
    stored: Option<Standing>,
}

const FAIR: &str =
    "SELECT time, number, groups, behind, due, unseen, concurrency, rate_max, rate_per FROM fairs WHERE q = ?1";
const STORE_FAIR: &str = "UPDATE fairs SET time = ?2, number = ?3, groups = ?4, behind = ?5, due = ?6, unseen = ?7, \
    concurrency = ?8, rate_max = ?9, rate_per = ?10 WHERE q = ?1";

/// What a group's row says, in the order that `standing` reads.
macro_rules! row_where {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, weight, paused, concurrency, rate_max, rate_per, used, window_start, hold_until, last, \
             waiting, active, head, due FROM groups WHERE q = ?1 AND ",
            $rest
        )
    };
}
pub(super) const BY_NUMBER: &str = row_where!("number = ?2");
pub(super) const BY_ID: &str = row_where!("id = ?2");
pub(super) const AFTER: &str = row_where!("id > ?2 ORDER BY id LIMIT ?3");

const INSERT: &str = "INSERT INTO groups (q, number, weight, paused, concurrency, rate_max, rate_per, used, window_start, \
    hold_until, last, waiting, active, head, idle, due, id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const UPDATE: &str = "UPDATE groups SET weight = ?3, paused = ?4, concurrency = ?5, rate_max = ?6, rate_per = ?7, used = ?8, \
    window_start = ?9, hold_until = ?10, last = ?11, waiting = ?12, active = ?13, head = ?14, idle = ?15, due = ?16 \
    WHERE q = ?1 AND number = ?2";
const DELETE: &str = "DELETE FROM groups WHERE q = ?1 AND number = ?2";
const OVER: &str = "SELECT number FROM groups WHERE q = ?1 AND idle = 1 AND due <= ?2 ORDER BY due LIMIT ?3";

impl Groups {
    /// The groups of a queue; its row is made at the first use of any.
    pub(in super::super) fn load(conn: &Connection, lane: &mut Lane) -> Result<Self, Fault> {
        if !lane.grouped {
            conn.prepare_cached("INSERT INTO fairs (q) VALUES (?1)")?.execute([lane.q])?;
            conn.prepare_cached("UPDATE queues SET grouped = 1 WHERE q = ?1")?.execute([lane.q])?;
            lane.grouped = true;
        }
        let fair = fair(conn, lane.q)?;
        let (all, numbers, touched) = Default::default();
        Ok(Self { fair, stored: fair, all, numbers, touched })
    }

    /// A group as it stands now; one that is worth nothing goes.
    pub(super) fn put(&mut self, conn: &Connection, q: i64, standing: Standing) -> Result<(), Fault> {
        let number = standing.number;
        let Some(cached) = self.all.get_mut(&number) else { return Ok(()) };
        if !standing.forgettable() {
            cached.standing = standing;
            self.touched.insert(number);
            return Ok(());
        }
        if cached.stored.is_some() {
            conn.prepare_cached(DELETE)?.execute(params![q, number])?;
        }
        self.numbers.remove(&cached.id);
        self.all.remove(&number);
        self.touched.remove(&number);
        self.fair.groups = self.fair.groups.saturating_sub(1);
        Ok(())
    }

    fn known(&mut self, id: Group, standing: Standing, stored: Option<Standing>) -> Standing {
        self.numbers.insert(id.clone(), standing.number);
        self.all.insert(standing.number, Cached { id, standing, stored });
        standing
    }

    /// Writes back what was touched.
    fn flush(&mut self, conn: &Connection, q: i64) -> Result<(), Fault> {
        for number in std::mem::take(&mut self.touched) {
            let Some(cached) = self.all.get_mut(&number).filter(|cached| cached.stored != Some(cached.standing)) else {
                continue;
            };
            let (known, now) = (cached.stored.replace(cached.standing), cached.standing);
            let id = cached.id.as_str();
            write(conn, q, &now, known.is_none().then_some(id))?;
        }
        Ok(())
    }

    /// The end of a transaction.
    pub(in super::super) fn store(&mut self, conn: &Connection, q: i64) -> Result<(), Fault> {
        self.flush(conn, q)?;
        if self.fair != self.stored {
            let Fair { time, number, defaults, groups, behind, due, unseen } = self.fair;
            let (rate_max, rate_per) = columns(defaults.rate);
            let due = due.map(Timestamp::millis);
            let args = params![q, time, number, groups, behind, due, unseen, defaults.concurrency, rate_max, rate_per];
            conn.prepare_cached(STORE_FAIR)?.execute(args)?;
            self.stored = self.fair;
        }
        Ok(())
    }
}

/// A group as it stands now; one that is worth nothing goes.
pub(super) fn put(conn: &Connection, lane: &mut Lane, standing: Standing) -> Result<(), Fault> {
    let q = lane.q;
    lane.groups(conn)?.put(conn, q, standing)
}

/// Writes back what was touched, so that the table can be asked.
pub(super) fn flush(conn: &Connection, lane: &mut Lane) -> Result<(), Fault> {
    let q = lane.q;
    lane.groups(conn)?.flush(conn, q)
}

/// A group by its id, made when it is not there. For each that is made two are forgotten whose time is over.
pub(super) fn open(conn: &Connection, lane: &mut Lane, id: &Group, now: Timestamp) -> Result<Standing, Fault> {
    let q = lane.q;
    let groups = lane.groups(conn)?;
    if let Some(cached) = groups.numbers.get(id).and_then(|number| groups.all.get(number)) {
        return Ok(cached.standing);
    }
    let mut by_id = conn.prepare_cached(BY_ID)?;
    if let Some(found) = by_id.query_row(params![q, id.as_str()], standing).optional()? {
        return Ok(groups.known(id.clone(), found, Some(found)));
    }
    let mut over = conn.prepare_cached(OVER)?;
    let over = over.query_map(params![q, now.millis(), MAX_EVICT as i64], |row| row.get::<_, u32>(0))?;
    // What this transaction has touched is not what the table says of it.
    for number in over.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|number| !groups.all.contains_key(number)) {
        conn.prepare_cached(DELETE)?.execute(params![q, number])?;
        groups.fair.groups = groups.fair.groups.saturating_sub(1);
    }
    let mut taken = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM groups WHERE q = ?1 AND number = ?2)")?;
    let mut number = groups.fair.next_number();
    while groups.all.contains_key(&number) || taken.query_row(params![q, number], |row| row.get(0))? {
        number = groups.fair.next_number();
    }
    groups.fair.groups += 1;
    let made = groups.known(id.clone(), Standing::new(number), None);
    groups.touched.insert(number);
    Ok(made)
}

/// A group by its number, which a ready or active job of it carries: it is there.
pub(super) fn find(conn: &Connection, lane: &mut Lane, number: u32) -> Result<Standing, Fault> {
    let missing = || Fault::Damaged { what: "groups", why: format!("no group has the number {number}") };
    look_for(conn, lane, number)?.ok_or_else(missing)
}

/// The same for a job that leaves its group: a row that is lost must not keep it.
pub(super) fn find_again(conn: &Connection, lane: &mut Lane, number: u32) -> Result<Option<Standing>, Fault> {
    let found = look_for(conn, lane, number)?;
    if found.is_none() {
        tracing::error!(queue = %lane.name, group = number, "a group's row is lost");
    }
    Ok(found)
}

fn look_for(conn: &Connection, lane: &mut Lane, number: u32) -> Result<Option<Standing>, Fault> {
    let q = lane.q;
    let groups = lane.groups(conn)?;
    if let Some(cached) = groups.all.get(&number) {
        return Ok(Some(cached.standing));
    }
    let mut read = conn.prepare_cached(BY_NUMBER)?;
    let found = read.query_row(params![q, number], |row| Ok((row.get::<_, String>(0)?, standing(row)?))).optional()?;
    Ok(found.map(|(id, found)| groups.known(Group::new(id), found, Some(found))))
}

/// Its line is empty, though its row says otherwise: the row is put right, so that the others can go on.
pub(super) fn miscounted(conn: &Connection, lane: &mut Lane, mut standing: Standing) -> Result<Standing, Fault> {
    tracing::error!(queue = %lane.name, group = standing.number, "a group's row counts jobs that are not there");
    let fair = &mut lane.groups(conn)?.fair;
    fair.behind = fair.behind.saturating_sub(standing.waiting.saturating_sub(1));
    (standing.waiting, standing.head, standing.due) = (0, false, None);
    Ok(standing)
}

/// What a queue keeps of its groups.
pub(super) fn fair(conn: &Connection, q: i64) -> Result<Fair, Fault> {
    let read = conn.prepare_cached(FAIR)?.query_row([q], |row| {
        Ok(Fair {
            time: row.get(0)?,
            number: row.get(1)?,
            groups: row.get(2)?,
            behind: row.get(3)?,
            due: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            unseen: row.get(5)?,
            defaults: GroupDefaults { concurrency: row.get(6)?, rate: rate(row, 7)? },
        })
    });
    read.optional()?.ok_or(Fault::Damaged { what: "fairs", why: "a queue's row is not there".into() })
}

/// A row of one of the selects above.
pub(super) fn standing(row: &SqlRow<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing {
        number: row.get(1)?,
        weight: row.get(2)?,
        paused: row.get(3)?,
        limits: Limits {
            concurrency: row.get(4)?,
            rate: rate(row, 5)?,
            used: row.get(7)?,
            window_start: Timestamp::from_millis(row.get(8)?),
            until: Timestamp::from_millis(row.get(9)?),
        },
        last: row.get(10)?,
        waiting: row.get(11)?,
        active: row.get(12)?,
        head: row.get(13)?,
        due: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
    })
}

fn write(conn: &Connection, q: i64, standing: &Standing, new: Option<&str>) -> Result<(), Fault> {
    let Standing { number, weight, paused, limits, last, waiting, active, head, due } = standing;
    let (rate_max, rate_per) = columns(limits.rate);
    let (window, until, due) = (limits.window_start.millis(), limits.until.millis(), due.map(Timestamp::millis));
    let (idle, concurrency, used) = (standing.idle(), limits.concurrency, limits.used);
    let mut args = params![
        q,
        number,
        weight,
        paused,
        concurrency,
        rate_max,
        rate_per,
        used,
        window,
        until,
        last,
        waiting,
        active,
        head,
        idle,
        due
    ]
    .to_vec();
    let sql = if new.is_some() { INSERT } else { UPDATE };
    args.extend(new.iter().map(|id| id as &dyn rusqlite::ToSql));
    conn.prepare_cached(sql)?.execute(args.as_slice())?;
    Ok(())
}

fn rate(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<Rate>> {
    let per = Duration::from_millis(row.get::<_, Option<u64>>(column + 1)?.unwrap_or_default());
    Ok(row.get::<_, Option<NonZeroU32>>(column)?.map(|max| Rate { max, per }))
}

fn columns(rate: Option<Rate>) -> (Option<NonZeroU32>, Option<i64>) {
    let per = |rate: Rate| i64::try_from(rate.per.as_millis()).unwrap_or(i64::MAX);
    (rate.map(|rate| rate.max), rate.map(per))
}
