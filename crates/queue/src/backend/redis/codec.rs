//! Jobs as they lie in their hashes: options as JSON, records field by field. What other writers leave is read as well as it
//! can be.

use std::borrow::Cow;
use std::sync::Arc;

use redis::Value;
use serde_json::{Map, Value as Json};

use super::keys::Keys;
use super::reply::{list, number, odd, small, text, time};
use crate::backend::NewJob;
use crate::error::StoreError;
use crate::exit::{Failure, FailureKind};
use crate::job::{ChildFailure, JobId, ParentRef, Payload, QueueName, Record};
use crate::options::{GROUPED_CLASS, JobOptions};
use crate::state::State;
use crate::time::Timestamp;

/// The texts by which BullMQ's workers and ours fail a job that they do not run.
pub(super) const STALLED: &str = "job stalled more than allowable limit";
pub(super) const CANCELED: &str = "the job was canceled";

/// A job's options as its hash has them; `more` is what a flow adds.
pub(super) fn encode_options(job: &NewJob, more: &[(&str, Json)]) -> Result<String, StoreError> {
    let bad = |error: serde_json::Error| StoreError::Damaged(error.to_string());
    // Other clients' workers know groups not at all, and put such a job back by its priority.
    let options = match job.options.group {
        Some(_) => Cow::Owned(JobOptions { priority: GROUPED_CLASS, ..(*job.options).clone() }),
        None => Cow::Borrowed(&*job.options),
    };
    if job.id.is_none() && more.is_empty() {
        return serde_json::to_string(&options).map_err(bad);
    }
    let mut json = serde_json::to_value(&options).map_err(bad)?;
    if let Json::Object(fields) = &mut json {
        fields.extend(job.id.iter().map(|id| ("jobId".to_owned(), Json::from(id.as_str()))));
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    Ok(json.to_string())
}

/// Options of a stored job; what BullMQ writes in more than one form is brought into ours.
pub(super) fn decode_options(text: &str) -> Result<JobOptions, serde_json::Error> {
    let mut options = decode_any(text)?;
    if options.group.is_some() {
        options.priority = 0;
    }
    Ok(options)
}

fn decode_any(text: &str) -> Result<JobOptions, serde_json::Error> {
    if text.is_empty() || text == "{}" {
        return Ok(JobOptions::default());
    }
    // A list would be read as the fields in their order.
    if text.starts_with('{')
        && let Ok(options) = serde_json::from_str(text)
    {
        return Ok(options);
    }
    let mut fields: Map<String, Json> = serde_json::from_str(text)?;
    for (name, tidy) in FOREIGN {
        if let Some(value) = fields.remove(*name).and_then(tidy) {
            fields.insert((*name).to_owned(), value);
        }
    }
    serde_json::from_value(Json::Object(fields))
}

type Tidy = fn(Json) -> Option<Json>;

const FOREIGN: &[(&str, Tidy)] = &[
    ("priority", whole),
    ("delay", whole),
    ("attempts", whole),
    ("timeout", whole),
    ("startBefore", whole),
    ("kl", whole),
    ("lifo", |value| value.as_bool().map(Json::from)),
    ("tm", |value| value.is_string().then_some(value)),
    ("gr", |value| value.is_string().then_some(value)),
    ("removeOnComplete", keep),
    ("removeOnFail", keep),
    ("backoff", backoff),
    ("de", dedup),
];

/// A number that is not negative, without its fraction.
fn whole(value: Json) -> Option<Json> {
    let number = value.as_f64().filter(|n| n.is_finite() && *n >= 0.0)?;
    Some(Json::from(number as u64))
}

/// `true`, a number, or an object.
fn keep(value: Json) -> Option<Json> {
    let count = |count: Json| serde_json::json!({ "count": count });
    match value {
        Json::Bool(true) => Some(count(Json::from(0))),
        Json::Number(_) => whole(value).map(count),
        Json::Object(fields) => {
            let known = fields.into_iter().filter(|(name, _)| name == "count" || name == "age");
            Some(Json::Object(known.filter_map(|(name, value)| Some((name, whole(value)?))).collect()))
        }
        _ => None,
    }
}

/// A number means the same wait each time. A kind that only its producer's workers know is none: those run the job at once.
fn backoff(value: Json) -> Option<Json> {
    let (kind, delay, jitter) = match &value {
        Json::Number(_) => ("fixed", value.clone(), None),
        Json::Object(fields) => match fields.get("type").and_then(Json::as_str) {
            Some(kind @ ("fixed" | "exponential")) => (
                kind,
                fields.get("delay").cloned().unwrap_or(Json::from(0)),
                fields.get("jitter").and_then(Json::as_f64),
            ),
            _ => return None,
        },
        _ => return None,
    };
    Some(serde_json::json!({ "type": kind, "delay": whole(delay)?, "jitter": jitter.unwrap_or(0.0).clamp(0.0, 1.0) }))
}

fn dedup(value: Json) -> Option<Json> {
    let Json::Object(mut fields) = value else { return None };
    fields.get("id").filter(|id| id.is_string())?;
    if let Some(ttl) = fields.remove("ttl").and_then(whole).filter(|ttl| ttl.as_u64() != Some(0)) {
        fields.insert("ttl".to_owned(), ttl);
    }
    fields.retain(|name, value| name == "id" || name == "ttl" || value.is_boolean());
    Some(Json::Object(fields))
}

/// What a `defa` field means for the next taker.
pub(super) fn doom(text: &str, canceled: bool, keys: &Keys) -> Failure {
    if let Some(told) = keys.doom(text).filter(|_| !canceled) {
        return Failure::new(FailureKind::Child, &told);
    }
    let kind = match text {
        _ if canceled => return Failure::new(FailureKind::Canceled, CANCELED),
        STALLED => FailureKind::Stalled,
        text if text.starts_with("child ") => FailureKind::Child,
        _ => FailureKind::GaveUp,
    };
    Failure::new(kind, text)
}

/// The name by which a kind of failure is stored.
pub(super) fn kind_name(kind: FailureKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Json::String(name)) => name,
        _ => String::new(),
    }
}

/// A failure by its stored fields; other workers leave no kind.
pub(super) fn stored_failure(reason: &str, kind: &str, keys: &Keys) -> Failure {
    let kind = serde_json::from_value(Json::from(kind)).ok();
    match keys.doom(reason).filter(|_| matches!(kind, None | Some(FailureKind::Child))) {
        Some(told) => Failure::new(FailureKind::Child, &told),
        None => Failure::new(kind.unwrap_or(FailureKind::Error), reason),
    }
}

/// The state of jobs in a place.
pub(super) fn state(place: &str) -> Option<State> {
    match place {
        "wait" | "paused" => Some(State::Waiting),
        other => State::ALL.into_iter().find(|state| state.name() == other),
    }
}

/// The place of jobs in a state.
pub(super) fn place(state: State) -> &'static str {
    match state {
        State::Waiting => "wait",
        other => other.name(),
    }
}

/// What a child's failure means, by the short names in its `parent` field.
pub(super) const POLICIES: [(&str, ChildFailure); 4] = [
    ("fpof", ChildFailure::FailParent),
    ("cpof", ChildFailure::ContinueParent),
    ("idof", ChildFailure::Ignore),
    ("rdof", ChildFailure::Remove),
];

/// A parent by the field of its child.
pub(super) fn parent(json: &str, keys: &Keys) -> Option<ParentRef> {
    let fields: Map<String, Json> = serde_json::from_str(json).ok()?;
    let id = match fields.get("id")? {
        Json::String(id) => id.clone(),
        other => other.to_string(),
    };
    let set = |(name, _): &&(&str, ChildFailure)| fields.get(*name).and_then(Json::as_bool) == Some(true);
    Some(ParentRef {
        queue: QueueName::new(keys.queue_of(fields.get("queueKey")?.as_str()?)).ok()?,
        id: JobId::stored(id),
        on_failure: POLICIES.iter().find(set).map_or(ChildFailure::Wait, |(_, policy)| *policy),
    })
}

/// A job as a script read it: id, place, score, hash, and whether its parent is there.
pub(super) fn record(read: Value, keys: &Keys) -> Result<Option<Record>, StoreError> {
    let read = match read {
        Value::Array(read) => read,
        _ => return Ok(None),
    };
    let [id, place, score, hash, parented] = read.try_into().map_err(|_| odd())?;
    let Some(state) = state(&text(place)?) else { return Ok(None) };
    let score = text(score)?;
    let due =
        (state == State::Delayed).then(|| number(&score).map(|score| Timestamp::from_millis(score.div_euclid(4096))));
    let mut job = Record {
        id: JobId::stored(text(id)?),
        name: "".into(),
        data: Payload::null(),
        options: Arc::default(),
        state,
        timestamp: Timestamp::default(),
        since: Timestamp::default(),
        due: due.flatten(),
        made: 0,
        started: 0,
        stalls: 0,
        processed_on: None,
        processed_by: None,
        finished_on: None,
        progress: None,
        result: None,
        failure: None,
        parent: None,
    };
    let (mut reason, mut kind, mut since) = (None, String::new(), None);
    let mut fields = list(hash)?.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let value = text(value)?;
        match text(name)?.as_str() {
            "name" => job.name = value.into(),
            "data" => job.data = Payload::stored(value),
            "opts" => job.options = Arc::new(decode_options(&value).unwrap_or_default()),
            "timestamp" => job.timestamp = time(&value).unwrap_or_default(),
            "atm" => job.made = small(&value),
            "ats" => job.started = small(&value),
            "stc" => job.stalls = small(&value),
            "processedOn" => job.processed_on = time(&value),
            "pb" => job.processed_by = Some(value.into()),
            "finishedOn" => job.finished_on = time(&value),
            "progress" => job.progress = Some(Payload::stored(value)),
            "returnvalue" => job.result = (value != "null").then(|| Payload::stored(value)),
            "failedReason" => reason = Some(value),
            "lk:kind" => kind = value,
            "lk:at" => since = time(&value),
            "parent" if int_is_one(&parented) => job.parent = parent(&value, keys),
            _ => {}
        }
    }
    job.failure = reason.map(|reason| stored_failure(&reason, &kind, keys));
    job.since = match state {
        State::Active => job.processed_on,
        State::Completed | State::Failed => job.finished_on,
        _ => since,
    }
    .unwrap_or(job.timestamp);
    Ok(Some(job))
}

fn int_is_one(value: &Value) -> bool {
    matches!(value, Value::Int(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backoff::Backoff;
    use crate::options::Keep;

    #[test]
    fn options_of_other_writers_are_read() {
        let text = r#"{"attempts":3.0,"backoff":700,"removeOnComplete":true,"removeOnFail":{"age":3.6e3,"count":-1,"limit":5},
            "delay":10.5,"lifo":0,"jobId":"a","kl":2,"repeat":{"every":1000},"fpof":true,"de":{"id":"d","ttl":0}}"#;
        let options = decode_options(text).unwrap();
        assert_eq!(options.attempts, 3);
        assert_eq!(options.backoff, Backoff::fixed(Duration::from_millis(700)));
        assert_eq!(options.keep_completed, Keep::NONE);
        assert_eq!(options.keep_failed, Keep::younger(Duration::from_secs(3600)));
        assert_eq!((options.delay, options.lifo, options.keep_logs), (Duration::from_millis(10), false, Some(2)));
        assert_eq!(options.deduplication.unwrap().ttl, None);
        let custom = decode_options(r#"{"backoff":{"type":"mine","delay":5},"removeOnFail":false}"#).unwrap();
        assert_eq!(custom, JobOptions::default());
        assert!(decode_options("[1]").is_err() && decode_options("{").is_err());
    }

    #[test]
    fn a_group_is_stored_with_the_lowest_priority_and_read_back_with_none() {
        let options = JobOptions { group: Some("a".into()), ..JobOptions::default() };
        let mut job = NewJob { id: None, name: "n".into(), data: Payload::null(), options: Arc::new(options.clone()) };
        for id in [None, Some(JobId::stored("7"))] {
            job.id = id;
            let text = encode_options(&job, &[]).unwrap();
            assert!(text.contains(r#""priority":2097152"#) && text.contains(r#""gr":"a""#), "{text}");
            assert_eq!(decode_options(&text).unwrap(), options);
        }
        assert_eq!(decode_options(r#"{"priority":2097152}"#).unwrap().priority, 2_097_152);
    }

    #[test]
    fn parents_are_read_from_their_childrens_field() {
        let keys = Keys::new("bull");
        let read = parent(r#"{"id":"p","queueKey":"bull:reports","idof":true}"#, &keys).unwrap();
        assert_eq!((read.queue.as_str(), read.id.as_str()), ("reports", "p"));
        assert_eq!(read.on_failure, ChildFailure::Ignore);
        assert_eq!(parent("[]", &keys), None);
    }
}
