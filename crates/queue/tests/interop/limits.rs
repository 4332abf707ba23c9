//! Limits that one side sets and the other obeys, and limits that workers of both sides share.

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::odd::Odd;
use crate::side::Side;

cells!(concurrency, rate, shared_rate, hold);

/// How many were active at most, as the events tell it.
async fn most_active(c: &Cell) -> usize {
    let (mut active, mut most) = (0_usize, 0);
    for told in c.look.told().await {
        match &*told.event {
            "active" => active += 1,
            "completed" | "failed" => active -= 1,
            _ => {}
        }
        most = most.max(active);
    }
    most
}

/// Two start in each window, so that of each further two the first starts a window later: by the server's clock, which tells
/// of starts and ends windows. That of the first start may be told while its script is at work.
async fn two_in_each(c: &Cell, jobs: usize, window: i64) {
    let told = c.look.told().await;
    let begun: Vec<i64> = told.iter().filter(|told| told.event == "active").map(|told| told.at()).collect();
    assert_eq!(begun.len(), jobs);
    for (windows, at) in begun.iter().step_by(2).enumerate() {
        let least = windows as i64 * window - 100;
        assert!(at - begun[0] >= least, "{begun:?}");
    }
}

async fn work(c: &Cell, side: &Side, name: &str, mut options: Value) {
    if Odd::WaitsAtLimits.is(side.who) {
        options["drainDelay"] = json!(1);
    }
    side.work(&c.queue, name, options).await;
}

async fn concurrency(c: &Cell) {
    c.adds.call(&c.queue, "setGlobalConcurrency", json!([2])).await;
    assert_eq!(c.look.hash("meta").await["concurrency"], "2");
    for _ in 0..8 {
        c.add(json!({ "hang": true, "slow": 40 }), json!({})).await;
    }
    for name in ["a", "b"] {
        work(c, &c.works, name, json!({ "concurrency": 4 })).await;
    }
    c.look.until("active", 2).await;
    c.works.release(&c.queue).await;
    c.look.until("completed", 8).await;
    assert_eq!(most_active(c).await, 2);
}

async fn rate(c: &Cell) {
    c.adds.call(&c.queue, "setGlobalRateLimit", json!([2, 700])).await;
    let meta = c.look.hash("meta").await;
    assert_eq!((meta["max"].as_str(), meta["duration"].as_str()), ("2", "700"));
    for _ in 0..5 {
        c.add(json!({}), json!({})).await;
    }
    work(c, &c.works, "w", json!({ "concurrency": 4 })).await;
    c.look.until("completed", 5).await;
    two_in_each(c, 5, 700).await;
}

async fn shared_rate(c: &Cell) {
    let limiter = json!({ "concurrency": 3, "limiter": { "max": 2, "duration": 700 } });
    for side in [&c.adds, &c.works] {
        work(c, side, side.who.name(), limiter.clone()).await;
    }
    let job = |n: u32| json!({ "name": "job", "data": { "value": n }, "opts": {} });
    c.adds.bulk(&c.queue, (0..6).map(job).collect()).await;
    c.look.until("completed", 6).await;
    two_in_each(c, 6, 700).await;
}

/// The working side has a limit that is far away: BullMQ's workers without any know no hold.
async fn hold(c: &Cell) {
    c.add(json!({}), json!({})).await;
    work(c, &c.works, "w", json!({ "limiter": { "max": 1_000, "duration": 1_000 } })).await;
    c.look.until("completed", 1).await;
    let before = c.look.clock().await;
    c.adds.call(&c.queue, "rateLimit", json!([1_500])).await;
    let held: i64 = c.look.ask(&["PTTL", &c.look.key("limiter")]).await;
    assert!(held <= 1_500, "{held}");
    c.add(json!({}), json!({})).await;
    c.look.until("completed", 2).await;
    let begun = c.look.told().await.iter().rfind(|told| told.event == "active").unwrap().at();
    // The hold began after that, and lasts to the millisecond or one less.
    assert!(begun - before >= 1_498, "{} ms", begun - before);
}
