//! Everything that reads text of users, of other programs or of stores: whatever it is given, it answers, and what it has read it
//! writes so that it reads the same again. Inputs are known ones, and what becomes of them by small changes. `FUZZ_SECONDS` is
//! for how long each reader is tried, `FUZZ_SEED` where the dice begin.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use launchkit_queue::backend::WorkerInfo;
use launchkit_queue::{
    Backoff, Dedup, Event, Failure, FailureKind, JobId, JobOptions, Keep, Payload, Position, QueueName, Rate,
    RedisOptions, Repeat, Schedule, State, Timestamp,
};
use launchkit_testkit::{Dice, wish};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Milliseconds for each reader, unless told otherwise.
const MILLIS: u64 = 1_000;
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What is put in.
const NEW: &[u8] = b"0-:,/*{}[]\"\\.#?LWe9\0 \xff";

/// A known input with some small changes: bytes flipped, taken out, put in, repeated, or taken from another one.
fn change(dice: &mut Dice, corpus: &[&str]) -> Vec<u8> {
    let mut bytes = corpus[dice.size(corpus.len())].as_bytes().to_vec();
    for _ in 0..dice.size(5) {
        let at = dice.size(bytes.len() + 1);
        match dice.size(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.size(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, NEW[dice.size(NEW.len())]),
            3 => {
                let part = bytes[at..(at + dice.size(20)).min(bytes.len())].repeat(1 + dice.size(40));
                bytes.splice(at..at, part);
            }
            4 => {
                let other = corpus[dice.size(corpus.len())].as_bytes();
                let from = dice.size(other.len().max(1));
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Tries a reader on text.
fn try_text(name: &str, corpus: &[&str], read: impl Fn(&str)) {
    let until = Instant::now() + wish("FUZZ_SECONDS").map_or(Duration::from_millis(MILLIS), Duration::from_secs);
    let (mut dice, mut tried) = (Dice::new(wish("FUZZ_SEED").unwrap_or_default()), 0_u64);
    corpus.iter().for_each(|text| read(text));
    while Instant::now() < until {
        for _ in 0..64 {
            let bytes = change(&mut dice, corpus);
            let text = String::from_utf8_lossy(&bytes);
            if catch_unwind(AssertUnwindSafe(|| read(&text))).is_err() {
                panic!("{name} does not bear {text:?}");
            }
            tried += 1;
        }
    }
    launchkit_testkit::tell(&format!("fuzzed: {name}, {tried} inputs"));
}

/// Tries the reader of what these values are stored as; what it has read, it writes and reads again.
fn try_json<T: DeserializeOwned + Serialize>(name: &str, values: &[T]) {
    let corpus: Vec<String> = values.iter().map(|value| serde_json::to_string(value).expect("JSON")).collect();
    let corpus: Vec<&str> = corpus.iter().map(String::as_str).collect();
    assert!(corpus.iter().all(|text| serde_json::from_str::<T>(text).is_ok()), "{name}: what is written is read");
    try_text(name, &corpus, |text| {
        if let Ok(read) = serde_json::from_str::<T>(text) {
            let written = serde_json::to_string(&read).expect("what was read can be written");
            let again: T = serde_json::from_str(&written).unwrap_or_else(|why| panic!("{written}: {why}"));
            assert_eq!(serde_json::to_string(&again).expect("again"), written);
        }
    });
}

fn options() -> Vec<JobOptions> {
    let second = Duration::from_secs(1);
    let first = JobOptions {
        attempts: 3,
        backoff: Backoff::exponential(second),
        priority: 7,
        lifo: true,
        ..Default::default()
    };
    let kept = Keep { count: Some(1_000), age: Some(second) };
    let second = JobOptions {
        keep_completed: kept,
        timeout: Some(second),
        deduplication: Some(Dedup::keep_last("d")),
        group: Some("g".into()),
        start_before: Some(NOW),
        keep_logs: Some(5),
        delay: second,
        ..Default::default()
    };
    vec![first, second, JobOptions::default()]
}

#[test]
fn stored_options() {
    try_json("options", &options());
}

#[test]
fn stored_events() {
    let id = || JobId::parse("job-1").expect("an id");
    let failure = Failure::new(FailureKind::Child, "a message");
    try_json(
        "events",
        &[
            Event::Completed {
                id: id(),
                result: Some(Payload::from_json(r#"{"a":[1,2.5,null]}"#.to_owned()).expect("JSON")),
            },
            Event::Failed { id: id(), failure },
            Event::Waiting { id: id(), prev: Some(State::WaitingChildren) },
            Event::Delayed { id: id(), due: NOW },
        ],
    );
}

#[test]
fn stored_failures() {
    try_json("failures", &[Failure::new(FailureKind::Stalled, "stalled"), Failure::new(FailureKind::GaveUp, "")]);
}

#[test]
fn stored_workers() {
    let rate = Some(Rate { max: 3.try_into().expect("not 0"), per: Duration::from_secs(1) });
    let worker = WorkerInfo { id: "w".into(), name: "n".into(), slots: 3, started: NOW, version: "0.1.0".into(), rate };
    try_json("workers", &[worker]);
}

#[test]
fn stored_schedulers() {
    let every = Repeat::named("s", Schedule::Every(Duration::from_secs(60)), "n", &()).expect("null");
    let cron = Schedule::cron_in("0 9 * * MON-FRI", "Europe/Berlin");
    let cron =
        Repeat { limit: Some(3), start: Some(NOW), immediately: true, ..Repeat::named("s", cron, "n", &1).expect("1") };
    try_json("schedulers", &[every, cron]);
}

#[test]
fn cron_patterns() {
    let corpus = [
        "*/5 * * * *",
        "0 0 29 2 *",
        "5/15 9-17 1,15 jan-mar MON#2",
        "0 30 2 L * ?",
        "59 59 23 31 12 5L",
        "0-30/10 * * * * *",
        "0 0 0 0 0",
    ];
    try_text("cron patterns", &corpus, |pattern| {
        for tz in ["UTC", "Europe/Berlin", pattern] {
            let schedule = Schedule::cron_in(pattern, tz);
            let repeat = Repeat::named("s", schedule, "n", &()).expect("null");
            // Accepted or refused; an accepted one has times, which are found without going through all of time.
            if repeat.check().is_ok() {
                let (first, next) = (repeat.first(NOW), repeat.next(NOW, NOW));
                assert!(
                    first.into_iter().chain(next).all(|time| time >= NOW),
                    "{pattern:?} in {tz}: {first:?}, {next:?}"
                );
            }
        }
    });
}

#[test]
fn names_ids_and_positions() {
    let corpus = [
        "1",
        "job-1",
        "repeat:s:1700000000000",
        "a:b",
        "ai-jobs",
        "18446744073709551615-0",
        "0-18446744073709551616",
        "\u{1F980}",
    ];
    try_text("names, ids and positions", &corpus, |text| {
        if let Ok(id) = JobId::parse(text) {
            assert_eq!(id.as_str(), text);
        }
        if let Ok(queue) = QueueName::new(text) {
            assert_eq!(queue.as_str(), text);
        }
        if let Ok(position) = text.parse::<Position>() {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
    });
}

#[test]
fn payloads() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let corpus = [r#"{"a":[1,2.5e-7,"\u00e9\ud83e\udd80",null,true]}"#, "\"x\"", "1e400", "-0", &deep];
    try_text("payloads", &corpus, |text| {
        if let Ok(payload) = Payload::from_json(text.to_owned()) {
            assert_eq!(payload.as_str(), text);
            let whole = serde_json::from_str::<&serde_json::value::RawValue>(text);
            assert!(whole.is_ok(), "what is accepted is JSON: {text:?}");
        }
    });
}

#[test]
fn redis_addresses() {
    let corpus = [
        "redis://user:p%40ss@localhost:6379/3",
        "rediss://[::1]:6380/0?prefix=x",
        "unix:///run/redis.sock?db=1",
        "redis-sentinel://a:1,b:2,c:3/master/0",
        "redis-cluster://h:1,h:2",
        "redis://",
    ];
    try_text("addresses of Redis", &corpus, |text| {
        let _ = RedisOptions::parse(text);
    });
}
