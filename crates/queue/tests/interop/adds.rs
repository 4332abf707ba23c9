//! Jobs of every kind that one side adds and the other works.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::odd::Odd;

cells!(plain, wakes, bulk, priority, delay, lifo, custom_id, duplicate_id, unicode, megabyte);

async fn plain(c: &Cell) {
    let id = c.add(json!({ "value": { "n": 1, "list": [true, null, 2.5] } }), json!({ "attempts": 3 })).await;
    assert_eq!((&*id, c.look.hash("meta").await["opts.maxLenEvents"].as_str()), ("1", "10000"));
    c.work().await;
    c.look.until("drained", 1).await;
    let told = c.look.events().await;
    let [added, waiting, active, completed, drained] = &told[..] else { panic!("{told:#?}") };
    let first = ["added jobId=1 name=job", "waiting jobId=1", "active jobId=1 prev=waiting"];
    assert_eq!([added, waiting, active], first);
    assert!(
        completed.starts_with("completed jobId=1 returnvalue={") && completed.ends_with(" prev=active"),
        "{completed}"
    );
    assert_eq!(drained, "drained");
    let seen = c.agree(&id).await;
    assert_eq!(seen["returnvalue"], json!({ "n": 1, "list": [true, null, 2.5] }));
    assert_eq!((&seen["attemptsMade"], &seen["attemptsStarted"]), (&json!(1.0), &json!(1.0)));
    let hash = c.look.hash(&id).await;
    let worker = (!Odd::NoWorkerName.is(c.works.who)).then(|| format!("{}-w", c.queue));
    assert_eq!(hash.get("pb"), worker.as_ref());
    assert_eq!(serde_json::from_str::<Value>(&hash["opts"]).unwrap()["attempts"], 3);
    assert!(hash["timestamp"] <= hash["processedOn"] && hash["processedOn"] <= hash["finishedOn"], "{hash:?}");
}

async fn wakes(c: &Cell) {
    c.work().await;
    let first = c.add(json!({}), json!({})).await;
    c.look.until("completed", 1).await;
    assert_eq!(first, "1");
    for (n, options) in [json!({}), json!({ "priority": 9 }), json!({ "lifo": true })].into_iter().enumerate() {
        let id = c.add(json!({}), options).await;
        c.look.until("completed", n + 2).await;
        c.look.soon(&id).await;
    }
}

async fn bulk(c: &Cell) {
    let job = |n: u32| json!({ "name": "job", "data": { "value": n }, "opts": {} });
    let ids = c.adds.bulk(&c.queue, (1..=50).map(job).collect()).await;
    c.work().await;
    c.look.until("completed", 50).await;
    let counted: Vec<String> = (1..=50).map(|n| n.to_string()).collect();
    if c.adds.who == crate::side::Who::Official {
        // The crate adds them all at once (wire facts 13.1): ids come in any order, each once.
        let mut sorted = ids.clone();
        sorted.sort_by_key(|id| id.parse::<u32>().unwrap());
        assert_eq!(sorted, counted);
    } else {
        assert_eq!(ids, counted);
    }
    for event in ["added", "active", "completed"] {
        assert_eq!(c.look.order(event).await, counted, "{event}: first in, first out");
    }
    assert_eq!(c.agree("50").await["attemptsMade"], 1.0);
}

async fn priority(c: &Cell) {
    for (n, priority) in [5, 1, 3, 0, 1, 2_097_151].into_iter().enumerate() {
        c.add(json!({ "value": n }), json!({ "priority": priority })).await;
    }
    assert_eq!(c.look.ask::<u64>(&["ZCARD", &c.look.key("prioritized")]).await, 5);
    c.work().await;
    c.look.until("completed", 6).await;
    assert_eq!(c.look.order("active").await, ["4", "2", "5", "3", "1", "6"]);
    assert_eq!(c.look.story("2").await[..3], ["added name=job", "waiting", "active prev=waiting"]);
    assert_eq!(c.agree("3").await["priority"], 3.0);
}

async fn delay(c: &Cell) {
    for wait in [1_500, 200] {
        c.add(json!({}), json!({ "delay": wait })).await;
    }
    assert_eq!(c.adds.state(&c.queue, "1").await, "delayed");
    c.work().await;
    c.look.until("completed", 2).await;
    let mut dues = Vec::new();
    let story = ["added name=job", "delayed delay=…", "waiting prev=delayed", "active prev=waiting"];
    for (id, wait) in [("1", 1_500), ("2", 200)] {
        let told = c.look.told().await;
        let due: i64 = told
            .iter()
            .find(|told| told.event == "delayed" && told.field("jobId") == Some(id))
            .unwrap()
            .field("delay")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(due, c.look.number(id, "timestamp").await + wait);
        let begun = c.look.number(id, "processedOn").await;
        assert!(begun >= due, "{id} was due at {due} and began at {begun}");
        dues.push((due, id));
        assert_eq!(c.look.story(id).await[..4], story);
        assert_eq!(c.look.number(id, "delay").await, 0);
    }
    // The second, unless it was added more than a second later.
    dues.sort();
    assert_eq!(c.look.order("active").await, [dues[0].1, dues[1].1]);
}

async fn lifo(c: &Cell) {
    for lifo in [false, false, true, true] {
        c.add(json!({}), if lifo { json!({ "lifo": true }) } else { json!({}) }).await;
    }
    c.work().await;
    c.look.until("completed", 4).await;
    assert_eq!(c.look.order("active").await, ["4", "3", "1", "2"]);
}

async fn custom_id(c: &Cell) {
    let id = c.add(json!({ "value": 1 }), json!({ "jobId": "order-7" })).await;
    assert_eq!((&*id, c.look.ask::<String>(&["GET", &c.look.key("id")]).await), ("order-7", "1".to_owned()));
    c.work().await;
    c.look.until("completed", 1).await;
    let story = ["added name=job", "waiting", "active prev=waiting", "completed returnvalue=1 prev=active"];
    assert_eq!(c.look.story("order-7").await, story);
    c.agree("order-7").await;
}

async fn duplicate_id(c: &Cell) {
    let same = json!({ "jobId": "same" });
    c.add(json!({ "value": "first" }), same.clone()).await;
    assert_eq!(c.works.add(&c.queue, "other", json!({ "value": "second" }), same.clone()).await, "same");
    c.work().await;
    c.look.until("completed", 1).await;
    assert_eq!(c.add(json!({ "value": "third" }), same).await, "same");
    let story = [
        "added name=job",
        "waiting",
        "duplicated",
        "active prev=waiting",
        "completed returnvalue=\"first\" prev=active",
        "duplicated",
    ];
    assert_eq!(c.look.story("same").await, story);
    assert_eq!(c.look.jobs().await, ["same"]);
}

const UNICODE: &str = "naïve ☃ 名前 🦀 \u{202e}abc \"quoted\\\" \u{1}";

async fn unicode(c: &Cell) {
    let (name, id) = ("größe-☃", "ключ-🦀");
    let id = c.adds.add(&c.queue, name, json!({ "value": UNICODE }), json!({ "jobId": id })).await;
    let bad = c.add(json!({ "gone": UNICODE }), json!({})).await;
    c.work().await;
    c.look.until("completed", 1).await;
    c.look.until("failed", 1).await;
    let seen = c.agree(&id).await;
    assert_eq!((&seen["name"], &seen["returnvalue"]), (&json!(name), &json!(UNICODE)));
    assert_eq!(c.look.story(&id).await[0], format!("added name={name}"));
    let reason = c.look.hash(&bad).await["failedReason"].clone();
    assert_eq!(c.agree(&bad).await["failedReason"], json!(reason));
    assert_eq!(reason, UNICODE);
}

async fn megabyte(c: &Cell) {
    let text: String = "0123456789abcdeé".chars().cycle().take(1_000_000).collect();
    let id = c.add(json!({ "value": text }), json!({})).await;
    c.work().await;
    c.look.until("completed", 1).await;
    let seen = c.agree(&id).await;
    assert_eq!(seen["returnvalue"].as_str().map(str::len), Some(text.len()));
    assert_eq!(seen["data"]["value"], json!(text));
    let told = c.look.told().await;
    let completed = told.iter().find(|told| told.event == "completed").unwrap().field("returnvalue").unwrap();
    assert_eq!(serde_json::from_str::<Value>(completed).unwrap(), json!(text));
}
