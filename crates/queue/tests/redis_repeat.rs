//! Job schedulers on Redis as other clients of the same keys see them, and as they leave them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Fate, JobId, JobOptions, Misfire, Repeat, Schedule, State, Tick, Timestamp};
use launchkit_testkit::given::*;
use launchkit_testkit::{Harness, RedisHarness};

struct Case {
    harness: RedisHarness,
    q: Given,
}

impl Case {
    async fn new() -> Self {
        let harness = RedisHarness::fresh().await;
        let q = Given::on(&harness);
        Self { harness, q }
    }

    fn ask(&self, command: &str) -> String {
        self.harness.server().command(&command.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    fn field(&self, key: &str, field: &str) -> String {
        self.ask(&format!("HGET bull:cases:{key} {field}")).trim().to_owned()
    }

    async fn put(&self, repeat: Repeat, first: i64) -> Edited {
        self.q.edit(Edit::Schedule(Put { repeat: Arc::new(repeat), first: at(first) }), T0).await
    }

    async fn advance(&self, id: &str, slot: i64, next: Option<i64>, now: i64) -> Edited {
        let tick = Tick::one(Fate::Run, at(slot), at(now));
        let step = Advance { id: id.into(), slot: at(slot), next: next.map(at), tick, left: None };
        self.q.edit(Edit::Advance(step), at(now)).await
    }

    async fn find(&self, id: &str) -> Scheduled {
        let wanted = Repeats::Ids(vec![id.into()]);
        self.q.backend.repeats(&self.q.queue, &wanted, 1).await.expect("a read").found.pop().expect("a scheduler")
    }

    async fn ticks(&self, id: &str) -> usize {
        self.q.backend.ticks(&self.q.queue, id, 10).await.expect("a read").len()
    }

    /// What another writer's worker does when it has fetched the job of a slot: the next one, with the options it had.
    fn go_on(&self, id: &str, from: i64, to: i64) {
        let (from, to) = (job(id, from), at(to));
        let next = JobId::of_iteration(id, to);
        self.ask(&format!("COPY bull:cases:{from} bull:cases:{next}"));
        self.ask(&format!("HDEL bull:cases:{next} ats processedOn pb"));
        self.ask(&format!("ZADD bull:cases:delayed {} {next}", to.millis() * 4096));
        self.ask(&format!("ZADD bull:cases:repeat {to} {id}"));
        self.ask(&format!("HINCRBY bull:cases:repeat:{id} ic 1"));
    }
}

fn job(id: &str, slot: i64) -> JobId {
    JobId::of_iteration(id, at(slot))
}

fn each_second(id: &str) -> Repeat {
    Repeat::named(id, Schedule::Every(Duration::from_secs(1)), "text", &1).expect("JSON")
}

#[tokio::test]
async fn a_scheduler_lies_where_bullmq_looks_for_it() {
    let c = Case::new().await;
    let options = JobOptions { attempts: 2, ..JobOptions::default() };
    assert_eq!(c.put(Repeat { limit: Some(5), options, ..each_second("a:b") }, 250).await, Edited::Due(at(250)));
    assert_eq!(c.ask("ZSCORE bull:cases:repeat a:b").trim(), "1700000000250");
    for (field, value) in [("every", "1000"), ("offset", "250"), ("limit", "5"), ("ic", "1"), ("data", "1")] {
        assert_eq!(c.field("repeat:a:b", field), value, "{field}");
    }
    let key = "repeat:a:b:1700000000250";
    assert_eq!(
        (c.field(key, "rjk"), c.field(key, "delay"), c.field(key, "name")),
        ("a:b".into(), "250".into(), "text".into())
    );
    let opts: serde_json::Value = serde_json::from_str(&c.field(key, "opts")).unwrap();
    let expected = serde_json::json!({
        "attempts": 2, "delay": 250, "timestamp": T0.millis(), "jobId": key, "repeatJobKey": "a:b",
        "repeat": { "every": 1000, "offset": 250, "limit": 5, "count": 1 },
    });
    assert_eq!(opts, expected);
}

/// One that makes no more stays where BullMQ leaves it, too.
#[tokio::test]
async fn one_that_rests_keeps_its_score() {
    let c = Case::new().await;
    c.put(each_second("r"), 0).await;
    assert_eq!(c.advance("r", 0, None, 5).await, Edited::Done);
    assert_eq!((c.ask("ZSCORE bull:cases:repeat r").trim(), c.find("r").await.slot), ("1700000000000", None));
    c.ask("ZADD bull:cases:repeat 1700000000700 r");
    assert_eq!(c.find("r").await.slot, Some(at(700)));
}

/// Also after another writer's worker has made jobs of it, and however long ago the time is over that the first one had to
/// start in.
#[tokio::test]
async fn others_go_on_from_ours_and_we_from_theirs() {
    let c = Case::new().await;
    let misfire = Misfire::Skip { after: Duration::from_secs(1) };
    c.put(Repeat { misfire, ..each_second("r") }, 0).await;
    c.q.one(T0).await;
    c.go_on("r", 0, 9_000);
    assert_eq!(c.advance("r", 0, Some(9_000), 5).await, Edited::Missing);
    let found = c.find("r").await;
    assert_eq!((found.repeat.misfire, found.slot, found.count), (misfire, Some(at(9_000)), 2));
    let held = c.q.one(at(9_000)).await;
    assert_eq!((held.lock.id.clone(), held.failed_already), (job("r", 9_000), None));
    assert_eq!(c.advance("r", 9_000, Some(10_000), 9_001).await, Edited::Due(at(10_000)));
    assert_eq!(c.q.get(job("r", 10_000).as_str()).await.options.start_before, Some(at(11_000)));
}

#[tokio::test]
async fn a_definition_of_others_takes_the_place_of_ours() {
    let c = Case::new().await;
    c.put(Repeat { limit: Some(2), ..each_second("r") }, 0).await;
    c.ask("DEL bull:cases:repeat:r");
    c.ask("HSET bull:cases:repeat:r name n every 2000 offset 0 limit 9 ic 7");
    let opts = r#"{"repeat":{"every":2000,"limit":9,"count":3},"attempts":4,"backoff":700,"sizeLimit":8}"#;
    c.ask(&format!("HSET bull:cases:{} opts {opts}", job("r", 0)));
    let found = c.find("r").await;
    assert_eq!((&found.repeat.schedule, found.count), (&Schedule::Every(Duration::from_secs(2)), 3));
    c.q.one(T0).await;
    assert_eq!(c.advance("r", 0, Some(2_000), 5).await, Edited::Due(at(2_000)));
    let opts: serde_json::Value = serde_json::from_str(&c.field(job("r", 2_000).as_str(), "opts")).unwrap();
    assert_eq!(opts["repeat"], serde_json::json!({ "every": 2000, "limit": 9, "count": 4 }));
    assert_eq!(opts["backoff"], serde_json::json!({ "type": "fixed", "delay": 700 }));
    assert_eq!((&opts["attempts"], &opts["sizeLimit"]), (&4.into(), &8.into()));
    assert_eq!((c.field("repeat:r", "ic"), c.field("repeat:r", "lk")), ("8".into(), String::new()));
}

#[tokio::test]
async fn what_others_removed_begins_without_ticks() {
    let c = Case::new().await;
    c.put(each_second("r"), 0).await;
    c.advance("r", 0, Some(1_000), 5).await;
    c.ask("ZREM bull:cases:repeat r");
    c.ask("DEL bull:cases:repeat:r");
    assert_eq!((c.ticks("r").await, c.put(each_second("r"), 3_000).await), (1, Edited::Due(at(3_000))));
    assert_eq!(c.ticks("r").await, 0);
}

/// A record that is none, of BullMQ's earlier releases say, hides no other; it can be dropped and is not overwritten.
#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let c = Case::new().await;
    for id in ["a", "b", "d"] {
        c.put(each_second(id), 0).await;
    }
    c.ask("HDEL bull:cases:repeat:b ic");
    let page = c.q.backend.repeats(&c.q.queue, &Repeats::After(None), 9).await.unwrap();
    assert_eq!(page.found.iter().map(|one| &*one.repeat.id).collect::<Vec<_>>(), ["a", "d"]);
    let put = Edit::Schedule(Put { repeat: Arc::new(each_second("b")), first: T0 });
    let edit = EditAll { queue: c.q.queue.clone(), edits: vec![put] };
    assert!(c.q.backend.edit(edit, T0).await.is_err());
    assert_eq!(c.q.edit(Edit::Unschedule("b".into()), T0).await, Edited::Done);
}

/// In the server's order, which is that of bytes; also when the last one of a page has been moved on.
#[tokio::test]
async fn a_page_goes_on_among_equal_slots() {
    let c = Case::new().await;
    let mut ids: Vec<String> = (0..40).map(|n| format!("r{n:02}")).collect();
    ids.extend(["é", "z:1", "Z", "_"].map(str::to_owned));
    for id in &ids {
        c.put(each_second(id), 5).await;
        c.q.edit(Edit::Remove(job(id, 5)), at(1)).await;
    }
    let (mut seen, mut after): (Vec<String>, Option<(Timestamp, Arc<str>)>) = (Vec::new(), None);
    loop {
        let stuck = Repeats::Stuck { before: at(6), after };
        let page = c.q.backend.repeats(&c.q.queue, &stuck, 7).await.unwrap();
        for one in page.found {
            c.advance(&one.repeat.id, 5, Some(9_000), 6).await;
            seen.push(one.repeat.id.to_string());
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids.sort();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn many_hands_on_one_scheduler_double_nothing() {
    let c = Case::new().await;
    let other = Given::over(c.harness.another().await.unwrap(), c.q.queue.clone());
    let mut hands = tokio::task::JoinSet::new();
    for n in 0..10 {
        let q = if n % 2 == 0 { c.q.clone() } else { other.clone() };
        let repeat = Repeat { data: json(&n.to_string()), ..each_second("r") };
        let put = Edit::Schedule(Put { repeat: Arc::new(repeat), first: at(1_000) });
        hands.spawn(async move { q.edit(put, T0).await });
    }
    assert_eq!(hands.join_all().await, [Edited::Due(at(1_000)); 10]);
    assert_eq!(c.q.list(State::Delayed).await, [job("r", 1_000).to_string()]);
    assert_eq!(c.q.get(job("r", 1_000).as_str()).await.data, c.find("r").await.repeat.data);
}
