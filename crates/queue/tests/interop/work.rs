//! What happens around the runs: pause, progress, logs, retention, and hands that reach in.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::side::until;

cells!(pause, progress, logs, keep_none, keep_count, keep_age, retry_by_hand, promote, remove, drain);

async fn pause(c: &Cell) {
    c.add(json!({}), json!({})).await;
    c.work().await;
    c.look.until("completed", 1).await;
    c.adds.call(&c.queue, "pause", json!([])).await;
    c.add(json!({}), json!({})).await;
    c.add(json!({}), json!({ "priority": 3 })).await;
    assert_eq!(c.works.state(&c.queue, "2").await, "waiting");
    c.works.call(&c.queue, "resume", json!([])).await;
    c.look.until("completed", 3).await;
    let told = c.look.events().await;
    let from = told.iter().position(|told| told == "paused").expect("it was told");
    let expected = [
        "paused",
        "added jobId=2 name=job",
        "waiting jobId=2",
        "added jobId=3 name=job",
        "waiting jobId=3",
        "resumed",
        "active jobId=2 prev=waiting",
    ];
    assert_eq!(told[from..from + 7], expected);
}

async fn progress(c: &Cell) {
    let id = c.add(json!({ "progress": [{ "done": 42 }], "hang": true }), json!({})).await;
    c.work().await;
    c.look.until("progress", 1).await;
    assert_eq!(c.adds.get(&c.queue, &id).await["progress"], json!({ "done": 42 }));
    c.works.release(&c.queue).await;
    c.look.until("completed", 1).await;
    let story = c.look.story(&id).await;
    assert_eq!(story[3], "progress data={\"done\":42}".to_owned());
    assert!(story[4].starts_with("completed "), "{story:#?}");
    assert_eq!(c.agree(&id).await["progress"], json!({ "done": 42 }));
}

async fn logs(c: &Cell) {
    let lines = ["one", "zwei ☃", "three\nfour"];
    let id = c.add(json!({ "lines": lines, "hang": true }), json!({})).await;
    c.work().await;
    c.look.until("active", 1).await;
    // No event tells of a line.
    until("three lines", async || c.adds.logs(&c.queue, &id).await.len() == 3).await;
    assert_eq!(
        (c.adds.logs(&c.queue, &id).await, c.works.logs(&c.queue, &id).await),
        (lines.map(String::from).to_vec(), lines.map(String::from).to_vec())
    );
    c.works.release(&c.queue).await;
    c.look.until("completed", 1).await;
    assert_eq!(c.look.ask::<Vec<String>>(&["LRANGE", &c.look.key(&format!("{id}:logs")), "0", "-1"]).await, lines);
}

async fn keep_none(c: &Cell) {
    c.add(json!({ "value": 1, "lines": ["a"] }), json!({ "removeOnComplete": true })).await;
    c.add(json!({ "fail": 1 }), json!({ "removeOnFail": true })).await;
    c.work().await;
    c.look.until("completed", 1).await;
    c.look.until("failed", 1).await;
    assert_eq!(c.look.jobs().await, Vec::<String>::new());
    assert_eq!(c.look.story("1").await.last().unwrap(), "completed returnvalue=1 prev=active");
    assert_eq!(c.look.ask::<u64>(&["EXISTS", &c.look.key("1"), &c.look.key("1:logs"), &c.look.key("2")]).await, 0);
}

async fn keep_count(c: &Cell) {
    for _ in 0..5 {
        c.add(json!({}), json!({ "removeOnComplete": { "count": 2 } })).await;
    }
    c.work().await;
    c.look.until("completed", 5).await;
    assert_eq!(c.look.jobs().await, ["4", "5"]);
    assert_eq!(c.look.ask::<u64>(&["EXISTS", &c.look.key("3")]).await, 0);
}

async fn keep_age(c: &Cell) {
    let rule = json!({ "age": 1 });
    c.add(json!({}), json!({ "removeOnComplete": rule })).await;
    c.work().await;
    c.look.until("completed", 1).await;
    // It is due when the first has been there for longer than that.
    c.add(json!({}), json!({ "removeOnComplete": rule, "delay": 2500 })).await;
    assert_eq!(c.look.ask::<Vec<String>>(&["ZRANGE", &c.look.key("completed"), "0", "-1"]).await, ["1"]);
    c.look.until("completed", 2).await;
    assert_eq!(c.look.jobs().await, ["2"]);
}

async fn retry_by_hand(c: &Cell) {
    let id = c.add(json!({ "fail": 1, "value": "now" }), json!({ "priority": 4 })).await;
    c.work().await;
    c.look.until("failed", 1).await;
    c.adds.of_job(&c.queue, &id, "retry", json!(["failed"])).await;
    c.look.until("completed", 1).await;
    c.look.soon(&id).await;
    let story = c.look.story(&id).await;
    assert_eq!(story[5..], ["waiting prev=failed", "active prev=waiting", "completed returnvalue=\"now\" prev=active"]);
    let seen = c.agree(&id).await;
    assert_eq!((&seen["attemptsMade"], &seen["priority"]), (&json!(2.0), &json!(4.0)));
}

async fn promote(c: &Cell) {
    let id = c.works.add(&c.queue, "job", json!({ "value": "old" }), json!({ "delay": 3_600_000 })).await;
    c.adds.of_job(&c.queue, &id, "updateData", json!([{ "value": "new" }])).await;
    c.adds.of_job(&c.queue, &id, "promote", json!([])).await;
    c.work().await;
    c.look.until("completed", 1).await;
    let story = [
        "added name=job",
        "delayed delay=…",
        "waiting prev=delayed",
        "active prev=waiting",
        "completed returnvalue=\"new\" prev=active",
    ];
    assert_eq!(c.look.story(&id).await, story);
    assert_eq!(c.agree(&id).await["data"], json!({ "value": "new" }));
}

async fn remove(c: &Cell) {
    let options = [json!({}), json!({ "delay": 3_600_000 }), json!({ "priority": 2 })];
    for options in options {
        let id = c.add(json!({ "value": Value::Null }), options).await;
        c.works.call(&c.queue, "remove", json!([id])).await;
    }
    let removed: Vec<String> = c.look.events().await.into_iter().filter(|told| told.starts_with("removed")).collect();
    assert_eq!(
        removed,
        ["removed jobId=1 prev=wait", "removed jobId=2 prev=delayed", "removed jobId=3 prev=prioritized"]
    );
}

async fn drain(c: &Cell) {
    for options in [json!({}), json!({}), json!({ "priority": 3 }), json!({ "delay": 3_600_000 })] {
        c.add(json!({}), options).await;
    }
    c.works.call(&c.queue, "drain", json!([false])).await;
    assert_eq!(c.look.ask::<u64>(&["EXISTS", &c.look.key("1"), &c.look.key("2"), &c.look.key("3")]).await, 0);
    assert_eq!(c.look.jobs().await, ["4"]);
    assert_eq!(c.look.events().await.len(), 8, "draining is silent");
    c.adds.of_job(&c.queue, "4", "promote", json!([])).await;
    c.work().await;
    c.look.until("completed", 1).await;
    c.agree("4").await;
}
