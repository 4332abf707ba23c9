//! What a job is made of: ids, names, payloads, and the record that readers see.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{BadId, BadName, BadPayload};
use crate::exit::Failure;
use crate::options::JobOptions;
use crate::state::State;
use crate::time::Timestamp;

mod parent;

pub use parent::{ChildFailure, ParentRef};

/// The longest id, queue name or job name, in bytes.
pub const MAX_NAME: usize = 255;
/// The largest payload or result, in bytes of JSON text.
pub const MAX_PAYLOAD: usize = 8 * 1024 * 1024;

/// A kind of job: a Rust type whose JSON form is the payload.
///
/// The stored name is the constant, never the Rust type's name, so that a type may be renamed freely.
///
/// ```
/// use launchkit_queue::JobKind;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet { name: String }
/// impl JobKind for Greet {
///     const NAME: &'static str = "greet";
///     type Output = String;
/// }
/// ```
pub trait JobKind: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name that is stored with every job of this kind.
    const NAME: &'static str;
    /// Names under which older jobs of this kind may still be stored.
    const FORMER_NAMES: &'static [&'static str] = &[];
    /// What the handler answers.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Options for jobs of this kind that the caller does not set.
    fn options() -> JobOptions {
        JobOptions::default()
    }
}

/// The id of a job, unique in its queue: the queue's decimal counter, or the caller's own text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Arc<str>);

impl JobId {
    /// An id of the caller's own: 1 to 255 bytes without `:` and control characters, and no integer
    /// (integers are the queue's own counter), as BullMQ asks for; nor one of the words that name a queue's own keys on
    /// Redis, so that ids are good on every store.
    pub fn custom(id: &str) -> Result<Self, BadId> {
        if is_integer(id) {
            return Err(BadId::Integer);
        }
        if RESERVED.contains(&id) {
            return Err(BadId::Reserved);
        }
        match flaw(id) {
            Some(flaw) => Err(BadId::Text(flaw)),
            None => Ok(Self(id.into())),
        }
    }

    /// Any id that can be looked up: 1 to 255 bytes without `:` and control characters, or the id of a scheduler's job.
    pub fn parse(id: &str) -> Result<Self, BadId> {
        let own = Self(id.into());
        match flaw(id) {
            Some(_) if own.iteration().is_some_and(|(repeat, _)| label(repeat).is_ok()) => Ok(own),
            Some(flaw) => Err(BadId::Text(flaw)),
            None => Ok(own),
        }
    }

    /// The id of the job that a scheduler makes for a slot: `repeat:<id>:<milliseconds>`, as in BullMQ. No other job can
    /// have one like it.
    pub fn of_iteration(repeat: &str, slot: Timestamp) -> Self {
        Self(format!("repeat:{repeat}:{slot}").into())
    }

    /// The scheduler that made this job, and the slot it was made for.
    pub fn iteration(&self) -> Option<(&str, Timestamp)> {
        let (repeat, slot) = self.0.strip_prefix("repeat:")?.rsplit_once(':')?;
        Some((repeat, Timestamp::from_millis(slot.parse().ok()?)))
    }

    /// An id that a store has read back or counted.
    pub(crate) fn stored(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a queue: 1 to 255 bytes without `:` and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Checks and wraps a name.
    pub fn new(name: &str) -> Result<Self, BadName> {
        match flaw(name) {
            Some(flaw) => Err(BadName(flaw)),
            None => Ok(Self(name.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the name of a job: 1 to 255 bytes without control characters (a `:` is allowed, as in BullMQ).
pub(crate) fn job_name(name: &str) -> Result<Arc<str>, BadName> {
    match flaw(name) {
        None | Some(Flaw::Colon) => Ok(name.into()),
        Some(flaw) => Err(BadName(flaw)),
    }
}

/// Checks a name that is no part of a key (a deduplication id, a group, a scheduler, a budget): 1 to 255 bytes without control
/// characters.
pub(crate) fn label(text: &str) -> Result<(), Flaw> {
    flaw(text).filter(|flaw| *flaw != Flaw::Colon).map_or(Ok(()), Err)
}

/// JSON text, checked once. Cloning counts a reference; nothing decodes it before the handler does.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

impl Payload {
    /// The JSON form of a value, at most [`MAX_PAYLOAD`] bytes.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, BadPayload> {
        let text = serde_json::to_string(value).map_err(BadPayload::NotJson)?;
        Self::sized(text)
    }

    /// JSON text of the caller's own, kept byte for byte; at most [`MAX_PAYLOAD`] bytes.
    pub fn from_json(text: String) -> Result<Self, BadPayload> {
        serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(BadPayload::NotJson)?;
        Self::sized(text)
    }

    fn sized(text: String) -> Result<Self, BadPayload> {
        match text.len() {
            0..=MAX_PAYLOAD => Ok(Self(text.into())),
            bytes => Err(BadPayload::TooLarge { bytes }),
        }
    }

    /// Text that a store has read back.
    pub(crate) fn stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Whether this is JSON `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Decodes the text.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// Everything that a store knows of one job, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The id.
    pub id: JobId,
    /// The stored name of its kind.
    pub name: Arc<str>,
    /// The payload.
    pub data: Payload,
    /// The options it was added with.
    pub options: Arc<JobOptions>,
    /// Where it is.
    pub state: State,
    /// When it was added.
    pub timestamp: Timestamp,
    /// When it entered the state that it is in.
    pub since: Timestamp,
    /// When a delayed job is due.
    pub due: Option<Timestamp>,
    /// Attempts that have ended and count (BullMQ `attemptsMade`).
    pub made: u32,
    /// Times that a worker has started it (BullMQ `attemptsStarted`).
    pub started: u32,
    /// Times that it was found stalled (BullMQ `stalledCounter`).
    pub stalls: u32,
    /// When the last attempt began.
    pub processed_on: Option<Timestamp>,
    /// The name of the worker of the last attempt.
    pub processed_by: Option<Arc<str>>,
    /// When it ended for good.
    pub finished_on: Option<Timestamp>,
    /// The handler's last word on how far it is, as JSON.
    pub progress: Option<Payload>,
    /// What the handler answered.
    pub result: Option<Payload>,
    /// Why the last attempt failed; stays after a later success, as in BullMQ.
    pub failure: Option<Failure>,
    /// Its parent, as long as that is there.
    pub parent: Option<ParentRef>,
}

/// What is wrong with a text that should name something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is empty.
    Empty,
    /// It is longer than 255 bytes.
    Long,
    /// It contains `:`, which separates the parts of a key.
    Colon,
    /// It contains a control character.
    Control,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Empty => "it is empty",
            Flaw::Long => "it is longer than 255 bytes",
            Flaw::Colon => "it contains ':'",
            Flaw::Control => "it contains a control character",
        })
    }
}

fn flaw(text: &str) -> Option<Flaw> {
    if text.is_empty() {
        Some(Flaw::Empty)
    } else if text.len() > MAX_NAME {
        Some(Flaw::Long)
    } else if text.chars().any(char::is_control) {
        Some(Flaw::Control)
    } else if text.contains(':') {
        Some(Flaw::Colon)
    } else {
        None
    }
}

/// Words that follow a queue's name in its own keys (BullMQ's list, and `metrics`).
const RESERVED: [&str; 22] = [
    "active",
    "completed",
    "de",
    "delay",
    "delayed",
    "dn",
    "events",
    "failed",
    "id",
    "limiter",
    "marker",
    "meta",
    "metrics",
    "paused",
    "pc",
    "prioritized",
    "priority",
    "repeat",
    "stalled",
    "stalled-check",
    "wait",
    "waiting-children",
];

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
}

macro_rules! text_like {
    ($($kind:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Debug::fmt(&*self.0, f) }
        }
    )*};
}
text_like!(JobId, QueueName);

/// Payloads may hold what must not be logged: only the length is shown.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_ids_follow_bullmqs_rules() {
        for bad in ["", "0", "123", "wait", "meta", "-5", "a:b", "a\nb", &"x".repeat(256)] {
            assert!(JobId::custom(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "007", "1.5", "order-1", "ünïcödé", &"x".repeat(255)] {
            assert!(JobId::custom(good).is_ok(), "{good:?}");
        }
        assert!(JobId::parse("123").is_ok());
    }

    #[test]
    fn the_id_of_a_schedulers_job_tells_scheduler_and_slot() {
        let slot = Timestamp::from_millis(1_700);
        let id = JobId::of_iteration("a:b", slot);
        assert_eq!((id.as_str(), id.iteration()), ("repeat:a:b:1700", Some(("a:b", slot))));
        assert_eq!(JobId::parse(id.as_str()), Ok(id.clone()));
        assert!(JobId::custom(id.as_str()).is_err());
        for other in ["repeat:1", "repeat::1", "repeat:a:b", "repeat:a\n:1", "a:1"] {
            assert!(JobId::parse(other).is_err(), "{other}");
        }
    }

    #[test]
    fn payloads_are_checked_once_and_kept_byte_for_byte() {
        assert!(Payload::from_json("{".into()).is_err());
        let text = "{\"a\" : 1.0}";
        assert_eq!(Payload::from_json(text.into()).unwrap().as_str(), text);
        let large = format!("\"{}\"", "x".repeat(MAX_PAYLOAD));
        assert!(matches!(Payload::from_json(large), Err(BadPayload::TooLarge { .. })));
        assert_eq!(format!("{:?}", Payload::encode("secret").unwrap()), "Payload(8 bytes)");
    }
}
