//! The hot path: ends many jobs and takes many (see `take`), in one trip.

use rusqlite::{Connection, OptionalExtension, params};

use super::dedup;
use super::fault::Fault;
use super::flow;
use super::groups;
use super::lane::Lane;
use super::row::{self, DEDUP, Row, SIDE};
use super::scribe::Tx;
use super::take::take;
use crate::backend::flow::{CHILDLESS, News};
use crate::backend::*;
use crate::event::Event;
use crate::exit::{Failure, Outcome};
use crate::job::JobId;
use crate::options::{GROUPED_CLASS, Keep};
use crate::state::{Place, State};
use crate::time::Timestamp;

pub(super) fn turn(tx: &mut Tx<'_>, (turn, now): &(Turn, Timestamp)) -> Result<Turned, Fault> {
    let (ends, finished) = settle(tx, turn, *now)?;
    flow::pass_on(tx, &turn.queue, *now)?;
    let (conn, cache, lane) = tx.lane(&turn.queue)?;
    let (held, next) = match &turn.take {
        Some(wish) => take(conn, cache, lane, wish, &turn.worker, *now)?,
        None => (Vec::new(), Next::More),
    };
    if finished && lane.ready() == 0 && lane.counts.active == 0 {
        lane.tell(Event::Drained);
    }
    let own = turn.take.as_ref().and_then(|take| take.rate);
    if lane.ready() > 0 && !lane.paused {
        let changed = !(ends.is_empty() && held.is_empty());
        lane.ring |= match groups::takeable(conn, lane)? {
            0 => changed && groups::next_due(conn, lane)?.is_some(),
            _ => lane.limits.calls(own, lane.counts.active, *now, changed),
        };
    }
    Ok(Turned { ends, held, next })
}

/// Ends the jobs of a turn. Answers also whether any of them has ended for good.
fn settle(tx: &mut Tx<'_>, turn: &Turn, now: Timestamp) -> Result<(Vec<End>, bool), Fault> {
    let (conn, _, lane) = tx.lane(&turn.queue)?;
    let mut settling = Settling { conn, lane, now, evictions: Vec::new() };
    let ends = turn.ends.iter().map(|verdict| settling.settle(verdict)).collect::<Result<Vec<End>, Fault>>()?;
    Ok((ends, settling.evict()?))
}

/// Only while the lock holds: this job of this queue, active, under this token, not expired. The row is no more than a
/// hint of the caller's. `?1` row, `?2` token, `?3` now, `?4` q, `?5` id.
macro_rules! held {
    ($set:literal) => {
        concat!(
            "UPDATE jobs SET settled = token, token = NULL, ",
            $set,
            " WHERE row = ?1 AND token = ?2 AND place = 2 AND k1 > ?3 AND q = ?4 AND id = ?5"
        )
    };
}

macro_rules! finish {
    () => {
        held!(
            "place = ?6, k1 = ?3, k2 = ?7, since = ?3, finished_on = ?3, made = made + 1, flags = (flags & ~1048) | ?8"
        )
    };
}

const FINISH: &str = concat!(finish!(), " AND flags & 448 = 0");
/// For jobs whose end concerns others (the flags that make up 448), so that the rest need not be asked for their options.
const FINISH_TIED: &str = concat!(finish!(), " AND flags & 448 RETURNING opts, flags");
const DROP: &str = "DELETE FROM jobs WHERE row = ?1 AND token = ?2 AND place = 2 AND k1 > ?3 AND q = ?4 AND id = ?5 \
    RETURNING CASE WHEN flags & 448 THEN opts END, flags";
const DELAY: &str = held!("place = 1, k1 = ?6, k2 = ?7, since = ?3, made = made + ?8, flags = flags | ?9");
const AGAIN: &str = concat!(
    held!(
        "place = 0, k1 = priority, k2 = CASE WHEN priority = 0 AND flags & 32 THEN ?6 ELSE ?7 END, since = ?3, \
         made = made + ?8, flags = flags | ?9"
    ),
    " RETURNING priority"
);
const BACK: &str = concat!(held!("place = 0, k1 = priority, k2 = ?6, since = ?3"), " RETURNING priority");

const AWAIT: &str = concat!(held!("place = 3, k1 = ?3, k2 = ?6, since = ?3"), " RETURNING priority");

struct Settling<'a> {
    conn: &'a Connection,
    lane: &'a mut Lane,
    now: Timestamp,
    /// How many jobs finished where, under which rule of retention.
    evictions: Vec<(Place, Keep, usize)>,
}

impl Settling<'_> {
    fn settle(&mut self, verdict: &Verdict) -> Result<End, Fault> {
        let row = match verdict.lock.row {
            0 => match Row::find(self.conn, self.lane, &verdict.lock.id)? {
                Some(found) => found.row,
                None => return Ok(End::Gone),
            },
            row => row,
        };
        let id = &verdict.lock.id;
        let applied = match &verdict.outcome {
            Outcome::Done(result) => {
                let value = (!result.is_null()).then(|| result.as_str());
                self.finish(row, verdict, Place::Completed, ("result", value))?
            }
            Outcome::Dead(failure) => self.dead(row, verdict, failure)?,
            Outcome::Retry { at, failure } => {
                let text = encode(failure)?;
                let applied = self.again(row, verdict, *at, Some(&text))?;
                applied.then(|| self.side(row, "failure", &text)).transpose()?.is_some()
            }
            Outcome::Later(at) => self.again(row, verdict, *at, None)?,
            Outcome::AwaitChildren if flow::must_wait(self.conn, row)? => {
                let turn = self.lane.back();
                let mut wait = self.conn.prepare_cached(AWAIT)?;
                let args = params![row, verdict.lock.token.as_str(), self.now.millis(), self.lane.q, id.as_str(), turn];
                let priority = wait.query_row(args, |row| row.get::<_, u32>(0)).optional()?;
                if let Some(priority) = priority {
                    flow::waits(self.lane, id, priority);
                    groups::delayed(self.conn, self.lane, row, self.now)?;
                }
                priority.is_some()
            }
            Outcome::AwaitChildren if !flow::has_children(self.conn, row)? => {
                self.again(row, verdict, self.now.plus(CHILDLESS), None)?
            }
            Outcome::Back | Outcome::SlowDown(_) | Outcome::SlowDownGroup(_) | Outcome::AwaitChildren => {
                let turn = self.lane.front();
                let mut back = self.conn.prepare_cached(BACK)?;
                let args = params![row, verdict.lock.token.as_str(), self.now.millis(), self.lane.q, id.as_str(), turn];
                match back.query_row(args, |row| row.get::<_, u32>(0)).optional()? {
                    Some(priority) => {
                        match verdict.outcome {
                            Outcome::SlowDown(until) => self.lane.limits.hold(until),
                            Outcome::SlowDownGroup(until) => {
                                groups::slow_down(self.conn, self.lane, row, until, self.now)?
                            }
                            _ => {}
                        }
                        self.woken(row, id, priority, groups::To::Front)?
                    }
                    None => false,
                }
            }
        };
        if !applied {
            return self.missed(&verdict.lock);
        }
        self.lane.minute(self.now).ended(verdict);
        Ok(End::Applied)
    }

    /// Why a verdict hit nothing.
    fn missed(&self, lock: &Lock) -> Result<End, Fault> {
        Ok(match Row::find(self.conn, self.lane, &lock.id)? {
            None => End::Gone,
            Some(row) if row.settled.as_deref() == Some(lock.token.as_str()) => End::AlreadyApplied,
            Some(_) => End::LockLost,
        })
    }

    fn dead(&mut self, row: i64, verdict: &Verdict, failure: &Failure) -> Result<bool, Fault> {
        let mut read = self.conn.prepare_cached("SELECT made, opts FROM jobs WHERE row = ?1 AND token = ?2")?;
        let args = params![row, verdict.lock.token.as_str()];
        let before = read.query_row(args, |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?))).optional()?;
        let Some((made, options)) = before else {
            return Ok(false);
        };
        let text = encode(failure)?;
        if !self.finish(row, verdict, Place::Failed, ("failure", Some(&text)))? {
            return Ok(false);
        }
        // Damaged options allow no other attempt.
        if row::decode_options(&options).map_or(true, |options| made + 1 >= options.attempts) {
            self.lane.tell(Event::RetriesExhausted { id: verdict.lock.id.clone(), made: made + 1 });
        }
        Ok(true)
    }

    /// To its final place with a value beside it, or away at once when nothing is to be kept.
    fn finish(
        &mut self,
        row: i64,
        verdict: &Verdict,
        place: Place,
        (column, value): (&'static str, Option<&str>),
    ) -> Result<bool, Fault> {
        let (id, token) = (&verdict.lock.id, verdict.lock.token.as_str());
        // Options and flags of a job whose end concerns others.
        let mut tied: Option<(String, i64)> = None;
        if verdict.keep.count == Some(0) {
            let mut drop = self.conn.prepare_cached(DROP)?;
            let args = params![row, token, self.now.millis(), self.lane.q, id.as_str()];
            let dropped =
                drop.query_row(args, |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?))).optional()?;
            let Some((opts, flags)) = dropped else {
                return Ok(false);
            };
            tied = opts.map(|opts| (opts, flags));
            self.tell_parent((row, flags), verdict)?;
            row::remove_sides(self.conn, row, flags)?;
            self.lane.left(State::Active);
            self.evictions.push((place, Keep::ALL, 1));
        } else {
            let turn = self.lane.back();
            let side = if value.is_some() { SIDE } else { 0 };
            let args = params![row, token, self.now.millis(), self.lane.q, id.as_str(), place as i64, turn, side];
            if self.conn.prepare_cached(FINISH)?.execute(args)? == 0 {
                let mut finish = self.conn.prepare_cached(FINISH_TIED)?;
                tied = finish.query_row(args, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let Some((_, flags)) = tied else {
                    return Ok(false);
                };
                self.tell_parent((row, flags), verdict)?;
            }
            if let Some(value) = value {
                self.side(row, column, value)?;
            }
            self.lane.moved(0, Place::Active, place);
            match self.evictions.iter_mut().find(|(to, keep, _)| *to == place && *keep == verdict.keep) {
                Some((_, _, times)) => *times += 1,
                None => self.evictions.push((place, verdict.keep, 1)),
            }
        }
        if let Some((opts, flags)) = tied {
            groups::ended(self.conn, self.lane, flags, self.now)?;
            if flags & DEDUP != 0 {
                dedup::ended(self.conn, self.lane, &opts, id, self.now)?;
            }
        }
        self.lane.tell(match &verdict.outcome {
            Outcome::Dead(failure) => Event::Failed { id: id.clone(), failure: failure.clone() },
            Outcome::Done(result) => Event::completed(id.clone(), result),
            _ => return Ok(true),
        });
        Ok(true)
    }

    /// Whoever waits for a job hears how it ended.
    fn tell_parent(&mut self, job: (i64, i64), verdict: &Verdict) -> Result<(), Fault> {
        let news = match &verdict.outcome {
            Outcome::Done(result) => News::Completed(result.clone()),
            Outcome::Dead(failure) => {
                News::Failed { reason: failure.message.clone(), gone: verdict.keep.count == Some(0) }
            }
            _ => return Ok(()),
        };
        flow::note(self.conn, self.lane, job, &verdict.lock.id, news)
    }

    /// To delayed, or to the back of its class when `at` has come. With a failure text the attempt counts.
    fn again(&mut self, row: i64, verdict: &Verdict, at: Timestamp, failure: Option<&str>) -> Result<bool, Fault> {
        let (id, token, now) = (&verdict.lock.id, verdict.lock.token.as_str(), self.now.millis());
        let (counts, side) = if failure.is_some() { (1, SIDE) } else { (0, 0) };
        let back = self.lane.back();
        if at > self.now {
            let args = params![row, token, now, self.lane.q, id.as_str(), at.millis(), back, counts, side];
            if self.conn.prepare_cached(DELAY)?.execute(args)? == 0 {
                return Ok(false);
            }
            self.lane.moved(0, Place::Active, Place::Delayed);
            groups::delayed(self.conn, self.lane, row, self.now)?;
            self.lane.tell(Event::Delayed { id: id.clone(), due: at });
            self.lane.ring = true;
            return Ok(true);
        }
        let front = self.lane.front();
        let mut again = self.conn.prepare_cached(AGAIN)?;
        let args = params![row, token, now, self.lane.q, id.as_str(), front, back, counts, side];
        let priority = again.query_row(args, |row| row.get::<_, u32>(0)).optional()?;
        priority.map_or(Ok(false), |priority| self.woken(row, id, priority, groups::To::Back))
    }

    fn woken(&mut self, row: i64, id: &JobId, priority: u32, to: groups::To) -> Result<bool, Fault> {
        self.lane.moved(priority, Place::Active, Place::Ready);
        if priority == GROUPED_CLASS {
            groups::returned(self.conn, self.lane, row, to, self.now)?;
        }
        self.lane.tell(Event::Waiting { id: id.clone(), prev: Some(State::Active) });
        self.lane.ring = true;
        Ok(true)
    }

    fn side(&self, row: i64, column: &'static str, value: &str) -> Result<(), Fault> {
        side(self.conn, row, column, value)
    }

    /// Applies retention for what finished, at most two evictions each. Answers whether anything finished.
    fn evict(self) -> Result<bool, Fault> {
        let finished = !self.evictions.is_empty();
        for (place, keep, times) in self.evictions {
            if keep == Keep::ALL {
                continue;
            }
            let kept = self.lane.counts.of(place.state(0));
            let surplus = keep.count.map_or(0, |count| kept.saturating_sub(count)) as usize;
            let cutoff = keep.age.map_or(i64::MIN, |age| self.now.minus(age).millis());
            let mut oldest = self.conn.prepare_cached(
                "SELECT row, k1, flags FROM jobs WHERE q = ?1 AND place = ?2 ORDER BY k1, k2 LIMIT ?3",
            )?;
            let most = times * MAX_EVICT;
            let most = if keep.age.is_some() { most } else { most.min(surplus) };
            if most == 0 {
                continue;
            }
            let rows = oldest
                .query_map(params![self.lane.q, place as i64, most as i64], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            for (index, (number, finished_on, flags)) in rows.into_iter().enumerate() {
                if index < surplus || finished_on <= cutoff {
                    let row = Row { row: number, place, k1: finished_on, priority: 0, flags, settled: None };
                    row.remove(self.conn, self.lane, self.now)?;
                }
            }
        }
        Ok(finished)
    }
}

/// Writes one value beside a job.
pub(super) fn side(conn: &Connection, row: i64, column: &'static str, value: &str) -> Result<(), Fault> {
    let sql = match column {
        "result" => {
            "INSERT INTO sides (row, result) VALUES (?1, ?2) ON CONFLICT (row) DO UPDATE SET result = excluded.result"
        }
        "failure" => {
            "INSERT INTO sides (row, failure) VALUES (?1, ?2) ON CONFLICT (row) DO UPDATE SET failure = excluded.failure"
        }
        _ => {
            "INSERT INTO sides (row, progress) VALUES (?1, ?2) ON CONFLICT (row) DO UPDATE SET progress = excluded.progress"
        }
    };
    conn.prepare_cached(sql)?.execute(params![row, value])?;
    Ok(())
}

fn encode(failure: &Failure) -> Result<String, Fault> {
    serde_json::to_string(failure).map_err(|error| Fault::Damaged { what: "failure", why: error.to_string() })
}
