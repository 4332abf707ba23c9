//! What a job scheduler is, and when its jobs are due: plain rules, without a clock and without a store.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::backoff::millis;
use crate::error::{BadPayload, BadRepeat};
use crate::job::{JobKind, MAX_NAME, Payload, job_name, label};
use crate::options::{JobOptions, MAX_DELAY};
use crate::time::Timestamp;

mod policy;
mod tick;

pub use policy::{MAX_CATCH_UP, Misfire, Overlap};
pub use tick::{Fate, LATE_AFTER, MAX_COUNTED, MAX_TICKS, Tick};

/// The shortest time between two runs of [`Schedule::Every`]; the longest is [`MAX_DELAY`].
pub const MIN_EVERY: Duration = Duration::from_secs(1);

/// When a scheduler's jobs are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Schedule {
    /// Again and again after this long: whole milliseconds, a second to 365 days. Slots after some that were left out fall
    /// where they would have fallen.
    Every(#[serde(with = "millis")] Duration),
    /// By a cron pattern of five fields, or of six that begin with the seconds: values, lists, ranges, steps (`*/5`, `5/15`,
    /// `0-30/10`), names (`MON`, `jan`), `?` for `*`, `L` for the last day of the month, `5L` for its last Friday, `1#2` for
    /// its second Monday. Of days of the month and of the week that are both given, either is enough.
    ///
    /// A pattern of exactly one hour, one minute and one second that falls into an hour that the zone leaves out runs right
    /// after it; in an hour that comes twice it runs once, at the first. Any other one (lists, ranges, steps, `*`) follows
    /// the clock: times that are left out are skipped, times that come twice run twice.
    Cron {
        /// The pattern; at most 255 bytes.
        pattern: Arc<str>,
        /// The IANA name of the time zone in which it is read.
        tz: Arc<str>,
    },
}

impl Schedule {
    /// By a cron pattern, read in UTC.
    pub fn cron(pattern: impl Into<Arc<str>>) -> Self {
        Self::cron_in(pattern, "UTC")
    }

    /// By a cron pattern, read in a time zone of the IANA's list (`Europe/Berlin`, say).
    pub fn cron_in(pattern: impl Into<Arc<str>>, tz: impl Into<Arc<str>>) -> Self {
        Self::Cron { pattern: pattern.into(), tz: tz.into() }
    }

    /// The first cron time after `after`; `None` when there is none, or the pattern cannot be read.
    fn cron_after(pattern: &str, tz: &str, after: Timestamp) -> Option<Timestamp> {
        let (cron, tz) = parse(pattern, tz).ok()?;
        self::after(&cron, tz, after)
    }
}

/// A job scheduler: a definition from which a queue makes one job after the other, each when the one before it has been
/// started, as in BullMQ, or when it has ended ([`Overlap`]). See [`crate::Queue::schedule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Its id, unique in its queue: 1 to 255 bytes without control characters.
    pub id: Arc<str>,
    /// When its jobs are due.
    pub schedule: Schedule,
    /// The stored name of its jobs' kind.
    pub name: Arc<str>,
    /// The payload of each of its jobs.
    #[serde(skip, default = "Payload::null")]
    pub data: Payload,
    /// The options of each of its jobs, without a delay, a deduplication id or a time to start before.
    #[serde(default)]
    pub options: JobOptions,
    /// Jobs in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// No job is due before this time. [`Schedule::Every`] begins with it, or now when it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No job is due after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// The first job of a cron pattern is due at once. One of [`Schedule::Every`] is anyway, unless it has a start.
    #[serde(default)]
    pub immediately: bool,
    /// What becomes of slots that pass while no worker is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub misfire: Misfire,
    /// Whether a run may begin while the one before it goes on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
}

impl Repeat {
    /// A scheduler of jobs of a known kind, with the kind's options.
    pub fn new<J: JobKind>(id: impl Into<Arc<str>>, schedule: Schedule, job: &J) -> Result<Self, BadPayload> {
        Ok(Self { options: J::options(), ..Self::named(id, schedule, J::NAME, job)? })
    }

    /// A scheduler of jobs known by name only.
    pub fn named<D: Serialize + ?Sized>(
        id: impl Into<Arc<str>>,
        schedule: Schedule,
        name: &str,
        data: &D,
    ) -> Result<Self, BadPayload> {
        Ok(Self {
            id: id.into(),
            schedule,
            name: name.into(),
            data: Payload::encode(data)?,
            options: JobOptions::default(),
            limit: None,
            start: None,
            end: None,
            immediately: false,
            misfire: Misfire::One,
            overlap: Overlap::Allow,
        })
    }

    /// Refuses what no store may hold.
    pub fn check(&self) -> Result<(), BadRepeat> {
        label(&self.id).map_err(BadRepeat::Id)?;
        job_name(&self.name)?;
        self.options.check()?;
        let unfit = [
            (!self.options.delay.is_zero(), "delay"),
            (self.options.deduplication.is_some(), "deduplication"),
            (self.options.start_before.is_some(), "start_before"),
        ];
        if let Some((_, what)) = unfit.into_iter().find(|(set, _)| *set) {
            return Err(BadRepeat::Template(what));
        }
        if self.limit == Some(0) {
            return Err(BadRepeat::NoRuns);
        }
        if self.immediately && self.start.is_some() {
            return Err(BadRepeat::ImmediatelyWithStart);
        }
        self.misfire.check()?;
        match &self.schedule {
            Schedule::Every(every)
                if *every < MIN_EVERY || *every > MAX_DELAY || every.subsec_nanos() % 1_000_000 > 0 =>
            {
                Err(BadRepeat::Every(*every))
            }
            Schedule::Every(_) => Ok(()),
            Schedule::Cron { pattern, tz } => parse(pattern, tz).map(|_| ()),
        }
    }

    /// When its first job is due, if any is.
    pub fn first(&self, now: Timestamp) -> Option<Timestamp> {
        let first = match &self.schedule {
            Schedule::Every(_) => self.start.map_or(now, |start| start.max(now)),
            Schedule::Cron { .. } if self.immediately => now,
            Schedule::Cron { pattern, tz } => {
                let before = self.start.map_or(now, |start| start.minus(Duration::from_millis(1)).max(now));
                Schedule::cron_after(pattern, tz, before)?
            }
        };
        self.within(first)
    }

    /// When the job after the one that was due at `slot` is due, if any is. Not before `now`, since what was missed is left
    /// out; with [`Misfire::All`] it is the next slot, as long as that lies back no further than [`MAX_CATCH_UP`].
    pub fn next(&self, slot: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let from = match self.misfire {
            Misfire::One | Misfire::Skip { .. } => now,
            Misfire::All => now.minus(MAX_CATCH_UP),
        };
        let next = match &self.schedule {
            Schedule::Every(every) => {
                let next = slot.plus(*every);
                let every = i64::try_from(every.as_millis()).ok().filter(|every| *every > 0)?;
                if next >= from {
                    next
                } else {
                    let missed = from.millis().saturating_sub(slot.millis()) / every;
                    Timestamp::from_millis(slot.millis().saturating_add(every.saturating_mul(missed + 1)))
                }
            }
            Schedule::Cron { pattern, tz } => Schedule::cron_after(pattern, tz, slot.max(from))?,
        };
        self.within(next)
    }

    /// The slots after `slot` and before `until`: the first, the last and how many. Those of a pattern are counted one by one
    /// to [`MAX_COUNTED`]; the last one is then searched for by halves.
    fn between(&self, slot: Timestamp, until: Timestamp) -> Option<(Timestamp, Timestamp, u64)> {
        match &self.schedule {
            Schedule::Every(every) => {
                let every = i64::try_from(every.as_millis()).ok().filter(|every| *every > 0)?;
                let count = until.millis().saturating_sub(slot.millis()).saturating_sub(1).max(0) / every;
                let nth = |n: i64| Timestamp::from_millis(slot.millis().saturating_add(every.saturating_mul(n)));
                (count > 0).then(|| (nth(1), nth(count), count as u64))
            }
            Schedule::Cron { pattern, tz } => {
                let (cron, tz) = parse(pattern, tz).ok()?;
                let after = |slot| after(&cron, tz, slot).filter(|next| *next < until);
                let first = after(slot)?;
                let (mut last, mut count) = (first, 1);
                while let Some(next) = after(last) {
                    if count == MAX_COUNTED {
                        last = last_before(last, until, after);
                        break;
                    }
                    (last, count) = (next, count + 1);
                }
                Some((first, last, count))
            }
        }
    }

    fn within(&self, slot: Timestamp) -> Option<Timestamp> {
        Some(slot).filter(|slot| self.end.is_none_or(|end| *slot <= end))
    }

    /// Whether both are due at the same times.
    pub(crate) fn same_times(&self, other: &Repeat) -> bool {
        self.schedule == other.schedule && self.start == other.start && self.end == other.end
    }
}

fn after(cron: &Cron, tz: Tz, slot: Timestamp) -> Option<Timestamp> {
    let slot = DateTime::from_timestamp_millis(slot.millis())?.with_timezone(&tz);
    let next = cron.find_next_occurrence(&slot, false).ok()?;
    Some(Timestamp::from_millis(next.timestamp_millis()))
}

/// The last slot of which `after` knows no further one before `until`, from one that has a further one.
fn last_before(slot: Timestamp, until: Timestamp, after: impl Fn(Timestamp) -> Option<Timestamp>) -> Timestamp {
    let (mut low, mut high) = (slot, until);
    while let Some(next) = after(low) {
        let middle = Timestamp::from_millis(low.millis().midpoint(high.millis()));
        match after(middle) {
            Some(next) => low = next,
            None if middle <= next => low = next,
            None => high = middle,
        }
    }
    low
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The pattern in words that the parser takes for what they are: `5/15` as the range from 5 on, and `SUN-SUN`, of which it
/// would make the whole week, as Sunday.
fn plain(pattern: &str) -> String {
    const LAST: [&str; 6] = ["59", "59", "23", "31", "12", "7"];
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let lasts = LAST.iter().skip(LAST.len().saturating_sub(fields.len()));
    let part = |part: &str, last: &str| match part.split_once('/') {
        Some((first, step)) if !first.is_empty() && !first.contains(['*', '?', '-']) => {
            format!("{first}-{last}/{step}")
        }
        _ => part.to_uppercase().replace("SUN-SUN", "0-0"),
    };
    let field =
        |(field, last): (&&str, &&str)| field.split(',').map(|one| part(one, last)).collect::<Vec<_>>().join(",");
    let plain: Vec<String> = fields.iter().zip(lasts).map(field).collect();
    // What has too many fields is refused as it stands.
    if plain.len() == fields.len() { plain.join(" ") } else { pattern.to_owned() }
}

fn parse(pattern: &str, tz: &str) -> Result<(Cron, Tz), BadRepeat> {
    if pattern.len() > MAX_NAME {
        return Err(BadRepeat::Pattern("it is longer than 255 bytes".to_owned()));
    }
    // The parser passes over empty entries of a list, and a field without any entry would be searched for in vain, for long.
    if pattern.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(BadRepeat::Pattern("a list has an empty entry".to_owned()));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(&plain(pattern)).map_err(|error| BadRepeat::Pattern(error.to_string()))?;
    let tz = tz.parse().map_err(|_| BadRepeat::Zone(tz.into()))?;
    Ok((cron, tz))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
