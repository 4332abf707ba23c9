//! Records with anything in their fields: whatever another client has written, the jobs beside it run, and it itself ends.

use std::time::Duration;

use launchkit_queue::backend::List;
use launchkit_queue::{Active, Payload, Planned, Position, StoreError, Worker};
use launchkit_testkit::{Dice, wish};

use super::*;

/// Runs, unless `GARBAGE_SEEDS` says otherwise.
const SEEDS: u64 = 12;
const JOBS: usize = 60;
/// Every field that is read of a job.
const FIELDS: [&str; 24] = [
    "name",
    "data",
    "opts",
    "timestamp",
    "delay",
    "priority",
    "atm",
    "ats",
    "stc",
    "defa",
    "lk:at",
    "lk:c",
    "lk:s",
    "lk:f",
    "lk:g",
    "parentKey",
    "parent",
    "deid",
    "processedOn",
    "finishedOn",
    "progress",
    "returnvalue",
    "failedReason",
    "rjk",
];
const TEXTS: [&str; 26] = [
    "",
    " ",
    "0",
    "-1",
    "1e400",
    "nan",
    "-inf",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "1.5",
    "0x10",
    "null",
    "{",
    "}",
    "[]",
    "\"",
    "{\"attempts\":-1}",
    "{\"attempts\":1e99,\"backoff\":{\"type\":7}}",
    "{\"delay\":\"x\",\"priority\":[]}",
    "{\"removeOnComplete\":{\"count\":-3,\"age\":{}}}",
    "{\"startBefore\":\"\"}",
    "2097152",
    "bull:q:nobody",
    "child :",
    "\u{1F980}\u{0}\n",
];

/// A value of a field, in hexadecimal: a known troublemaker, bytes, or many of them.
fn value(dice: &mut Dice) -> String {
    let bytes: Vec<u8> = match dice.size(4) {
        0 | 1 => TEXTS[dice.size(TEXTS.len())].as_bytes().to_vec(),
        2 => (0..dice.size(40)).map(|_| dice.size(256) as u8).collect(),
        _ => [b'[', b'{', b'"', b'9'][dice.size(4)..].iter().copied().cycle().take(dice.size(3_000)).collect(),
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes bytes into a field, or takes it away; but the time of its adding stays: what has neither that nor a name is no job.
fn spoil(server: &RedisServer, dice: &mut Dice, id: &str) {
    let (key, field) = (format!("bull:q:{id}"), FIELDS[dice.size(FIELDS.len())]);
    if dice.size(5) == 0 && field != "timestamp" {
        server.command(&["HDEL", &key, field]).expect("a field is gone");
    } else {
        let script = "local value = ARGV[2]:gsub('..', function(two) return string.char(tonumber(two, 16)) end)\n\
                      return redis.call('HSET', KEYS[1], ARGV[1], value)";
        server.command(&["EVAL", script, "1", &key, field, &value(dice)]).expect("a field is written");
    }
}

#[tokio::test]
async fn whatever_a_record_holds_it_ends_and_harms_no_other() {
    for seed in 0..wish("GARBAGE_SEEDS").unwrap_or(SEEDS) {
        let (server, q) = case().await;
        let store = Store::redis(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
        let queue = Queue::new(&store, "q").expect("a name");
        let mut dice = Dice::new(seed);
        let planned = (0..JOBS).map(|n| {
            let options =
                JobOptions { priority: [0, 0, 5][dice.size(3)], attempts: 1 + dice.size(2) as u32, ..plain() };
            Planned::named("any", &n).id(format!("{}-{n}", ["good", "bad"][n % 2])).options(options)
        });
        queue.add_all(planned.collect()).await.expect("jobs");
        for n in (1..JOBS).step_by(2) {
            for _ in 0..=dice.size(3) {
                spoil(&server, &mut dice, &format!("bad-{n}"));
            }
        }
        let handler = async |_: Active<Payload>| Ok(json("null"));
        let worker = Worker::builder(&queue).on_rest(handler).concurrency(7).build().expect("a worker").start();
        let ended = async {
            let mut events = queue.events(Position::START);
            loop {
                let counts = queue.counts().await.expect("counts");
                if counts.completed + counts.failed == counts.total() {
                    break;
                }
                events.next().await.expect("an event");
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), ended).await.is_err() {
            let left = ask(&server, "LRANGE bull:q:wait 0 -1");
            let records =
                left.lines().map(|id| server.command(&["HGETALL", &format!("bull:q:{id}")]).unwrap_or_default());
            panic!("seed {seed}: {:?}, left: {left} {:#?}", queue.counts().await, records.collect::<Vec<_>>());
        }
        worker.stop().await;
        for n in (0..JOBS).step_by(2) {
            let record = queue.get(&id(&format!("good-{n}"))).await.expect("an answer").expect("a job");
            assert_eq!(record.state, State::Completed, "seed {seed}: {record:?}");
        }
        read_all(&queue, &q, seed).await;
    }
}

/// Whatever reads one job says that it is damaged, or reads it; whatever reads many reads the others.
async fn read_all(queue: &Queue, q: &Given, seed: u64) {
    for n in 0..JOBS {
        let id = id(&format!("{}-{n}", ["good", "bad"][n % 2]));
        let said = [
            queue.get(&id).await.map(drop),
            queue.explain(&id).await.map(drop),
            queue.logs(&id, 0, 10).await.map(drop),
            q.backend.children(&q.queue, &id, 0, 10).await.map(drop),
        ];
        for answer in said {
            assert!(matches!(answer, Ok(()) | Err(StoreError::Damaged(_))), "seed {seed}, {id}: {answer:?}");
        }
    }
    for state in State::ALL {
        queue
            .list(&List { state, after: None, most: 100 })
            .await
            .unwrap_or_else(|why| panic!("seed {seed}, {state}: {why}"));
    }
    queue.info().await.expect("info");
    queue.metrics(None, 10).await.expect("metrics");
    let events = q.backend.events(&q.queue, Position::START, 1_000).await;
    assert!(events.is_ok(), "seed {seed}: {events:?}");
}
