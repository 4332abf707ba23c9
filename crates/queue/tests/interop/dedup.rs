//! Each mode of deduplication, between both sides: one side's job owns the id, the other's comes second.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::odd::Odd;

cells!(simple, throttle, extend, debounce, keep_last, reschedule);

fn with(mut options: Value, dedup: Value) -> Value {
    options["deduplication"] = dedup;
    options
}

/// Both sides add a job with these options; the ids that they are answered.
async fn both(c: &Cell, options: &Value) -> [String; 2] {
    let first = c.add(json!({ "value": "first" }), options.clone()).await;
    let second = c.works.add(&c.queue, "job", json!({ "value": "second" }), options.clone()).await;
    [first, second]
}

async fn owner(c: &Cell, id: &str) -> Option<String> {
    c.look.ask(&["GET", &c.look.key(&format!("de:{id}"))]).await
}

async fn left(c: &Cell) -> i64 {
    c.look.ask(&["PTTL", &c.look.key("de:d")]).await
}

const DROPPED: &str = "deduplicated jobId=1 deduplicationId=d deduplicatedJobId=2";

async fn simple(c: &Cell) {
    let options = with(json!({}), json!({ "id": "d" }));
    assert_eq!(both(c, &options).await, ["1", "1"]);
    assert_eq!((owner(c, "d").await.as_deref(), left(c).await), (Some("1"), -1));
    assert_eq!(c.look.events().await[2..], [DROPPED]);
    assert_eq!(c.look.hash("1").await["deid"], "d");
    c.work().await;
    c.look.until("completed", 1).await;
    assert_eq!(owner(c, "d").await, None);
    // Its end has freed the id.
    assert_eq!(c.add(json!({ "value": "third" }), options).await, "3");
    c.look.until("completed", 2).await;
    assert_eq!(c.look.jobs().await, ["1", "3"]);
}

async fn throttle(c: &Cell) {
    let options = with(json!({}), json!({ "id": "d", "ttl": 60_000 }));
    assert_eq!(both(c, &options).await, ["1", "1"]);
    c.work().await;
    c.look.until("completed", 1).await;
    // It lasts beyond the owner's end.
    assert_eq!(c.add(json!({}), options).await, "1");
    assert_eq!(c.look.story("1").await.last().unwrap(), "deduplicated deduplicationId=d deduplicatedJobId=3");
    assert!((1..=60_000).contains(&left(c).await), "{}", left(c).await);
    c.leaves("de:d");
}

async fn extend(c: &Cell) {
    let short = with(json!({}), json!({ "id": "d", "ttl": 20_000, "extend": true }));
    let long = with(json!({}), json!({ "id": "d", "ttl": 90_000, "extend": true }));
    assert_eq!(c.add(json!({}), short).await, "1");
    assert!(left(c).await <= 20_000);
    assert_eq!(c.works.add(&c.queue, "job", json!({}), long).await, "1");
    assert!((20_001..=90_000).contains(&left(c).await), "{}", left(c).await);
    assert_eq!(c.look.events().await[2..], [DROPPED]);
    c.work().await;
    c.look.until("completed", 1).await;
    c.leaves("de:d");
}

async fn debounce(c: &Cell) {
    let dedup = json!({ "id": "d", "ttl": 60_000, "extend": true, "replace": true });
    let options = with(json!({ "delay": 1500 }), dedup);
    assert_eq!(both(c, &options).await, ["1", "2"]);
    let told = c.look.events().await;
    let expected = [
        "added jobId=1 name=job",
        "delayed jobId=1 delay=…",
        "removed jobId=1 prev=delayed",
        "deduplicated jobId=2 deduplicationId=d deduplicatedJobId=1",
        "added jobId=2 name=job",
        "delayed jobId=2 delay=…",
    ];
    assert_eq!(told, expected);
    assert_eq!(owner(c, "d").await.as_deref(), Some("2"));
    c.work().await;
    c.look.until("completed", 1).await;
    assert_eq!(c.agree("2").await["returnvalue"], "second");
    assert_eq!(c.look.jobs().await, ["2"]);
    c.leaves("de:d");
}

async fn keep_last(c: &Cell) {
    let options = with(json!({}), json!({ "id": "d", "keepLastIfActive": true }));
    c.add(json!({ "hang": true, "value": "first" }), options.clone()).await;
    c.work().await;
    c.look.until("active", 1).await;
    for (side, value) in [(&c.works, "second"), (&c.adds, "third")] {
        assert_eq!(side.add(&c.queue, "job", json!({ "value": value }), options.clone()).await, "1");
    }
    assert_eq!(c.look.hash("dn:d").await["jid"], "3");
    c.works.release(&c.queue).await;
    c.look.until("completed", 2).await;
    assert_eq!(c.agree("3").await["returnvalue"], "third");
    assert_eq!(c.look.jobs().await, ["1", "3"]);
    let told = c.look.events().await;
    assert_eq!(told[3..5], [DROPPED, "deduplicated jobId=1 deduplicationId=d deduplicatedJobId=3"]);
    let mut ends = told[5..8].to_vec();
    ends.sort();
    // What was kept is added in the same step in which its owner ends.
    assert_eq!(
        ends,
        ["added jobId=3 name=job", "completed jobId=1 returnvalue=\"first\" prev=active", "waiting jobId=3"]
    );
}

async fn reschedule(c: &Cell) {
    let soon = with(json!({ "delay": 3_600_000 }), json!({ "id": "d" }));
    assert_eq!(c.add(json!({ "value": "first" }), soon).await, "1");
    let now = with(json!({ "delay": 300 }), json!({ "id": "d", "reschedule": true }));
    assert_eq!(c.works.add(&c.queue, "job", json!({ "value": "second" }), now).await, "1");
    let told = c.look.events().await;
    assert_eq!(told[2], DROPPED);
    if Odd::NoReschedule.is(c.works.who) {
        // The owner keeps its time.
        assert_eq!((told.len(), c.look.number("1", "delay").await), (3, 3_600_000));
        c.adds.of_job(&c.queue, "1", "promote", json!([])).await;
    } else {
        assert_eq!((&*told[3], c.look.number("1", "delay").await), ("delayed jobId=1 delay=…", 300));
    }
    c.work().await;
    c.look.until("completed", 1).await;
    assert_eq!(c.agree("1").await["returnvalue"], "first");
}
