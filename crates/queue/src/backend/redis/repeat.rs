//! Job schedulers, as BullMQ keeps them. What a change comes to is planned here from what one script read, and carried out by
//! another one if that still holds.

use std::sync::Arc;

use ::redis::Value;

use super::Redis;
use super::codec::state;
use super::groups::{class, group_arg};
use super::link::Trouble;
use super::reply::*;
use crate::backend::repeat::{Old, holds_up, iteration, plan, spent, standing};
use crate::backend::*;
use crate::error::StoreError;
use crate::job::{JobId, QueueName};
use crate::repeat::{Repeat, Tick};
use crate::state::{Place, State};
use crate::time::Timestamp;

mod read;
mod record;

use record::{Jobs, Stood};

/// How often a change is planned anew because what it was planned from has changed meanwhile.
const TRIES: usize = 16;

/// What a change of a scheduler comes to.
#[derive(Default)]
struct Change<'a> {
    /// Its job that is removed.
    remove: Option<JobId>,
    /// Its job that is made: of which definition, its number, and when it is due.
    make: Option<(&'a Repeat, u64, Timestamp)>,
    /// Where it stands then.
    score: i64,
    /// It makes no more.
    rests: bool,
    /// Its new record; the old one stays without.
    record: Vec<(&'static str, String)>,
    ticks: Vec<Tick>,
}

/// What became of a change.
enum Made {
    Done,
    /// A job stands in the slot of the one to be made.
    Taken(State),
    /// It was planned from what is no more.
    Outdated,
}

fn of_scheduler(edit: &Edit) -> bool {
    matches!(edit, Edit::Schedule(_) | Edit::Unschedule(_) | Edit::Advance(_))
}

impl Redis {
    /// Changes in order: those of schedulers one by one, what lies between them together.
    pub(super) async fn edit_all(&self, all: &EditAll, now: Timestamp) -> Result<Vec<Edited>, Trouble> {
        let queue = &all.queue;
        let mut answers = Vec::with_capacity(all.edits.len());
        for edits in all.edits.chunk_by(|a, b| !of_scheduler(a) && !of_scheduler(b)) {
            let edited = match edits {
                [Edit::Schedule(put)] => self.put_repeat(queue, put, now).await.map(|one| vec![one]),
                [Edit::Unschedule(id)] => self.drop_repeat(queue, id, now).await.map(|one| vec![one]),
                [Edit::Advance(step)] => self.advance(queue, step, now).await.map(|one| vec![one]),
                edits => self.edit_jobs(queue, edits, now).await,
            };
            match edited {
                Ok(edited) => answers.extend(edited),
                Err(trouble) if answers.is_empty() => return Err(trouble),
                Err(trouble) => return Err(Trouble::after(trouble.why)),
            }
        }
        Ok(answers)
    }

    async fn put_repeat(&self, queue: &QueueName, put: &Put, now: Timestamp) -> Result<Edited, Trouble> {
        let id = &put.repeat.id;
        for _ in 0..TRIES {
            let stood = self.stood(queue, id).await.map_err(Trouble::before)?;
            let known = stood.scheduled().map_err(Trouble::before)?;
            let place = known.as_ref().and_then(|old| old.slot).and(stood.place);
            let place = place.map(|place| standing(place, stood.starts));
            let old = known.as_ref().map(|old| Old { repeat: &old.repeat, slot: old.slot, count: old.count, place });
            let plan = plan(put, old.as_ref(), now);
            let score = plan.slot.map(Timestamp::millis).or(stood.score).unwrap_or(put.first.millis());
            let change = Change {
                remove: plan.remove.map(|slot| JobId::of_iteration(id, slot)),
                make: plan.slot.filter(|_| plan.make).map(|slot| (&*put.repeat, plan.count, slot)),
                score,
                rests: plan.slot.is_none(),
                record: record::encode(&put.repeat, score, plan.count).map_err(Trouble::before)?,
                ticks: plan.missed.into_iter().collect(),
            };
            match self.apply(queue, id, &stood, &change, now).await? {
                Made::Done => return Ok(plan.slot.map_or(Edited::Done, Edited::Due)),
                Made::Taken(state) => return Ok(Edited::WrongState(state)),
                Made::Outdated => {}
            }
        }
        Err(restless())
    }

    async fn drop_repeat(&self, queue: &QueueName, id: &str, now: Timestamp) -> Result<Edited, Trouble> {
        let mut call = self.call(&self.scripts.repeat_drop, queue, now);
        call.arg(id);
        match text(self.link.call(call).await?).map_err(Trouble::after)?.as_str() {
            "D" => Ok(Edited::Done),
            "M" => Ok(Edited::Missing),
            _ => Err(Trouble::after(odd())),
        }
    }

    async fn advance(&self, queue: &QueueName, step: &Advance, now: Timestamp) -> Result<Edited, Trouble> {
        for _ in 0..TRIES {
            let stood = self.stood(queue, &step.id).await.map_err(Trouble::before)?;
            let known = stood.scheduled().map_err(Trouble::before)?;
            let Some(old) = known.filter(|old| old.slot == Some(step.slot)) else {
                return Ok(Edited::Missing);
            };
            let stays = Change { score: step.slot.millis(), ..Change::default() };
            let held = holds_up(&old.repeat, stood.place);
            let next = step.next.filter(|_| !held && !spent(&old.repeat, old.count));
            let change = match next {
                _ if held => Change { ticks: vec![step.tick], ..stays },
                None => Change { rests: true, ticks: step.ticks().collect(), ..stays },
                Some(next) => Change {
                    make: Some((&old.repeat, old.count + 1, next)),
                    score: next.millis(),
                    ticks: step.ticks().collect(),
                    ..stays
                },
            };
            match self.apply(queue, &step.id, &stood, &change, now).await? {
                Made::Done if held => return Ok(Edited::Locked),
                Made::Done => return Ok(next.map_or(Edited::Done, Edited::Due)),
                Made::Taken(state) => return Ok(Edited::WrongState(state)),
                Made::Outdated => {}
            }
        }
        Err(restless())
    }

    async fn stood(&self, queue: &QueueName, id: &Arc<str>) -> Result<Stood, StoreError> {
        let mut call = self.call(&self.scripts.repeat_read, queue, Timestamp::default());
        call.arg(1).arg(&**id);
        let [one] = parts(self.link.call(call).await?)?;
        Stood::read(one)
    }

    async fn apply(
        &self,
        queue: &QueueName,
        id: &str,
        stood: &Stood,
        change: &Change<'_>,
        now: Timestamp,
    ) -> Result<Made, Trouble> {
        let mut call = self.call_shared(&self.scripts.repeat_put, queue, now);
        call.arg(queue.as_str()).arg(id).arg(&stood.stamp).arg(change.score).arg(u8::from(change.rests));
        call.arg(change.remove.as_ref().map_or("", JobId::as_str));
        match change.make {
            Some((repeat, count, slot)) => {
                // What another writer's jobs carry, ours after them carry as well.
                let jobs = if change.record.is_empty() { stood.jobs(repeat) } else { Jobs::of(repeat) };
                let (id, job) = iteration(&jobs.repeat, slot, now);
                let options = jobs.options(&job, slot, count, now).map_err(Trouble::before)?;
                let wait = u64::try_from(job.options.delay.as_millis()).unwrap_or(u64::MAX);
                let front = job.options.lifo && job.options.priority == 0;
                call.arg(id.as_str()).arg(&*job.name).arg(job.data.as_str()).arg(options);
                call.arg(wait).arg(class(&job.options)).arg(u8::from(front)).arg(group_arg(&job.options));
            }
            None => {
                call.arg(&[""; 8]);
            }
        }
        call.arg(2 * change.record.len());
        for (name, value) in &change.record {
            call.arg(*name).arg(value);
        }
        for tick in &change.ticks {
            call.arg(tick.first.millis()).arg(record::tick(tick).map_err(Trouble::before)?);
        }
        made(self.link.call(call).await?).map_err(Trouble::after)
    }
}

fn made(answer: Value) -> Result<Made, StoreError> {
    let answer = text(answer)?;
    match answer.as_bytes().first() {
        Some(b'D') => Ok(Made::Done),
        Some(b'C') => Ok(Made::Outdated),
        Some(b'W') => Ok(Made::Taken(state(&answer[1..]).ok_or_else(odd)?)),
        _ => Err(odd()),
    }
}

fn restless() -> Trouble {
    Trouble::before(StoreError::Unavailable("a job scheduler is changed by others all the time".to_owned()))
}

/// The place of jobs that a script named.
fn place_of(name: &str) -> Option<Place> {
    state(name).map(Place::of)
}
