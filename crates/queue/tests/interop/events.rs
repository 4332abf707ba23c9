//! What QueueEvents of both sides tell of a queue that both sides use, against the log itself.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::look::Told;
use crate::odd::Odd;
use crate::side::Who;

cells!(life, hands);

/// An event of the log as a reader tells it: typed fields are typed.
fn expected(told: &Told) -> (String, Value) {
    let field = |(name, value): &(String, String)| {
        let typed = match (&*told.event, &**name) {
            ("completed", "returnvalue") | ("progress", "data") => serde_json::from_str(value).expect("JSON"),
            ("delayed", "delay") => json!(value.parse::<i64>().expect("a time")),
            _ => json!(value),
        };
        (name.clone(), typed)
    };
    (told.event.clone(), Value::Object(told.fields.iter().map(field).collect()))
}

/// What differs in form alone: a null result is none, a number is its text, fields of ours are ours.
fn plain(who: Who, (name, fields): (String, Value)) -> (String, Value) {
    let Value::Object(mut fields) = fields else { panic!("{name}: {fields}") };
    fields.retain(|field, value| !field.starts_with("lk:") && !value.is_null());
    for (field, value) in &mut fields {
        match (&**field, &value) {
            // The crate hands a result on as it stands in the log.
            ("returnvalue", Value::String(text)) if who == Who::Official => {
                *value = serde_json::from_str(text).unwrap_or(Value::Null)
            }
            ("attemptsMade" | "count" | "delay", Value::Number(number)) => *value = json!(number.to_string()),
            ("data", Value::Number(number)) => *value = json!(number.as_f64()),
            _ => {}
        }
    }
    fields.retain(|_, value| !value.is_null());
    if Odd::NoPrevOfEnds.is(who) && matches!(&*name, "completed" | "failed") {
        fields.remove("prev");
    }
    (name, Value::Object(fields))
}

/// Both sides hear the same, which is what the log says.
async fn compare(c: &Cell, last: &str, count: usize) {
    let log: Vec<_> = c.look.told().await.iter().map(expected).collect();
    for side in [&c.adds, &c.works] {
        let heard = side.heard(&c.queue, last, count).await;
        let heard: Vec<_> = heard.into_iter().map(|event| plain(side.who, event)).collect();
        let log: Vec<_> =
            log.iter().map(|event| plain(Who::Node, event.clone())).map(|event| plain(side.who, event)).collect();
        assert_eq!(heard, log[..heard.len()], "as {} hears it", side.who.name());
        assert!(heard.iter().filter(|(name, _)| name == last).count() == count, "{heard:#?}");
    }
}

async fn life(c: &Cell) {
    for side in [&c.adds, &c.works] {
        side.listen(&c.queue).await;
    }
    c.add(json!({ "progress": [7], "value": { "a": [1] } }), json!({})).await;
    c.add(json!({ "fail": 1 }), json!({ "attempts": 2, "backoff": { "type": "fixed", "delay": 100 } })).await;
    c.add(json!({ "fail": 5 }), json!({ "attempts": 2, "priority": 3 })).await;
    c.add(json!({ "gone": "no" }), json!({ "delay": 400 })).await;
    c.work().await;
    c.look.until("failed", 2).await;
    c.look.until("completed", 2).await;
    compare(c, "failed", 2).await;
}

async fn hands(c: &Cell) {
    for side in [&c.adds, &c.works] {
        side.listen(&c.queue).await;
    }
    let dedup = json!({ "deduplication": { "id": "d" }, "jobId": "own" });
    for side in [&c.adds, &c.works] {
        side.add(&c.queue, "job", json!({}), dedup.clone()).await;
        side.add(&c.queue, "job", json!({}), json!({ "deduplication": { "id": "d" } })).await;
    }
    c.adds.call(&c.queue, "pause", json!([])).await;
    c.works.call(&c.queue, "resume", json!([])).await;
    let id = c.add(json!({}), json!({ "delay": 3_600_000 })).await;
    c.works.call(&c.queue, "remove", json!([id])).await;
    c.work().await;
    c.look.until("drained", 1).await;
    compare(c, "drained", 1).await;
}
