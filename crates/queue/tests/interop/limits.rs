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

/// Starts within any time of this length, by the jobs' own times.
async fn most_within(c: &Cell, jobs: usize, time: i64) -> usize {
    let mut begun = Vec::new();
    for id in 1..=jobs {
        begun.push(c.look.number(&id.to_string(), "processedOn").await);
    }
    begun.iter().map(|from| begun.iter().filter(|at| (*from..from + time).contains(at)).count()).max().unwrap()
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
        c.add(json!({ "slow": 40 }), json!({})).await;
    }
    for name in ["a", "b"] {
        work(c, &c.works, name, json!({ "concurrency": 4 })).await;
    }
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
    // A window begins with its first start and is over 700 ms later, by the server's clock.
    assert_eq!(most_within(c, 5, 600).await, 2);
}

async fn shared_rate(c: &Cell) {
    let limiter = json!({ "concurrency": 3, "limiter": { "max": 2, "duration": 700 } });
    for side in [&c.adds, &c.works] {
        work(c, side, side.who.name(), limiter.clone()).await;
    }
    let job = |n: u32| json!({ "name": "job", "data": { "value": n }, "opts": {} });
    c.adds.bulk(&c.queue, (0..6).map(job).collect()).await;
    c.look.until("completed", 6).await;
    assert_eq!(most_within(c, 6, 600).await, 2);
}

/// The working side has a limit that is far away: BullMQ's workers without any know no hold.
async fn hold(c: &Cell) {
    c.add(json!({}), json!({})).await;
    work(c, &c.works, "w", json!({ "limiter": { "max": 1_000, "duration": 1_000 } })).await;
    c.look.until("completed", 1).await;
    c.adds.call(&c.queue, "rateLimit", json!([1_500])).await;
    let held: i64 = c.look.ask(&["PTTL", &c.look.key("limiter")]).await;
    assert!((1_000..=1_500).contains(&held), "{held}");
    c.add(json!({}), json!({})).await;
    c.look.until("completed", 2).await;
    let told = c.look.told().await;
    let at = |event: &str| told.iter().rfind(|told| told.event == event).unwrap().at();
    // It was added right after the hold had begun.
    assert!(at("active") - at("added") >= held - 300, "{} ms", at("active") - at("added"));
}
