//! What a caller may ask for when adding a job.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::{Backoff, MAX_BACKOFF, millis};
use crate::error::BadOptions;
use crate::time::Timestamp;

mod dedup;
mod group;

pub use dedup::Dedup;
pub(crate) use group::GROUPED_CLASS;
pub use group::Group;

/// The largest priority (BullMQ: 2^21 − 1).
pub const MAX_PRIORITY: u32 = 2_097_151;
/// The longest delay of a new job.
pub const MAX_DELAY: Duration = MAX_BACKOFF;

/// The longest telemetry metadata, in bytes.
pub const MAX_TELEMETRY: usize = 4 * 1024;

/// Options of one job. The defaults are BullMQ's: one attempt, no delay, no priority, kept for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobOptions {
    /// 0: none, taken before every prioritized job (as in BullMQ); then 1 is the most urgent.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: u32,
    /// Not before this long after it was added.
    #[serde(with = "millis", skip_serializing_if = "is_default")]
    pub delay: Duration,
    /// Taken before everything that waits without a priority; has no effect on prioritized or delayed jobs.
    #[serde(skip_serializing_if = "is_default")]
    pub lifo: bool,
    /// Tries in all; 0 and 1 both mean one.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// The wait between tries.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Backoff,
    /// How long a completed job stays readable.
    #[serde(rename = "removeOnComplete", skip_serializing_if = "is_default")]
    pub keep_completed: Keep,
    /// How long a failed job stays readable.
    #[serde(rename = "removeOnFail", skip_serializing_if = "is_default")]
    pub keep_failed: Keep,
    /// An attempt that takes longer is ended and counts as failed.
    #[serde(with = "optional_millis", skip_serializing_if = "is_default")]
    pub timeout: Option<Duration>,
    /// A job that no worker has started by then is failed as expired.
    #[serde(skip_serializing_if = "is_default")]
    pub start_before: Option<Timestamp>,
    /// Log lines kept; older ones are dropped. None keeps 1,000.
    #[serde(rename = "kl", skip_serializing_if = "is_default")]
    pub keep_logs: Option<u32>,
    /// Dropped when another job owns the same deduplication id.
    #[serde(rename = "de", skip_serializing_if = "is_default")]
    pub deduplication: Option<Dedup>,
    /// Takes turns with the jobs of other groups; goes together with no priority. With `lifo` it goes to the front of its
    /// group.
    #[serde(rename = "gr", skip_serializing_if = "is_default")]
    pub group: Option<Group>,
    /// What a tracer wants its worker to know, as it wants to say it (a `traceparent`, say); at most 4 kB. Carried and not
    /// read (BullMQ `telemetry.metadata`).
    #[serde(rename = "tm", skip_serializing_if = "is_default")]
    pub telemetry: Option<Arc<str>>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            priority: 0,
            delay: Duration::ZERO,
            lifo: false,
            attempts: 0,
            backoff: Backoff::None,
            keep_completed: Keep::ALL,
            keep_failed: Keep::ALL,
            timeout: None,
            start_before: None,
            keep_logs: None,
            deduplication: None,
            group: None,
            telemetry: None,
        }
    }
}

impl JobOptions {
    /// Refuses what no store may hold.
    pub fn check(&self) -> Result<(), BadOptions> {
        if self.priority > MAX_PRIORITY {
            return Err(BadOptions::Priority(self.priority));
        }
        if self.delay > MAX_DELAY {
            return Err(BadOptions::Delay(self.delay));
        }
        if !(0.0..=1.0).contains(&self.backoff.jitter()) {
            return Err(BadOptions::Jitter(self.backoff.jitter()));
        }
        if self.timeout.is_some_and(|timeout| timeout < Duration::from_millis(1)) {
            return Err(BadOptions::Timeout);
        }
        if let Some(text) = self.telemetry.as_deref().filter(|text| text.len() > MAX_TELEMETRY) {
            return Err(BadOptions::Telemetry(text.len()));
        }
        if let Some(group) = &self.group {
            group.check()?;
            if self.priority > 0 {
                return Err(BadOptions::GroupPriority);
            }
        }
        self.deduplication.as_ref().map_or(Ok(()), Dedup::check)
    }

    /// The class that the job is in while it is ready: its priority, or the one of all groups.
    pub(crate) fn class(&self) -> u32 {
        if self.group.is_some() { GROUPED_CLASS } else { self.priority }
    }
}

/// How many finished jobs of a queue stay, and for how long. Applied when a job finishes, to at most two older ones
/// each time, so that no finish takes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Keep {
    /// At most this many; 0 removes the job at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// At most this long, in whole seconds when stored (BullMQ's unit), rounded up.
    #[serde(default, with = "optional_secs", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
}

impl Keep {
    /// Everything, for ever.
    pub const ALL: Keep = Keep { count: None, age: None };
    /// Nothing: a finished job is gone.
    pub const NONE: Keep = Keep { count: Some(0), age: None };

    /// The newest `count` jobs.
    pub const fn newest(count: u64) -> Keep {
        Keep { count: Some(count), age: None }
    }

    /// Jobs that finished less than `age` ago.
    pub const fn younger(age: Duration) -> Keep {
        Keep { count: None, age: Some(age) }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

mod optional_secs {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        // Upwards: half a second is not no time at all.
        value.map(|d| d.as_secs().saturating_add(u64::from(d.subsec_nanos() > 0))).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_stored_as_an_empty_object_and_the_rest_comes_back() {
        assert_eq!(serde_json::to_string(&JobOptions::default()).unwrap(), "{}");
        let options = JobOptions {
            priority: 3,
            delay: Duration::from_millis(7),
            attempts: 3,
            backoff: Backoff::exponential(Duration::from_secs(2)),
            keep_completed: Keep::younger(Duration::from_secs(3600)),
            keep_failed: Keep::newest(5),
            timeout: Some(Duration::from_secs(9)),
            start_before: Some(Timestamp::from_millis(5)),
            keep_logs: Some(2),
            lifo: true,
            deduplication: Some(Dedup { reschedule: true, ..Dedup::debounce("a:b", Duration::from_millis(40)) }),
            telemetry: Some("00-a".into()),
            group: Some("t:7".into()),
        };
        let text = serde_json::to_string(&options).unwrap();
        let stored = r#""de":{"id":"a:b","ttl":40,"extend":true,"replace":true,"reschedule":true}"#;
        assert!(text.contains(stored) && text.contains(r#""gr":"t:7""#), "{text}");
        assert_eq!(serde_json::from_str::<JobOptions>(&text).unwrap(), options);
    }

    #[test]
    fn ages_are_stored_in_seconds_and_never_shorter() {
        for (age, stored) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            let text = serde_json::to_string(&Keep::younger(Duration::from_millis(age))).unwrap();
            assert_eq!(text, format!("{{\"age\":{stored}}}"));
        }
    }

    #[test]
    fn what_no_store_may_hold_is_refused() {
        let bad = [
            JobOptions { priority: MAX_PRIORITY + 1, ..JobOptions::default() },
            JobOptions { delay: MAX_DELAY + Duration::from_millis(1), ..JobOptions::default() },
            JobOptions { backoff: Backoff::fixed(Duration::ZERO).with_jitter(1.5), ..JobOptions::default() },
            JobOptions { backoff: Backoff::fixed(Duration::ZERO).with_jitter(f64::NAN), ..JobOptions::default() },
            JobOptions { timeout: Some(Duration::ZERO), ..JobOptions::default() },
            JobOptions { timeout: Some(Duration::from_micros(999)), ..JobOptions::default() },
            JobOptions { telemetry: Some("x".repeat(MAX_TELEMETRY + 1).into()), ..JobOptions::default() },
        ];
        let long = "x".repeat(256);
        let dedups = ["", "a\u{7}", &long].map(Dedup::simple).into_iter();
        let dedups = dedups.chain([Duration::ZERO, MAX_DELAY * 2].map(|ttl| Dedup::throttle("d", ttl)));
        let dedups = dedups.map(|dedup| JobOptions { deduplication: Some(dedup), ..JobOptions::default() });
        let group = |group: &str, priority| JobOptions { group: Some(group.into()), priority, ..JobOptions::default() };
        let groups = [group("", 0), group("a\n", 0), group(&long, 0), group("a", 1)];
        for options in bad.into_iter().chain(dedups).chain(groups) {
            assert!(options.check().is_err(), "{options:?}");
        }
        assert!(JobOptions { priority: MAX_PRIORITY, ..JobOptions::default() }.check().is_ok());
    }
}
