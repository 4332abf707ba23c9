//! What can be done with a whole queue.

use std::num::NonZeroU32;
use std::time::Duration;

use launchkit_queue::{Queue, Rate, Why};
use serde_json::json;

use crate::{Board, failure, id, result, worker};

#[tokio::test]
async fn a_click_on_a_queue_changes_its_keys_and_our_worker_follows() {
    let board = Board::over(&["orders", "ledger"]).await;
    let orders = board.queue("orders");
    let worker = worker(&orders);
    pause_and_resume(&board, &orders).await;
    retry_all(&board, &orders).await;
    promote_all(&board, &orders).await;
    clean(&board).await;
    concurrency(&board, &orders).await;
    rate_limit(&board, &orders).await;
    empty(&board, &orders).await;
    obliterate(&board, &orders).await;
    worker.stop().await;
    board.close().await;
}

async fn info(board: &Board, has: &[&str]) {
    board.look(json!({ "at": "/queue/orders", "press": [{ "button": "Queue info" }], "has": has })).await;
}

async fn pause_and_resume(board: &Board, orders: &Queue) {
    let asked = board.click("/queue/orders", json!({ "menu": "Pause" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/pause");
    assert_eq!(board.ask("HGET bull:orders:meta paused"), "1");
    orders.add_named("pays", json!(1)).id("first").await.expect("added");
    let why = orders.explain(&id("first")).await.expect("explained").reasons;
    assert_eq!(why[0].code, Why::QueuePaused);
    board.see("/queue/orders", &["first pays", "link \"WAITING 1\""]).await;
    info(board, &["definition: Paused"]).await;
    let press = json!([{ "button": "Queue info" }, { "button": "Connected workers" }]);
    board.look(json!({ "at": "/queue/orders", "press": press, "has": ["clerk"] })).await;
    assert_eq!(board.ids("bull:orders:wait"), ["first"]);
    assert_eq!(board.ask("HGET bull:orders:first ats"), "", "nobody has started it");
    board.click("/queue/orders", json!({ "menu": "Resume" })).await;
    assert_eq!(board.ask("HEXISTS bull:orders:meta paused"), "0");
    assert_eq!(result(orders, "first").await, json!(1));
}

async fn retry_all(board: &Board, orders: &Queue) {
    for (job, priority) in [("f1", 0), ("f2", 5)] {
        orders.add_named("fails at first", json!(job)).id(job).priority(priority).await.expect("added");
        assert_eq!(failure(orders, job).await, "the till is empty");
    }
    board.see("/queue/orders?status=failed", &["f1 fails at first", "f2 fails at first", "link \"FAILED 2\""]).await;
    let asked = board.click("/queue/orders?status=failed", json!({ "button": "Retry all" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/retry/failed");
    assert_eq!(result(orders, "f1").await, json!("f1"));
    assert_eq!(result(orders, "f2").await, json!("f2"));
    assert_eq!(board.ids("bull:orders:failed"), [] as [&str; 0]);
}

async fn promote_all(board: &Board, orders: &Queue) {
    for (job, hours) in [("d1", 1), ("d2", 2)] {
        let delay = Duration::from_secs(3600 * hours);
        orders.add_named("pays", json!(job)).id(job).delay(delay).await.expect("added");
    }
    board.click("/queue/orders?status=delayed", json!({ "button": "Promote all" })).await;
    assert_eq!(result(orders, "d1").await, json!("d1"));
    assert_eq!(result(orders, "d2").await, json!("d2"));
    assert_eq!(board.ids("bull:orders:delayed"), [] as [&str; 0]);
}

/// The board leaves alone what ended within the last few seconds, so these jobs ended a minute ago.
async fn clean(board: &Board) {
    let ledger = board.a_minute_ago("ledger");
    ledger.add_named("pays", json!(1)).id("paid").await.expect("added");
    ledger.add_named("pays", json!(2)).id("paid-too").await.expect("added");
    ledger.add_named("fails at first", json!(3)).id("unpaid").await.expect("added");
    let worker = worker(&ledger);
    failure(&ledger, "unpaid").await;
    worker.stop().await;
    assert_eq!(board.ids("bull:ledger:completed"), ["paid", "paid-too"]);
    let asked = board.click("/queue/ledger?status=completed", json!({ "button": "Clean all" })).await;
    assert_eq!(asked, "PUT /api/queues/ledger/clean/completed");
    assert_eq!(board.ask("EXISTS bull:ledger:completed bull:ledger:paid bull:ledger:paid-too"), "0");
    assert_eq!(board.ids("bull:ledger:failed"), ["unpaid"]);
    board.click("/queue/ledger?status=failed", json!({ "button": "Clean all" })).await;
    assert_eq!(board.ask("EXISTS bull:ledger:failed bull:ledger:unpaid"), "0");
    assert_eq!(ledger.counts().await.expect("counts").total(), 0);
}

async fn concurrency(board: &Board, orders: &Queue) {
    let press = json!({ "menu": "Set concurrency" });
    board.fill("/queue/orders", press.clone(), json!({ "Concurrency": "1" }), "Save").await;
    assert_eq!(board.ask("HGET bull:orders:meta concurrency"), "1");
    assert_eq!(orders.info().await.expect("info").limits.concurrency, NonZeroU32::new(1));
    let second = worker(orders);
    orders.add_named("holds", json!(null)).id("held").await.expect("added");
    board.see("/queue/orders?status=active", &["held holds"]).await;
    orders.add_named("pays", json!(1)).id("beside").await.expect("added");
    let why = orders.explain(&id("beside")).await.expect("explained").reasons;
    assert_eq!(why[0].code, Why::ConcurrencyLimit);
    board.see("/queue/orders?status=waiting", &["beside pays", "link \"ACTIVE 1\""]).await;
    board.fill("/queue/orders", press, json!({ "Concurrency": "0" }), "Save").await;
    assert_eq!(board.ask("HEXISTS bull:orders:meta concurrency"), "0");
    assert_eq!(result(orders, "beside").await, json!(1));
    orders.cancel(&id("held")).await.expect("it runs");
    failure(orders, "held").await;
    second.stop().await;
}

async fn rate_limit(board: &Board, orders: &Queue) {
    let press = json!({ "menu": "Set rate limit" });
    let form = json!({ "Max jobs": "1", "Duration (ms)": "3600000" });
    board.fill("/queue/orders", press.clone(), form, "Save").await;
    assert_eq!(board.ask("HMGET bull:orders:meta max duration"), "1\n3600000");
    let rate = Rate { max: NonZeroU32::MIN, per: Duration::from_secs(3600) };
    assert_eq!(orders.info().await.expect("info").limits.rate, Some(rate));
    orders.add_named("pays", json!(1)).id("r1").await.expect("added");
    assert_eq!(result(orders, "r1").await, json!(1));
    orders.add_named("pays", json!(2)).id("r2").await.expect("added");
    let why = orders.explain(&id("r2")).await.expect("explained").reasons;
    assert_eq!(why[0].code, Why::RateLimited);
    info(board, &["1 / 3600000 ms"]).await;
    // The badge tells how many seconds are left, and ends the window.
    let asked = board.click("/queue/orders", json!({ "badge": "rate limited 3" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/rate-limit/release");
    assert_eq!(result(orders, "r2").await, json!(2));
    orders.add_named("pays", json!(3)).id("r3").await.expect("added");
    board.fill("/queue/orders", press, json!({ "Max jobs": "", "Duration (ms)": "" }), "Save").await;
    assert_eq!(board.ask("HEXISTS bull:orders:meta max"), "0");
    assert_eq!(result(orders, "r3").await, json!(3));
}

async fn empty(board: &Board, orders: &Queue) {
    orders.admin().pause().await.expect("paused");
    orders.add_named("pays", json!(1)).id("w1").await.expect("added");
    orders.add_named("pays", json!(1)).id("w2").priority(9).await.expect("added");
    orders.add_named("pays", json!(1)).id("w3").delay(Duration::from_secs(60)).await.expect("added");
    let asked = board.click("/queue/orders", json!({ "menu": "Empty" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/empty");
    assert_eq!(board.ask("EXISTS bull:orders:w1 bull:orders:w2 bull:orders:wait bull:orders:prioritized"), "0");
    assert_eq!(board.ids("bull:orders:delayed"), ["w3"]);
}

async fn obliterate(board: &Board, orders: &Queue) {
    board.click("/queue/orders", json!({ "menu": "Obliterate" })).await;
    // The running window of a rate that there was is all that it leaves.
    assert_eq!(board.ask("KEYS bull:orders:*").replace("bull:orders:limiter", ""), "");
    orders.add_named("pays", json!("anew")).id("anew").await.expect("added");
    assert_eq!(result(orders, "anew").await, json!("anew"));
    board.see("/queue/orders?status=completed", &["anew pays"]).await;
}
