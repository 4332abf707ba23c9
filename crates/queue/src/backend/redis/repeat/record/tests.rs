use redis::Value;

use super::*;
use crate::backend::repeat::iteration;
use crate::backoff::Backoff;

const SLOT: i64 = 1_700_000_003_000;

fn bulk(text: impl AsRef<str>) -> Value {
    Value::BulkString(text.as_ref().as_bytes().to_vec())
}

/// A scheduler as the script reads it.
fn stood(score: i64, record: &[(&str, &str)], job: &str) -> Stood {
    let record = record.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
    let read = [bulk("tick"), bulk(score.to_string()), Value::Array(record), bulk(job), bulk("2"), bulk("active")];
    Stood::read(Value::Array(read.into_iter().chain([bulk("stamp")]).collect())).unwrap()
}

fn stood_own(repeat: &Repeat, more: &[(&str, &str)]) -> Stood {
    let mut record = encode(repeat, SLOT, 4).unwrap();
    record.extend(
        more.iter()
            .map(|(name, value)| (SHOWN.iter().find(|n| *n == name).copied().unwrap_or(RESTS), (*value).to_owned())),
    );
    let record: Vec<_> = record.iter().map(|(name, value)| (*name, &**value)).collect();
    stood(SLOT, &record, r#"{"repeat":{"count":1}}"#)
}

fn every(ms: u64) -> Repeat {
    Repeat::named("tick", Schedule::Every(Duration::from_millis(ms)), "job", &serde_json::json!({ "n": 1.0 })).unwrap()
}

fn full() -> Repeat {
    let options = JobOptions {
        attempts: 3,
        backoff: Backoff::fixed(Duration::from_millis(700)),
        keep_logs: Some(5),
        ..JobOptions::default()
    };
    Repeat {
        options,
        limit: Some(9),
        end: Some(Timestamp::from_millis(SLOT + 90_000)),
        immediately: true,
        misfire: Misfire::Skip { after: Duration::from_secs(5) },
        overlap: Overlap::Skip,
        schedule: Schedule::cron_in("*/5 * * * *", "Europe/Berlin"),
        ..every(1_000)
    }
}

#[test]
fn a_record_has_bullmqs_fields() {
    let start = Timestamp::from_millis(SLOT);
    let record = encode(&Repeat { start: Some(start), limit: Some(2), ..every(10_000) }, SLOT, 1).unwrap();
    let field = |record: &Fields, name: &str| record.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    let expected = [
        ("name", Some("job")),
        ("every", Some("10000")),
        ("offset", Some("3000")),
        ("startDate", Some("1700000003000")),
        ("limit", Some("2")),
        ("data", Some(r#"{"n":1.0}"#)),
        ("ic", Some("1")),
        ("opts", None),
        ("pattern", None),
        ("tz", None),
        ("endDate", None),
    ];
    for (name, value) in expected {
        assert_eq!(field(&record, name).as_deref(), value, "{name}");
    }
    let record = encode(&Repeat { data: Payload::stored("{}"), ..full() }, SLOT, 1).unwrap();
    assert_eq!(field(&record, "offset").as_deref(), Some("0"));
    assert_eq!((field(&record, "pattern").as_deref(), field(&record, "data")), (Some("*/5 * * * *"), None));
    let opts = field(&record, "opts").unwrap();
    assert_eq!(opts, r#"{"attempts":3,"backoff":{"type":"fixed","delay":700},"kl":5}"#);
    assert_eq!(record.last().unwrap().0, "ic");
}

#[test]
fn a_definition_is_read_as_it_was_given() {
    for repeat in [every(1_000), full(), Repeat { data: Payload::stored("{}"), ..full() }] {
        let found = stood_own(&repeat, &[]).scheduled().unwrap().unwrap();
        assert_eq!((&*found.repeat, found.slot, found.count), (&repeat, Some(Timestamp::from_millis(SLOT)), 4));
    }
}

#[test]
fn a_definition_that_the_fields_contradict_is_none() {
    let found = stood_own(&full(), &[("limit", "7")]).scheduled().unwrap().unwrap();
    let repeat = &found.repeat;
    assert_eq!((repeat.limit, repeat.immediately, repeat.overlap), (Some(7), false, Overlap::Allow));
    assert_eq!((&repeat.options, &repeat.schedule, repeat.end), (&full().options, &full().schedule, full().end));
    assert_eq!(found.count, 1);
}

#[test]
fn one_that_rests_stands_nowhere_until_its_score_changes() {
    let rests = |at: i64| stood_own(&full(), &[("lk:rest", &at.to_string())]).scheduled().unwrap().unwrap().slot;
    assert_eq!((rests(SLOT), rests(SLOT - 1)), (None, Some(Timestamp::from_millis(SLOT))));
}

#[test]
fn another_writers_scheduler_is_read() {
    let record = [
        ("name", "n"),
        ("every", "500"),
        ("limit", "3"),
        ("startDate", "1.7e12"),
        ("opts", r#"{"backoff":700,"attempts":2,"removeOnComplete":true,"delay":5}"#),
        ("ic", "8"),
    ];
    let found = stood(SLOT, &record, r#"{"repeat":{"every":500,"count":2}}"#).scheduled().unwrap().unwrap();
    let repeat = &found.repeat;
    assert_eq!(repeat.schedule, Schedule::Every(Duration::from_millis(500)));
    assert_eq!((&*repeat.name, repeat.data.as_str(), repeat.limit), ("n", "{}", Some(3)));
    assert_eq!(repeat.start, Some(Timestamp::from_millis(1_700_000_000_000)));
    assert_eq!((repeat.options.attempts, repeat.options.delay), (2, Duration::ZERO));
    assert_eq!(found.count, 2);
    assert_eq!(stood(SLOT, &record, "").scheduled().unwrap().unwrap().count, 8);
    let cron = [("name", "n"), ("pattern", "0 9 * * *"), ("offset", "0"), ("ic", "1")];
    let found = stood(SLOT, &cron, "").scheduled().unwrap().unwrap();
    assert_eq!(found.repeat.schedule, Schedule::cron("0 9 * * *"));
}

#[test]
fn what_is_no_scheduler_is_damaged_or_missing() {
    assert_eq!(stood(SLOT, &[], "").scheduled().unwrap(), None);
    for record in [
        &[("name", "n"), ("every", "1000")][..],
        &[("name", "n"), ("ic", "1")],
        &[("pattern", "never"), ("ic", "1")],
        &[("pattern", "* * * * *"), ("tz", "Mars"), ("ic", "1")],
    ] {
        assert!(stood(SLOT, record, "").scheduled().is_err(), "{record:?}");
    }
}

fn options(jobs: &Jobs<'_>) -> Json {
    let (slot, now) = (Timestamp::from_millis(SLOT), Timestamp::from_millis(SLOT - 200));
    let (_, job) = iteration(&jobs.repeat, slot, now);
    serde_json::from_str(&jobs.options(&job, slot, 2, now).unwrap()).unwrap()
}

#[test]
fn a_job_carries_what_other_workers_make_the_next_one_from() {
    let repeat = Repeat { misfire: Misfire::One, ..full() };
    let expected = json!({
        "attempts": 3, "backoff": { "type": "fixed", "delay": 700 }, "kl": 5, "delay": 200, "timestamp": SLOT - 200,
        "jobId": "repeat:tick:1700000003000", "repeatJobKey": "tick", "prevMillis": SLOT,
        "repeat": { "pattern": "*/5 * * * *", "tz": "Europe/Berlin", "limit": 9, "endDate": SLOT + 90_000, "count": 2 },
    });
    assert_eq!(options(&Jobs::of(&repeat)), expected);
    let own = stood_own(&repeat, &[]);
    assert_eq!(options(&own.jobs(&repeat)), expected);
    let times = &options(&Jobs::of(&every(10_000)))["repeat"];
    assert_eq!(*times, json!({ "every": 10_000, "offset": 3_000, "count": 2 }));
}

#[test]
fn another_writers_options_go_on_as_they_are() {
    let job = r#"{"attempts":2,"backoff":700,"sizeLimit":9,"priority":4,"jobId":"old","delay":1,"timestamp":1,
        "repeat":{"every":500,"count":1,"limit":3},"repeatJobKey":"tick"}"#;
    let stood = stood(SLOT, &[("name", "n"), ("every", "500"), ("ic", "1")], job);
    let found = stood.scheduled().unwrap().unwrap();
    let jobs = stood.jobs(&found.repeat);
    assert_eq!((jobs.repeat.options.priority, jobs.repeat.options.attempts), (4, 2));
    let expected = json!({
        "attempts": 2, "backoff": { "type": "fixed", "delay": 700 }, "sizeLimit": 9, "priority": 4, "delay": 200,
        "timestamp": SLOT - 200, "jobId": "repeat:tick:1700000003000", "repeatJobKey": "tick",
        "repeat": { "every": 500, "count": 2, "limit": 3 },
    });
    assert_eq!(options(&jobs), expected);
}
