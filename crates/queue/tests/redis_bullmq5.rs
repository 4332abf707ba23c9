//! Queues of BullMQ 5 as ours finds them, beside real clients of BullMQ 5.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::{Leftovers, Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{
    Clock, Event, Exit, Payload, Position, Queue, QueueName, Repeat, Schedule, State, Store, StoreError, Told, Worker,
};
use launchkit_testkit::Peer;
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};
use serde_json::{Value, json};

/// The queue `old` on a server, a client of BullMQ 5 that has opened it, and ours.
struct Case {
    server: RedisServer,
    five: Peer,
    store: Arc<Redis>,
    q: Given,
}

impl Case {
    async fn new() -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let five = Peer::node("bullmq5.mjs", &[&server.port().to_string()]);
        let options = RedisOptions::parse(&server.url()).expect("a URL");
        let store = Arc::new(Redis::open(&options).await.expect("a store"));
        let q = Given::over(store.clone(), QueueName::new("old").expect("a name"));
        let case = Self { server, five, store, q };
        case.five("open", json!({})).await;
        case
    }

    async fn five(&self, op: &str, mut with: Value) -> Value {
        with["queue"] = "old".into();
        self.five.ask(op, with).await
    }

    fn ask(&self, command: &str) -> String {
        self.server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    async fn control(&self, what: Control) -> Result<(), StoreError> {
        self.store.control(&self.q.queue, what, Clock::system().now()).await
    }

    async fn leftovers(&self) -> Leftovers {
        self.store.leftovers(&self.q.queue).await.expect("a read")
    }
}

/// What BullMQ 5 has set apart counts as waiting, is listed, found and explained where it will run, and can be removed.
#[tokio::test]
async fn jobs_that_bullmq_5_set_apart_are_waiting() {
    let c = Case::new().await;
    c.five("add", json!({ "ids": ["a", "b"] })).await;
    c.five("pause", json!({})).await;
    c.five("add", json!({ "ids": ["c", "d"] })).await;
    assert_eq!(c.ask("LRANGE bull:old:paused 0 -1"), "d\nc\nb\na");
    assert_eq!((c.leftovers().await.paused, c.q.counts().await.waiting), (4, 4));
    assert_eq!(c.q.list(State::Waiting).await, ["a", "b", "c", "d"]);
    assert_eq!((c.q.get("c").await.state, c.q.take_ids(9, at(0)).await), (State::Waiting, Vec::new()));
    // What ours adds stands where a resume of either version keeps it.
    let now = Clock::system().now();
    c.q.add(vec![named("e", plain()), named("first", lifo())], now).await;
    assert_eq!(c.ask("LRANGE bull:old:paused 0 -1"), "e\nd\nc\nb\na\nfirst");
    let facts = c.store.facts(&c.q.queue, &id("b"), now).await.expect("facts");
    assert_eq!((facts.ahead, facts.info.oldest_ready.is_some()), (2, true));
    assert_eq!(c.q.edit(Edit::Remove(id("b")), now).await, Edited::Done);
    assert_eq!(c.q.list(State::Waiting).await, ["first", "a", "c", "d", "e"]);
    c.five("resume", json!({})).await;
    assert_eq!(c.q.take_ids(9, Clock::system().now()).await, ["first", "a", "c", "d", "e"]);
}

#[tokio::test]
async fn a_drain_takes_what_is_set_apart_as_well() {
    let c = Case::new().await;
    c.five("add", json!({ "ids": ["a", "b", "c"] })).await;
    c.five("pause", json!({})).await;
    c.ask("LPUSH bull:old:wait x");
    c.ask("HSET bull:old:x name n data {} opts {} timestamp 1 delay 0 priority 0");
    let swept = c.q.sweep(SweepWhat::DrainWaiting, 2, at(0)).await;
    assert_eq!((swept.done, swept.next.is_some()), (vec![id("a"), id("b")], true));
    let rest = Sweep { after: swept.next, ..Sweep::all(c.q.queue.clone(), SweepWhat::DrainWaiting, 9) };
    assert_eq!(c.store.sweep(rest, at(0)).await.expect("swept").done, [id("c"), id("x")]);
    assert_eq!(c.ask("KEYS bull:old:[a-cx]"), "");
}

/// Both lists together, however long: the older jobs come first, and none is lost; the queue is resumed with the last step.
#[tokio::test]
async fn a_resume_brings_back_in_front_what_was_set_apart() {
    let c = Case::new().await;
    let old: Vec<String> = (0..12_000).map(|n| format!("old-{n}")).collect();
    for ids in old.chunks(4_000) {
        c.five("add", json!({ "ids": ids })).await;
    }
    c.five("pause", json!({})).await;
    // A producer of BullMQ 6 adds there while the queue is paused.
    c.ask("HSET bull:old:new name n data {} opts {} timestamp 1 delay 0 priority 0");
    c.ask("LPUSH bull:old:wait new");
    c.control(Control::Resume).await.expect("resumed");
    assert_eq!((c.ask("EXISTS bull:old:paused"), c.ask("HEXISTS bull:old:meta paused")), ("0".into(), "0".into()));
    assert_eq!(c.ask("XREVRANGE bull:old:events + - COUNT 100").matches("resumed").count(), 1);
    let mut taken = Vec::new();
    loop {
        let some = c.q.take_ids(1_000, Clock::system().now()).await;
        if some.is_empty() {
            break;
        }
        taken.extend(some);
    }
    assert_eq!((taken.len(), &taken[..12_000], &*taken[12_000]), (12_001, &*old, "new"));
}

/// What an interrupted resume has left is brought back by the next one.
#[tokio::test]
async fn what_is_left_apart_in_a_running_queue_comes_back_too() {
    let c = Case::new().await;
    c.five("add", json!({ "ids": ["a"] })).await;
    c.ask("RENAME bull:old:wait bull:old:paused");
    assert!(!c.leftovers().await.is_clean());
    c.control(Control::Resume).await.expect("resumed");
    assert_eq!(c.q.take_ids(1, Clock::system().now()).await, ["a"]);
}

/// Ours would pause by a flag; what is added after it, a resume of BullMQ 5 would overwrite.
#[tokio::test]
async fn a_queue_of_bullmq_5_is_not_paused() {
    let c = Case::new().await;
    c.five("add", json!({ "ids": ["a"] })).await;
    let Err(StoreError::Unsupported(why)) = c.control(Control::Pause).await else { panic!("it is refused") };
    assert!(why.contains("BullMQ 5") && why.contains("docs/from-bullmq.md"), "{why}");
    assert_eq!(c.ask("HEXISTS bull:old:meta paused"), "0");
    assert_eq!(c.q.take_ids(1, Clock::system().now()).await, ["a"]);
    // One that is paused already stays so, and is resumed.
    c.five("pause", json!({})).await;
    c.control(Control::Pause).await.expect("it is");
    c.control(Control::Resume).await.expect("resumed");
    // When the last client of BullMQ 5 is gone, somebody says so.
    assert!(c.leftovers().await.opened_by_5());
    c.ask("HDEL bull:old:meta version");
    c.control(Control::Pause).await.expect("paused");
    assert_eq!(c.ask("HGET bull:old:meta paused"), "1");
}

/// Workers of BullMQ 5 and ours on one queue: each job runs once. Ours hold what they took until the others have done some.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_worked_beside_workers_of_bullmq_5() {
    let c = Case::new().await;
    let queue = Queue::new(&Store::over(c.store.clone(), Clock::system()), "old").expect("a name");
    let (open, gate) = tokio::sync::watch::channel(false);
    let handler = move |_| {
        let mut gate = gate.clone();
        async move { gate.wait_for(|open| *open).await.map(|_| Payload::null()).map_err(Exit::from) }
    };
    let worker = Worker::builder(&queue).concurrency(5).on_rest(handler).build().expect("a worker").start();
    let ids: Vec<String> = (0..300).map(|n| format!("j{n}")).collect();
    c.five("add", json!({ "ids": ids })).await;
    let mut events = queue.events(Position::START);
    while !matches!(events.next().await.expect("events"), Told::Event(_, Event::Active { .. })) {}
    c.five("work", json!({})).await;
    for _ in 0..10 {
        assert_eq!(c.five.news().await["news"], "completed");
    }
    open.send(true).expect("ours listens");
    let mut ended = BTreeMap::new();
    while ended.len() < ids.len() {
        if let Told::Event(_, Event::Completed { id, .. }) = events.next().await.expect("events") {
            *ended.entry(id.to_string()).or_insert(0) += 1;
        }
    }
    c.five("stop", json!({})).await;
    let report = worker.stop().await;
    assert!(ended.values().all(|times| *times == 1), "{ended:?}");
    let counts = c.q.counts().await;
    assert_eq!((counts.completed, counts.total()), (300, 300));
    assert!((1..=290).contains(&report.done), "both worked: {report:?}");
}

/// A repeatable job of BullMQ 5 hides no scheduler, is not taken for one, and stays as it is.
#[tokio::test]
async fn repeatable_jobs_of_bullmq_5_are_left_alone() {
    let c = Case::new().await;
    let queue = Queue::new(&Store::over(c.store.clone(), Clock::system()), "old").expect("a name");
    let key = c.five("repeat", json!({ "name": "r", "repeat": { "every": 3_600_000 }, "data": { "x": 1 } })).await;
    let key = key.as_str().expect("a key").to_owned();
    let ours = Repeat::named("ours", Schedule::Every(Duration::from_secs(3_600)), "text", &1).expect("JSON");
    queue.schedule(ours.clone()).await.expect("scheduled");
    let listed = queue.schedules(None, 10).await.expect("a list");
    assert_eq!(listed.iter().map(|one| &*one.repeat.id).collect::<Vec<_>>(), ["ours"]);
    assert_eq!(c.leftovers().await.repeatables, [Arc::from(&*key)]);
    let before = c.ask(&format!("HGETALL bull:old:repeat:{key}"));
    let again = queue.schedule(Repeat { id: (&*key).into(), ..ours }).await;
    assert!(again.expect_err("refused").to_string().contains("BullMQ 5"));
    // Its job runs like any other one, and a look for schedulers that stand still passes it over.
    let slot: i64 = c.ask(&format!("ZSCORE bull:old:repeat {key}")).trim().parse().expect("milliseconds");
    let late = launchkit_queue::Timestamp::from_millis(slot + 120_000);
    let held = c.q.take(9, late).await;
    assert!(held.iter().any(|held| held.lock.id.as_str() == format!("repeat:{key}:{slot}")), "{held:?}");
    let stuck = Repeats::Stuck { before: late, after: None };
    let stuck = c.store.repeats(&c.q.queue, &stuck, 10).await.expect("a look").found;
    assert!(stuck.iter().all(|one| &*one.repeat.id == "ours"), "{stuck:?}");
    assert_eq!(c.ask(&format!("HGETALL bull:old:repeat:{key}")), before);
    assert_eq!(c.five("repeatables", json!({})).await, json!([key, "ours"]));
}
