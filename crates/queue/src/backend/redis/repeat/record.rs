//! A scheduler as it lies in its hash, and the options of its jobs: BullMQ's fields, and beside them, in one of ours, the
//! definition as it was given. Another writer's update takes that away.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;
use serde_json::{Map, Value as Json, json};

use super::super::codec::{decode_options, encode_options};
use super::super::reply::*;
use super::place_of;
use crate::backend::{NewJob, Scheduled};
use crate::error::{BadRepeat, StoreError};
use crate::job::Payload;
use crate::options::JobOptions;
use crate::repeat::{Misfire, Overlap, Repeat, Schedule, Tick};
use crate::state::Place;
use crate::time::Timestamp;

/// Our field: the definition, but for its data.
const OWN: &str = "lk";
/// Our field: the score at which a scheduler rests.
const RESTS: &str = "lk:rest";
/// BullMQ's fields that a definition decides.
const SHOWN: [&str; 8] = ["name", "tz", "limit", "pattern", "startDate", "endDate", "every", "opts"];

/// Why a record without a count is none: it is a repeatable job of BullMQ 5, of which only workers of BullMQ 5 make the next one.
const OF_BULLMQ_5: StoreError = StoreError::Unsupported(
    "a repeatable job of BullMQ 5 stands under this id: remove it, and schedule it anew (docs/from-bullmq.md)",
);

type Fields = Vec<(&'static str, String)>;

/// A scheduler as a script read it.
pub(super) struct Stood {
    id: Arc<str>,
    pub(super) score: Option<i64>,
    fields: HashMap<String, String>,
    /// The options of its current job.
    job: Map<String, Json>,
    pub(super) starts: u32,
    pub(super) place: Option<Place>,
    pub(super) stamp: String,
}

impl Stood {
    pub(super) fn read(read: Value) -> Result<Self, StoreError> {
        let [id, score, record, job, starts, place, stamp] = parts(read)?;
        let (mut fields, mut flat) = (HashMap::new(), list(record)?.into_iter());
        while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
            fields.insert(text(name)?, text(value)?);
        }
        Ok(Self {
            id: text(id)?.into(),
            score: maybe(score)?,
            fields,
            job: serde_json::from_str(&text(job)?).unwrap_or_default(),
            starts: small(&text(starts)?),
            place: place_of(&text(place)?),
            stamp: text(stamp)?,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The scheduler, if there is one.
    pub(super) fn scheduled(&self) -> Result<Option<Scheduled>, StoreError> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        if self.field("ic").is_none() {
            return Err(OF_BULLMQ_5);
        }
        let made = self.number("ic").ok_or_else(|| self.damaged("its count is no number"))?;
        let (repeat, made) = match self.own() {
            Some(own) => (own, made),
            None => (self.foreign()?, self.counted().unwrap_or(made)),
        };
        let data = Payload::stored(self.field("data").unwrap_or("{}"));
        let slot = self.score.filter(|score| self.number(RESTS) != Some(*score));
        Ok(Some(Scheduled {
            repeat: Arc::new(Repeat { id: self.id.clone(), data, ..repeat }),
            slot: slot.map(Timestamp::from_millis),
            count: u64::try_from(made).unwrap_or(0),
        }))
    }

    /// What the next jobs of a definition are like.
    pub(super) fn jobs<'a>(&self, repeat: &'a Repeat) -> Jobs<'a> {
        if self.own().is_some() || self.job.is_empty() {
            return Jobs::of(repeat);
        }
        let options = template(&Json::Object(self.job.clone()).to_string());
        Jobs { repeat: Cow::Owned(Repeat { options, ..repeat.clone() }), before: Some(self.job.clone()) }
    }

    /// The definition as it was given, if BullMQ's fields still say the same.
    fn own(&self) -> Option<Repeat> {
        let own: Repeat = serde_json::from_str(self.field(OWN)?).ok()?;
        let shown: HashMap<_, _> = shown(&own).ok()?.into_iter().collect();
        SHOWN.iter().all(|name| shown.get(name).map(String::as_str) == self.field(name)).then_some(own)
    }

    /// A definition by BullMQ's fields alone.
    fn foreign(&self) -> Result<Repeat, StoreError> {
        let every = self.number("every").and_then(|every| u64::try_from(every).ok()).filter(|every| *every > 0);
        let schedule = match (every, self.field("pattern")) {
            (Some(every), _) => Schedule::Every(Duration::from_millis(every)),
            (None, Some(pattern)) => Schedule::cron_in(pattern, self.field("tz").unwrap_or("UTC")),
            (None, None) => return Err(self.damaged("it has no times")),
        };
        let probe = Repeat::named("probe", schedule.clone(), "probe", &()).map_err(|error| self.damaged(error))?;
        if let Err(error @ (BadRepeat::Pattern(_) | BadRepeat::Zone(_))) = probe.check() {
            return Err(self.damaged(error));
        }
        Ok(Repeat {
            name: self.field("name").unwrap_or(&self.id).into(),
            options: template(self.field("opts").unwrap_or("")),
            limit: self.number("limit").and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
            start: self.number("startDate").map(Timestamp::from_millis),
            end: self.number("endDate").map(Timestamp::from_millis),
            immediately: false,
            misfire: Misfire::One,
            overlap: Overlap::Allow,
            ..probe
        })
    }

    /// The number of its current job. BullMQ counts anew after each update, while its `ic` goes on.
    fn counted(&self) -> Option<i64> {
        number(&self.job.get("repeat")?.get("count")?.to_string())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.field(name).and_then(number)
    }

    fn damaged(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::Damaged(format!("the job scheduler {}: {why}", self.id))
    }
}

/// What the jobs of a definition are like.
pub(super) struct Jobs<'a> {
    pub(super) repeat: Cow<'a, Repeat>,
    /// The options of the job before, when another writer's are to be carried on.
    before: Option<Map<String, Json>>,
}

impl<'a> Jobs<'a> {
    pub(super) fn of(repeat: &'a Repeat) -> Self {
        Self { repeat: Cow::Borrowed(repeat), before: None }
    }

    /// The text of one job's options, from which BullMQ's workers make the next one.
    pub(super) fn options(
        &self,
        job: &NewJob,
        slot: Timestamp,
        count: u64,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let known = self.before.as_ref().and_then(|before| before.get("repeat")?.as_object());
        let mut repeat = known.cloned().unwrap_or_else(|| times(&self.repeat, slot));
        repeat.insert("count".to_owned(), json!(count));
        let mut more = vec![
            ("delay", json!(u64::try_from(job.options.delay.as_millis()).unwrap_or(u64::MAX))),
            ("timestamp", json!(now.millis())),
            ("repeatJobKey", json!(&*self.repeat.id)),
            ("repeat", Json::Object(repeat)),
        ];
        if matches!(self.repeat.schedule, Schedule::Cron { .. }) {
            more.push(("prevMillis", json!(slot.millis())));
        }
        let Some(before) = &self.before else {
            return encode_options(job, &more);
        };
        let mut options = before.clone();
        // BullMQ's workers in Rust read no options at all when this is a bare number.
        if let Some(delay) = options.get("backoff").and_then(Json::as_f64) {
            options.insert("backoff".to_owned(), json!({ "type": "fixed", "delay": delay as u64 }));
        }
        options.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        options.extend(job.id.iter().map(|id| ("jobId".to_owned(), json!(id.as_str()))));
        Ok(Json::Object(options).to_string())
    }
}

/// The hash of a scheduler whose slot is at `score` and that has made so many jobs.
pub(super) fn encode(repeat: &Repeat, score: i64, count: u64) -> Result<Fields, StoreError> {
    let mut fields = shown(repeat)?;
    fields.push(("offset", offset(repeat, score).to_string()));
    fields.extend((repeat.data.as_str() != "{}").then(|| ("data", repeat.data.as_str().to_owned())));
    fields.push((OWN, serde_json::to_string(repeat).map_err(unwritable)?));
    fields.push(("ic", count.to_string()));
    Ok(fields)
}

fn shown(repeat: &Repeat) -> Result<Fields, StoreError> {
    let mut fields = vec![("name", repeat.name.to_string())];
    match &repeat.schedule {
        Schedule::Every(every) => fields.push(("every", every.as_millis().to_string())),
        Schedule::Cron { pattern, tz } => fields.extend([("pattern", pattern.to_string()), ("tz", tz.to_string())]),
    }
    let ms = |time: Timestamp| time.millis().max(0).to_string();
    fields.extend(repeat.limit.map(|limit| ("limit", limit.to_string())));
    fields.extend(repeat.start.map(|start| ("startDate", ms(start))));
    fields.extend(repeat.end.map(|end| ("endDate", ms(end))));
    let options = serde_json::to_string(&repeat.options).map_err(unwritable)?;
    fields.extend((options != "{}").then_some(("opts", options)));
    Ok(fields)
}

/// What a job's options say of its scheduler's times.
fn times(repeat: &Repeat, slot: Timestamp) -> Map<String, Json> {
    let mut times = Map::new();
    let mut say = |name: &str, value: Json| times.insert(name.to_owned(), value);
    match &repeat.schedule {
        Schedule::Every(every) => {
            say("every", json!(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)));
            say("offset", json!(offset(repeat, slot.millis())));
        }
        Schedule::Cron { pattern, tz } => {
            say("pattern", json!(&**pattern));
            say("tz", json!(&**tz));
        }
    }
    repeat.limit.map(|limit| say("limit", json!(limit)));
    repeat.start.map(|start| say("startDate", json!(start.millis().max(0))));
    repeat.end.map(|end| say("endDate", json!(end.millis().max(0))));
    times
}

/// How far the slots of an interval lie behind its multiples.
fn offset(repeat: &Repeat, slot: i64) -> i64 {
    match &repeat.schedule {
        Schedule::Every(every) => {
            i64::try_from(every.as_millis()).ok().map_or(0, |every| slot.rem_euclid(every.max(1)))
        }
        Schedule::Cron { .. } => 0,
    }
}

/// Options of a stored job or template, as those of a scheduler's jobs.
fn template(text: &str) -> JobOptions {
    let options = decode_options(text).unwrap_or_default();
    JobOptions { delay: Duration::ZERO, deduplication: None, start_before: None, ..options }
}

/// A tick as it is kept.
pub(super) fn tick(tick: &Tick) -> Result<String, StoreError> {
    serde_json::to_string(tick).map_err(unwritable)
}

pub(super) fn stored_tick(text: &str) -> Result<Tick, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests;
