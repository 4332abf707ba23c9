//! Attempts that fail, and workers that vanish.

use serde_json::json;

use crate::cell::Cell;
use crate::odd::Odd;
use crate::side::Side;

cells!(at_once, backoff_fixed, backoff_exponential, exhausted, gave_up, stalled, stalled_too_often);

async fn at_once(c: &Cell) {
    let id = c.add(json!({ "fail": 2, "value": "third" }), json!({ "attempts": 3 })).await;
    c.work().await;
    c.look.until("completed", 1).await;
    let again = ["waiting prev=active", "active prev=waiting"];
    let story = [&["added name=job", "waiting", "active prev=waiting"][..], &again, &again].concat();
    assert_eq!(c.look.story(&id).await, [&story[..], &["completed returnvalue=\"third\" prev=active"]].concat());
    let seen = c.agree(&id).await;
    assert_eq!((&seen["attemptsMade"], &seen["attemptsStarted"]), (&json!(3.0), &json!(3.0)));
    // The reason of an earlier attempt stays readable.
    let reason = (!Odd::SilentRetry.is(c.works.who)).then(|| "boom 2".to_owned());
    assert_eq!(c.look.hash(&id).await.get("failedReason"), reason.as_ref());
}

/// The waits between attempts, as their events tell them.
async fn waits(c: &Cell, options: serde_json::Value, expected: [i64; 2]) {
    let id = c.add(json!({ "fail": 2 }), options).await;
    c.work().await;
    c.look.until("completed", 1).await;
    let again = ["delayed delay=…", "waiting prev=delayed", "active prev=waiting"];
    let story = [&["added name=job", "waiting", "active prev=waiting"][..], &again, &again].concat();
    assert_eq!(c.look.story(&id).await, [&story[..], &["completed returnvalue=null prev=active"]].concat());
    let told = c.look.told().await;
    let of = |event: &'static str| told.iter().filter(move |told| told.event == event);
    for ((active, delayed), wait) in of("active").zip(of("delayed")).zip(expected) {
        let due = delayed.field("delay").unwrap().parse::<i64>().unwrap();
        // Whoever failed it read the clock after the start had been told, and before the delay was.
        let (least, most) = (active.at() + wait - 2, delayed.at() + wait + 2);
        assert!((least..=most).contains(&due), "{due} is not from {least} to {most}");
    }
    assert_eq!(of("delayed").count(), 2);
    c.agree(&id).await;
}

async fn backoff_fixed(c: &Cell) {
    waits(c, json!({ "attempts": 3, "backoff": { "type": "fixed", "delay": 200 } }), [200, 200]).await;
}

async fn backoff_exponential(c: &Cell) {
    waits(c, json!({ "attempts": 3, "backoff": { "type": "exponential", "delay": 200 } }), [200, 400]).await;
}

async fn exhausted(c: &Cell) {
    let id = c.add(json!({ "fail": 9 }), json!({ "attempts": 2 })).await;
    c.work().await;
    c.look.until("drained", 1).await;
    let told = c.look.events().await;
    let failed = "failed jobId=1 failedReason=boom 2 prev=active";
    assert_eq!(told[5..], [failed, "retries-exhausted jobId=1 attemptsMade=2", "drained"]);
    let seen = c.agree(&id).await;
    assert_eq!(seen["failedReason"], "boom 2");
    assert_eq!((&seen["attemptsMade"], c.adds.state(&c.queue, &id).await), (&json!(2.0), "failed".to_owned()));
}

async fn gave_up(c: &Cell) {
    let id = c.add(json!({ "gone": "no such page" }), json!({ "attempts": 5 })).await;
    c.work().await;
    c.look.until("drained", 1).await;
    let story = c.look.story(&id).await;
    // No retries-exhausted: attempts are left. A kind of ours may follow the fields that BullMQ has.
    assert_eq!(story.len(), 4, "{story:#?}");
    let reason = c.look.hash(&id).await["failedReason"].clone();
    assert!(reason.ends_with("no such page"), "{reason}");
    assert!(story[3].starts_with(&format!("failed failedReason={reason} prev=active")), "{story:#?}");
    assert_eq!(c.agree(&id).await["attemptsMade"], 1.0);
}

/// The adding side has a worker, which dies with a job; the other side finds that and goes on.
async fn dies(c: &Cell, max_stalled: u32) -> String {
    let id = c.add(json!({ "hang": true, "value": "saved" }), json!({})).await;
    let mortal = Side::mortal(c.adds.who).await;
    let often = json!({ "stalledInterval": 400, "maxStalledCount": max_stalled });
    mortal.work(&c.queue, "mortal", often.clone()).await;
    c.look.until("active", 1).await;
    mortal.kill(&c.queue).await;
    // No lock runs out under a worker that lives, however slow it is; that of the dead one does now.
    assert_eq!(c.look.ask::<u64>(&["DEL", &c.look.key(&format!("{id}:lock"))]).await, 1);
    c.works.release(&c.queue).await;
    c.works.work(&c.queue, "w", often).await;
    c.look.until("drained", 1).await;
    assert_eq!(c.look.number(&id, "stc").await, 1);
    id
}

async fn stalled(c: &Cell) {
    let id = dies(c, 1).await;
    let story = [
        "added name=job",
        "waiting",
        "active prev=waiting",
        "waiting prev=active",
        "stalled",
        "active prev=waiting",
        "completed returnvalue=\"saved\" prev=active",
    ];
    assert_eq!(c.look.story(&id).await, story);
    let seen = c.agree(&id).await;
    assert_eq!((&seen["attemptsMade"], &seen["attemptsStarted"]), (&json!(1.0), &json!(2.0)));
}

async fn stalled_too_often(c: &Cell) {
    let id = dies(c, 0).await;
    let why = "job stalled more than allowable limit";
    let story = c.look.story(&id).await;
    assert_eq!(story[3..6], ["waiting prev=active", "stalled", "active prev=waiting"], "{story:#?}");
    assert!(story[6].starts_with(&format!("failed failedReason={why} prev=active")), "{story:#?}");
    assert_eq!(c.agree(&id).await["failedReason"], why);
    assert!(!c.look.hash(&id).await.contains_key("defa"));
}
