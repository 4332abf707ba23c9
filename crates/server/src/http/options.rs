//! The `options` of a create request: types, bounds, and rules between them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::Fields;
use crate::problem::Fault;
use crate::when;

/// Delays end within this time from now, in ms.
pub(super) const MOST_DELAY_MS: u64 = 365 * 24 * 3_600_000;
const MOST_PRIORITY: u64 = 2_097_151;
const MOST_TIMEOUT_MS: u64 = 24 * 3_600_000;
const MOST_METADATA_KEYS: usize = 16;
const MOST_METADATA_BYTES: usize = 512;
const MOST_URL_BYTES: usize = 2_048;

/// How a job is to be run. All times in ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// Not before.
    pub run_at: Option<i64>,
    /// Tries, 1–10.
    pub attempts: i64,
    /// Labels of the caller's.
    pub metadata: BTreeMap<String, String>,
    /// One extra endpoint.
    pub webhook_url: Option<String>,
    /// Time for one try.
    pub timeout: Option<i64>,
    /// To be started by then.
    pub start_before: Option<i64>,
    /// Who is to do the work.
    pub provider: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            priority: 0,
            run_at: None,
            attempts: 3,
            metadata: BTreeMap::new(),
            webhook_url: None,
            timeout: None,
            start_before: None,
            provider: None,
        }
    }
}

impl Options {
    /// Reads the object at the pointer `at`; `now` is what a delay counts from.
    pub(super) fn read(at: &str, map: Map<String, Value>, now: i64) -> Result<Options, Vec<Fault>> {
        let mut fields = Fields::new(at, map);
        let mut options = Options::default();
        options.priority = fields.whole("priority", 0..=MOST_PRIORITY).map_or(0, |n| n as i64);
        options.attempts = fields.whole("attempts", 1..=10).map_or(options.attempts, |n| n as i64);
        options.timeout = fields.whole("timeout", 1..=MOST_TIMEOUT_MS).map(|n| n as i64);
        options.run_at = run_at(&mut fields, now);
        options.start_before = start_before(&mut fields, options.run_at, now);
        options.metadata = metadata(&mut fields);
        options.webhook_url = webhook_url(&mut fields);
        options.provider = provider(&mut fields);
        let faults = fields.finish();
        if faults.is_empty() { Ok(options) } else { Err(faults) }
    }
}

fn run_at(fields: &mut Fields, now: i64) -> Option<i64> {
    let delay = fields.whole("delay", 0..=MOST_DELAY_MS);
    let Some(given) = fields.text("runAt") else { return delay.filter(|ms| *ms > 0).map(|ms| now + ms as i64) };
    if delay.is_some() {
        fields.fault("runAt", "Give delay or runAt, not both.");
    }
    let at = time(fields, "runAt", &given)?;
    if at > now + MOST_DELAY_MS as i64 {
        fields.fault("runAt", "runAt must lie within 365 days from now.");
        return None;
    }
    // A time that has passed means at once.
    Some(at).filter(|at| *at > now)
}

fn start_before(fields: &mut Fields, run_at: Option<i64>, now: i64) -> Option<i64> {
    let given = fields.text("startBefore")?;
    let before = time(fields, "startBefore", &given)?;
    if before > now + 2 * MOST_DELAY_MS as i64 {
        fields.fault("startBefore", "startBefore must lie within 730 days from now.");
    } else if run_at.is_some_and(|at| at >= before) {
        fields.fault("startBefore", "startBefore must be later than the time at which the job may first run.");
    }
    Some(before)
}

fn time(fields: &mut Fields, name: &str, given: &str) -> Option<i64> {
    let at = when::parse(given);
    if at.is_none() {
        fields.fault(name, format!("{name} must be a time like 2026-11-24T04:26:26.123Z."));
    }
    at
}

fn metadata(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(map) = fields.object("metadata") else { return labels };
    if map.len() > MOST_METADATA_KEYS {
        fields.fault("metadata", format!("metadata may have {MOST_METADATA_KEYS} keys."));
        return labels;
    }
    let at = fields.pointer("metadata");
    let mut inside = Fields::new(at, Map::new());
    for (key, value) in map {
        let Value::String(text) = value else {
            inside.fault(&key, "A metadata value must be a string.");
            continue;
        };
        if key.is_empty() || key.len() > MOST_METADATA_BYTES {
            inside.fault(&key, format!("A metadata key must have 1 to {MOST_METADATA_BYTES} bytes."));
        } else if text.len() > MOST_METADATA_BYTES {
            inside.fault(&key, format!("A metadata value may have {MOST_METADATA_BYTES} bytes."));
        } else {
            labels.insert(key, text);
        }
    }
    fields.faults.append(&mut inside.faults);
    labels
}

/// Only its form is checked here; where it may point is decided when it is sent to.
fn webhook_url(fields: &mut Fields) -> Option<String> {
    let text = fields.text("webhookUrl")?;
    let url = reqwest::Url::parse(&text).ok().filter(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    });
    if text.len() > MOST_URL_BYTES || url.is_none() {
        let expected =
            "webhookUrl must be an http or https address of at most 2,048 bytes, without a user name or password.";
        fields.fault("webhookUrl", expected);
        return None;
    }
    Some(text)
}

fn provider(fields: &mut Fields) -> Option<String> {
    let name = fields.text("provider")?;
    if name != "local" {
        fields.fault("provider", "The only provider in this version is local.");
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;
    use serde_json::json;

    const NOW: i64 = 1_763_958_386_123;

    fn read(value: Value) -> Result<Options, Vec<String>> {
        let Value::Object(map) = value else { panic!("{value}") };
        Options::read("/options", map, NOW).map_err(|faults| {
            let pointers = faults.into_iter().map(|fault| match fault.place {
                Place::Pointer(pointer) => pointer,
                Place::Parameter(name) => panic!("{name}"),
            });
            pointers.collect()
        })
    }

    #[test]
    fn everything_that_may_be_set() {
        let options = read(json!({
            "priority": 2_097_151, "attempts": 10, "delay": 5_000, "metadata": {"a": "b"}, "timeout": 1_000,
            "webhookUrl": "https://example.com/x?y=1", "startBefore": when::rfc3339(NOW + 6_000), "provider": "local",
        }));
        let expected = Options {
            priority: 2_097_151,
            run_at: Some(NOW + 5_000),
            attempts: 10,
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            webhook_url: Some("https://example.com/x?y=1".into()),
            timeout: Some(1_000),
            start_before: Some(NOW + 6_000),
            provider: Some("local".into()),
        };
        assert_eq!(options.unwrap(), expected);
        assert_eq!(read(json!({})).unwrap(), Options::default());
        assert_eq!(read(json!({"delay": 0})).unwrap().run_at, None);
        assert_eq!(read(json!({"runAt": when::rfc3339(NOW - 1)})).unwrap().run_at, None);
        assert_eq!(read(json!({"delay": MOST_DELAY_MS})).unwrap().run_at, Some(NOW + MOST_DELAY_MS as i64));
    }

    #[test]
    fn everything_that_may_not() {
        let late = when::rfc3339(NOW + MOST_DELAY_MS as i64 + 1);
        let many: Map<String, Value> = (0..17).map(|i| (i.to_string(), json!(""))).collect();
        for (value, pointer) in [
            (json!({"priority": -1}), "/options/priority"),
            (json!({"priority": 2_097_152}), "/options/priority"),
            (json!({"priority": 1.0}), "/options/priority"),
            (json!({"priority": "1"}), "/options/priority"),
            (json!({"priority": null}), "/options/priority"),
            (json!({"attempts": 0}), "/options/attempts"),
            (json!({"attempts": 11}), "/options/attempts"),
            (json!({"delay": MOST_DELAY_MS + 1}), "/options/delay"),
            (json!({"runAt": late}), "/options/runAt"),
            (json!({"runAt": NOW}), "/options/runAt"),
            (json!({"runAt": "soon"}), "/options/runAt"),
            (json!({"delay": 1, "runAt": when::rfc3339(NOW + 9)}), "/options/runAt"),
            (json!({"delay": 10_000, "startBefore": when::rfc3339(NOW + 10_000)}), "/options/startBefore"),
            (json!({"timeout": 0}), "/options/timeout"),
            (json!({"metadata": []}), "/options/metadata"),
            (json!({"metadata": many}), "/options/metadata"),
            (json!({"metadata": {"a/b": 1}}), "/options/metadata/a~1b"),
            (json!({"metadata": {"": "x"}}), "/options/metadata/"),
            (json!({"metadata": {"a": "é".repeat(257)}}), "/options/metadata/a"),
            (json!({"webhookUrl": "ftp://x"}), "/options/webhookUrl"),
            (json!({"webhookUrl": "/x"}), "/options/webhookUrl"),
            (json!({"webhookUrl": "https://u:p@x"}), "/options/webhookUrl"),
            (json!({"webhookUrl": format!("https://x/{}", "y".repeat(2_048))}), "/options/webhookUrl"),
            (json!({"provider": "openai"}), "/options/provider"),
            (json!({"retries": 3}), "/options/retries"),
        ] {
            assert_eq!(read(value.clone()).unwrap_err(), [pointer], "{value}");
        }
        assert_eq!(read(json!({"priority": -1, "x": 1, "provider": 3})).unwrap_err().len(), 3);
    }
}
