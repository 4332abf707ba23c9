//! Schedulers that one side puts in place and both sides work, one after the other.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::side::Side;

cells!(every, pattern, limit, unscheduled);

async fn put(side: &Side, queue: &str, times: Value) {
    let template = json!({ "name": "tick", "data": { "value": "run" }, "opts": { "attempts": 2 } });
    side.call(queue, "upsertJobScheduler", json!(["beat:1", times, template])).await;
}

/// The slots of a scheduler's jobs, by their ids.
fn slots(ids: &[String]) -> Vec<i64> {
    ids.iter().map(|id| id.strip_prefix("repeat:beat:1:").expect("an iteration").parse().expect("a time")).collect()
}

/// The fleet that works changes twice; slots stay whole and none is made twice.
async fn handed_over(c: &Cell, times: Value) -> Vec<i64> {
    put(&c.adds, &c.queue, times).await;
    let shifts = [(&c.works, "first"), (&c.adds, "second"), (&c.works, "third")];
    for (at, (side, name)) in shifts.into_iter().enumerate() {
        side.work(&c.queue, name, json!({})).await;
        c.look.until("completed", at + 1).await;
        side.stop(&c.queue, name).await;
    }
    let ids = c.look.order("completed").await;
    let slots = slots(&ids);
    for (pair, id) in slots.windows(2).zip(&ids) {
        assert!(pair[1] > pair[0] && (pair[1] - pair[0]) % 1_000 == 0, "{slots:?}");
        assert_eq!(c.look.hash(id).await["rjk"], "beat:1");
        let seen = c.agree(id).await;
        assert_eq!((&seen["name"], &seen["returnvalue"]), (&json!("tick"), &json!("run")));
    }
    // The next one waits, exactly one, with the options of the template.
    let next: Vec<String> = c.look.ask(&["ZRANGE", &c.look.key("delayed"), "0", "-1"]).await;
    assert_eq!(next.len(), 1, "{next:?}");
    let opts: Value = serde_json::from_str(&c.look.hash(&next[0]).await["opts"]).unwrap();
    assert_eq!((&opts["attempts"], &opts["repeatJobKey"]), (&json!(2), &json!("beat:1")));
    assert_eq!(opts["repeat"]["count"], ids.len() + 1, "{opts}");
    let record = c.look.hash("repeat:beat:1").await;
    assert_eq!((record["ic"].as_str(), record["name"].as_str()), ((ids.len() + 1).to_string().as_str(), "tick"));
    c.works.call(&c.queue, "removeJobScheduler", json!(["beat:1"])).await;
    assert_eq!(
        c.look
            .ask::<u64>(&["EXISTS", &c.look.key("repeat"), &c.look.key("repeat:beat:1"), &c.look.key(&next[0])])
            .await,
        0
    );
    assert_eq!(c.look.story(&next[0]).await.last().unwrap(), "removed prev=delayed");
    slots
}

async fn every(c: &Cell) {
    let slots = handed_over(c, json!({ "every": 1000 })).await;
    assert!(slots.iter().all(|slot| slot % 1_000 == slots[0] % 1_000), "{slots:?}");
}

async fn pattern(c: &Cell) {
    let slots = handed_over(c, json!({ "pattern": "* * * * * *", "tz": "Europe/Berlin" })).await;
    assert!(slots.iter().all(|slot| slot % 1_000 == 0), "{slots:?}");
}

async fn limit(c: &Cell) {
    put(&c.adds, &c.queue, json!({ "every": 1000, "limit": 2 })).await;
    c.work().await;
    c.look.until("completed", 2).await;
    assert_eq!(c.look.order("added").await.len(), 2);
    // It rests where it is, as BullMQ leaves it.
    assert_eq!(c.look.ask::<u64>(&["EXISTS", &c.look.key("repeat:beat:1")]).await, 1);
    c.adds.call(&c.queue, "removeJobScheduler", json!(["beat:1"])).await;
}

async fn unscheduled(c: &Cell) {
    put(&c.adds, &c.queue, json!({ "every": 3_600_000 })).await;
    c.work().await;
    c.look.until("completed", 1).await;
    c.look.until("delayed", 1).await;
    // Put again with other data, by the other side: the slot stays, the job is made anew.
    let next: Vec<String> = c.look.ask(&["ZRANGE", &c.look.key("delayed"), "0", "-1"]).await;
    let template = json!({ "name": "tick", "data": { "value": "other" }, "opts": {} });
    c.works.call(&c.queue, "upsertJobScheduler", json!(["beat:1", { "every": 3_600_000 }, template])).await;
    let again: Vec<String> = c.look.ask(&["ZRANGE", &c.look.key("delayed"), "0", "-1"]).await;
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again, next);
    let data: Value = serde_json::from_str(&c.look.hash(&again[0]).await["data"]).unwrap();
    assert_eq!(data, json!({ "value": "other" }));
    c.adds.call(&c.queue, "removeJobScheduler", json!(["beat:1"])).await;
    assert_eq!(c.look.ask::<u64>(&["EXISTS", &c.look.key("repeat"), &c.look.key("repeat:beat:1")]).await, 0);
}
