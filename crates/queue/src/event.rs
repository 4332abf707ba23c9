//! What happened in a queue, in order, under BullMQ's names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::job::{JobId, Payload};
use crate::state::State;
use crate::time::Timestamp;

/// A result or progress value longer than this is left out of its event; the job itself has it.
pub const MAX_EVENT_VALUE: usize = 4 * 1024;

/// One thing that happened. Fields are BullMQ's (`prev` is where the job came from).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
#[allow(missing_docs)] // the variants' fields are BullMQ's, named as there
pub enum Event {
    /// A job was stored.
    Added { id: JobId, name: Arc<str> },
    /// A job became ready.
    Waiting {
        id: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<State>,
    },
    /// A job waits until `due`.
    Delayed { id: JobId, due: Timestamp },
    /// A parent waits for its children; `prev` is absent when it was added so.
    WaitingChildren {
        id: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<State>,
    },
    /// A worker took a job.
    Active { id: JobId, prev: State },
    /// A job completed; `result` is absent when it is null, longer than 4 kB or nested very deeply.
    Completed {
        id: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none", with = "payload")]
        result: Option<Payload>,
    },
    /// A job failed for good.
    Failed { id: JobId, failure: Failure },
    /// A job failed for good because no attempt is left.
    RetriesExhausted { id: JobId, made: u32 },
    /// A job's worker vanished.
    Stalled { id: JobId },
    /// A handler told how far it is; `value` is absent when it is longer than 4 kB, or nested or large beyond what JSON
    /// readers take.
    Progress {
        id: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none", with = "payload")]
        value: Option<Payload>,
    },
    /// A job was removed by hand.
    Removed { id: JobId, prev: State },
    /// A job was not added because its id exists.
    Duplicated { id: JobId },
    /// Of two jobs with one deduplication id, `id` stays: `lost` was not added, or was removed.
    Deduplicated {
        id: JobId,
        #[serde(rename = "deduplicationId")]
        dedup: Arc<str>,
        #[serde(rename = "deduplicatedJobId")]
        lost: JobId,
    },
    /// A finish left nothing waiting and nothing active.
    Drained,
    /// Finished jobs were removed.
    Cleaned { count: u64 },
    /// The queue gives out no jobs.
    Paused,
    /// The queue gives out jobs again.
    Resumed,
}

impl Event {
    /// The job it is about, if it is about one.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Event::Added { id, .. }
            | Event::Waiting { id, .. }
            | Event::Delayed { id, .. }
            | Event::WaitingChildren { id, .. }
            | Event::Active { id, .. }
            | Event::Completed { id, .. }
            | Event::Failed { id, .. }
            | Event::RetriesExhausted { id, .. }
            | Event::Stalled { id }
            | Event::Progress { id, .. }
            | Event::Removed { id, .. }
            | Event::Duplicated { id }
            | Event::Deduplicated { id, .. } => Some(id),
            Event::Drained | Event::Cleaned { .. } | Event::Paused | Event::Resumed => None,
        }
    }

    /// BullMQ's name of the event.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Added { .. } => "added",
            Event::Waiting { .. } => "waiting",
            Event::Delayed { .. } => "delayed",
            Event::WaitingChildren { .. } => "waiting-children",
            Event::Active { .. } => "active",
            Event::Completed { .. } => "completed",
            Event::Failed { .. } => "failed",
            Event::RetriesExhausted { .. } => "retries-exhausted",
            Event::Stalled { .. } => "stalled",
            Event::Progress { .. } => "progress",
            Event::Removed { .. } => "removed",
            Event::Duplicated { .. } => "duplicated",
            Event::Deduplicated { .. } => "deduplicated",
            Event::Drained => "drained",
            Event::Cleaned { .. } => "cleaned",
            Event::Paused => "paused",
            Event::Resumed => "resumed",
        }
    }

    pub(crate) fn completed(id: JobId, result: &Payload) -> Self {
        let result = (!result.is_null()).then(|| short(result)).flatten();
        Event::Completed { id, result }
    }

    pub(crate) fn progress(id: JobId, value: &Payload) -> Self {
        Event::Progress { id, value: short(value) }
    }
}

fn short(value: &Payload) -> Option<Payload> {
    (value.as_str().len() <= MAX_EVENT_VALUE && returns(value)).then(|| value.clone())
}

/// Whether a value within a stored event can be read back. A payload is checked for its syntax alone: it may be nested
/// deeper, or hold larger numbers, than a reader takes, and one such value would hide every event after it.
fn returns(value: &Payload) -> bool {
    // As deep again as an event lies within its row.
    serde_json::from_str::<serde_json::Value>(&format!("[[[[{}]]]]", value.as_str())).is_ok()
}

/// A place in a queue's events: everything after it is still to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The transaction.
    pub seq: u64,
    /// The event within it.
    pub index: u32,
}

impl Position {
    /// Before everything that is kept.
    pub const START: Position = Position { seq: 0, index: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.index)
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is two numbers joined by '-'")]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (seq, index) = text.split_once('-').ok_or(BadPosition)?;
        Ok(Position { seq: seq.parse().map_err(|_| BadPosition)?, index: index.parse().map_err(|_| BadPosition)? })
    }
}

/// Payloads inside an event, as raw JSON.
mod payload {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    use crate::job::Payload;

    pub(super) fn serialize<S: Serializer>(value: &Option<Payload>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(payload) => {
                serde_json::from_str::<&RawValue>(payload.as_str()).map_err(serde::ser::Error::custom)?.serialize(to)
            }
            None => to.serialize_none(),
        }
    }

    // An internally tagged enum buffers its fields, which raw values cannot pass: a plain value is re-encoded instead.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Payload>, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(from)?;
        Ok(value.map(|value| Payload::stored(value.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were_stored() {
        let id = JobId::stored("7");
        let events = vec![
            Event::Added { id: id.clone(), name: "greet".into() },
            Event::Waiting { id: id.clone(), prev: Some(State::Delayed) },
            Event::completed(id.clone(), &Payload::stored("{\"a\":[1,2]}")),
            Event::completed(id.clone(), &Payload::null()),
            Event::progress(id.clone(), &Payload::stored("50")),
            Event::Drained,
            Event::Deduplicated { id, dedup: "d".into(), lost: JobId::stored("8") },
        ];
        let text = serde_json::to_string(&events).unwrap();
        let last = r#"{"event":"deduplicated","id":"7","deduplicationId":"d","deduplicatedJobId":"8"}]"#;
        assert!(text.ends_with(last), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Event>>(&text).unwrap(), events);
    }

    #[test]
    fn long_values_stay_with_the_job() {
        let long = Payload::stored(format!("\"{}\"", "x".repeat(MAX_EVENT_VALUE)));
        assert_eq!(
            Event::completed(JobId::stored("1"), &long),
            Event::Completed { id: JobId::stored("1"), result: None }
        );
    }

    #[test]
    fn positions_are_read_back_from_their_text() {
        let position = Position { seq: 12, index: 3 };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!("12".parse::<Position>(), Err(BadPosition));
    }
}
