//! One queue within one transaction: its row, read at the first touch and written back at the end, and what is to be
//! told when the transaction is through.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::flow::Word;
use super::groups::Groups;
use super::minutes;
use crate::backend::{Limits, MAX_EVENTS, Minute, Rate, Room};
use crate::event::{Event, Position};
use crate::job::QueueName;
use crate::state::{Counts, Place, State};
use crate::time::Timestamp;

/// Events in one row at the most, so that readers never unpack more than they want.
const EVENTS_PER_ROW: usize = 512;
/// Old event rows removed by one transaction at the most, beyond as many as it adds.
const TRIM_ROWS: usize = 4;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) q: i64,
    pub(super) name: QueueName,
    /// It was removed, and nothing was written to it since.
    pub(super) gone: bool,
    pub(super) paused: bool,
    pub(super) limits: Limits,
    pub(super) counts: Counts,
    /// Whether somebody who waits for work should look.
    pub(super) ring: bool,
    /// What a verb has done to children here; passed on to their parents when it is through with this queue.
    pub(super) words: Vec<Word>,
    /// Whether any job of it has ever belonged to a group.
    pub(super) grouped: bool,
    groups: Option<Box<Groups>>,
    next_id: i64,
    tail: i64,
    head: i64,
    newest: Position,
    kept: u64,
    trimmed: Position,
    told: Vec<Event>,
    /// What this transaction counts, by minute; one, unless its verbs were called in different ones.
    counted: BTreeMap<i64, Minute>,
}

const LOAD: &str = "SELECT q, paused, next_id, tail, head, waiting, prioritized, delayed, active, waiting_children, \
    completed, failed, event_seq, event_last, events_kept, trimmed_seq, trimmed_last, \
    concurrency, rate_max, rate_per, used, window_start, hold_until, grouped, gone FROM queues WHERE name = ?1";

const STORE: &str = "UPDATE queues SET paused = ?2, next_id = ?3, tail = ?4, head = ?5, waiting = ?6, \
    prioritized = ?7, delayed = ?8, active = ?9, waiting_children = ?10, completed = ?11, failed = ?12, \
    event_seq = ?13, event_last = ?14, events_kept = ?15, trimmed_seq = ?16, trimmed_last = ?17, \
    concurrency = ?18, rate_max = ?19, rate_per = ?20, used = ?21, window_start = ?22, hold_until = ?23, gone = ?24 WHERE q = ?1";

impl Lane {
    /// The queue's row, if there is one.
    pub(super) fn find(conn: &Connection, name: &QueueName) -> Result<Option<Lane>, Fault> {
        let mut load = conn.prepare_cached(LOAD)?;
        let lane = load.query_row([name.as_str()], |row| {
            Ok(Lane {
                q: row.get(0)?,
                name: name.clone(),
                paused: row.get(1)?,
                next_id: row.get(2)?,
                tail: row.get(3)?,
                head: row.get(4)?,
                counts: Counts {
                    waiting: row.get(5)?,
                    prioritized: row.get(6)?,
                    delayed: row.get(7)?,
                    active: row.get(8)?,
                    waiting_children: row.get(9)?,
                    completed: row.get(10)?,
                    failed: row.get(11)?,
                },
                newest: Position { seq: row.get(12)?, index: row.get(13)? },
                kept: row.get(14)?,
                trimmed: Position { seq: row.get(15)?, index: row.get(16)? },
                limits: limits(row)?,
                ring: false,
                words: Vec::new(),
                grouped: row.get(23)?,
                gone: row.get(24)?,
                groups: None,
                told: Vec::new(),
                counted: BTreeMap::new(),
            })
        });
        Ok(lane.optional()?)
    }

    /// The queue's row, made when there is none.
    pub(super) fn load(conn: &Connection, name: &QueueName) -> Result<Lane, Fault> {
        if let Some(lane) = Self::find(conn, name)? {
            return Ok(lane);
        }
        conn.prepare_cached("INSERT INTO queues (name) VALUES (?1)")?.execute([name.as_str()])?;
        Self::find(conn, name)?.ok_or(Fault::Damaged { what: "queues", why: "a new row is not there".into() })
    }

    /// Writes the row and the events back.
    pub(super) fn store(&mut self, conn: &Connection) -> Result<(), Fault> {
        if let Some(groups) = &mut self.groups {
            groups.store(conn, self.q)?;
        }
        self.store_events(conn)?;
        for (number, counted) in std::mem::take(&mut self.counted) {
            minutes::store(conn, self.q, number, &counted)?;
        }
        let (counts, limits, newest, trimmed) = (&self.counts, &self.limits, self.newest, self.trimmed);
        conn.prepare_cached(STORE)?.execute(params![
            self.q,
            self.paused,
            self.next_id,
            self.tail,
            self.head,
            counts.waiting,
            counts.prioritized,
            counts.delayed,
            counts.active,
            counts.waiting_children,
            counts.completed,
            counts.failed,
            newest.seq,
            newest.index,
            self.kept,
            trimmed.seq,
            trimmed.index,
            limits.concurrency,
            limits.rate.map(|rate| rate.max),
            limits.rate.map(|rate| i64::try_from(rate.per.as_millis()).unwrap_or(i64::MAX)),
            limits.used,
            limits.window_start.millis(),
            limits.until.millis(),
            self.gone,
        ])?;
        Ok(())
    }

    /// Nothing is left of it but its number, and where its events ended: whoever reads on from there learns of a gap.
    pub(super) fn wipe(&mut self) {
        *self = Lane {
            q: self.q,
            name: self.name.clone(),
            gone: true,
            paused: false,
            limits: Limits::default(),
            counts: Counts::default(),
            ring: false,
            words: Vec::new(),
            grouped: false,
            groups: None,
            next_id: 0,
            tail: 0,
            head: 0,
            newest: self.newest,
            kept: 0,
            trimmed: self.newest,
            told: Vec::new(),
            counted: BTreeMap::new(),
        };
    }

    /// Its groups; whoever has no job of any does not ask.
    pub(super) fn groups(&mut self, conn: &Connection) -> Result<&mut Groups, Fault> {
        let groups = match self.groups.take() {
            Some(groups) => groups,
            None => Box::new(Groups::load(conn, self)?),
        };
        Ok(self.groups.insert(groups))
    }

    pub(super) fn next_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// The turn of a job that goes behind everything in its class.
    pub(super) fn back(&mut self) -> i64 {
        self.tail += 1;
        self.tail
    }

    /// The turn of a job that goes in front of everything in its class.
    pub(super) fn front(&mut self) -> i64 {
        self.head -= 1;
        self.head
    }

    /// Counts a job that moves.
    pub(super) fn moved(&mut self, priority: u32, from: Place, to: Place) {
        self.left(from.state(priority));
        self.entered(to.state(priority));
    }

    pub(super) fn left(&mut self, state: State) {
        let slot = self.counts.slot(state);
        *slot = slot.saturating_sub(1);
    }

    pub(super) fn entered(&mut self, state: State) {
        *self.counts.slot(state) += 1;
    }

    pub(super) fn ready(&self) -> u64 {
        self.counts.waiting + self.counts.prioritized
    }

    /// How many jobs may start, for a taker with this rate of its own.
    pub(super) fn room(&self, own: Option<Rate>, now: Timestamp) -> Room {
        self.limits.room(own, self.counts.active, now)
    }

    /// Where this transaction counts what happens now.
    pub(super) fn minute(&mut self, now: Timestamp) -> &mut Minute {
        self.counted.entry(Minute::number(now)).or_default()
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.told.push(event);
    }

    pub(super) fn newest(&self) -> Position {
        self.newest
    }

    pub(super) fn trimmed(&self) -> Position {
        self.trimmed
    }

    /// The key of the event row `seq` of queue `q`.
    pub(super) fn event_key(q: i64, seq: u64) -> i64 {
        (q << 40) | (seq as i64 & ((1 << 40) - 1))
    }

    /// The `seq` of an event row.
    pub(super) fn event_seq(key: i64) -> u64 {
        (key & ((1 << 40) - 1)) as u64
    }

    fn store_events(&mut self, conn: &Connection) -> Result<(), Fault> {
        if self.told.is_empty() {
            return Ok(());
        }
        let mut insert = conn.prepare_cached("INSERT INTO events (pos, n, packed) VALUES (?1, ?2, ?3)")?;
        let told = std::mem::take(&mut self.told);
        let mut rows = 0;
        for chunk in told.chunks(EVENTS_PER_ROW) {
            let packed = serde_json::to_string(chunk)
                .map_err(|error| Fault::Damaged { what: "events", why: error.to_string() })?;
            self.newest = Position { seq: self.newest.seq + 1, index: chunk.len() as u32 - 1 };
            insert.execute(params![Self::event_key(self.q, self.newest.seq), chunk.len(), packed])?;
            self.kept += chunk.len() as u64;
            rows += 1;
        }
        self.trim_events(conn, rows + TRIM_ROWS)
    }

    fn trim_events(&mut self, conn: &Connection, most: usize) -> Result<(), Fault> {
        let mut oldest =
            conn.prepare_cached("SELECT pos, n FROM events WHERE pos > ?1 AND pos < ?2 ORDER BY pos LIMIT 1")?;
        let mut delete = conn.prepare_cached("DELETE FROM events WHERE pos = ?1")?;
        for _ in 0..most {
            if self.kept <= MAX_EVENTS {
                break;
            }
            let bounds = [Self::event_key(self.q, self.trimmed.seq), Self::event_key(self.q, self.newest.seq)];
            let row = oldest.query_row(bounds, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))).optional()?;
            let Some((key, n)) = row else { break };
            delete.execute([key])?;
            self.kept = self.kept.saturating_sub(u64::from(n));
            self.trimmed = Position { seq: Self::event_seq(key), index: n.saturating_sub(1) };
        }
        Ok(())
    }
}

/// The limits among the columns of `LOAD`.
fn limits(row: &Row<'_>) -> rusqlite::Result<Limits> {
    let per = Duration::from_millis(row.get::<_, Option<u64>>(19)?.unwrap_or_default());
    Ok(Limits {
        concurrency: row.get(17)?,
        rate: row.get::<_, Option<NonZeroU32>>(18)?.map(|max| Rate { max, per }),
        used: row.get(20)?,
        window_start: Timestamp::from_millis(row.get(21)?),
        until: Timestamp::from_millis(row.get(22)?),
    })
}
