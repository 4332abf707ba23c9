//! What can be done with one job.

use std::time::Duration;

use launchkit_queue::{State, Timestamp};
use serde_json::json;

use crate::{Board, failure, id, result, worker};

#[tokio::test]
async fn a_click_on_a_job_changes_its_keys_and_our_worker_runs_it() {
    let board = Board::over(&["orders"]).await;
    let orders = board.queue("orders");
    fill(&board).await;

    retry(&board).await;
    promote_and_reschedule(&board).await;
    edit(&board).await;
    let copy = duplicate(&board).await;
    let (plain, prioritized) = add(&board).await;
    remove(&board).await;

    let worker = worker(&orders);
    assert_eq!(result(&orders, "unpaid").await, json!({ "unpaid": true }));
    assert_eq!(result(&orders, "unpaid-urgent").await, json!(2));
    assert_eq!(result(&orders, "paid").await, json!({ "sum": 7 }));
    assert_eq!(result(&orders, "later").await, json!("later"));
    assert_eq!(result(&orders, "moved").await, json!("moved"));
    assert_eq!(result(&orders, "edited").await, json!({ "sum": [8, "nine"] }));
    assert_eq!(result(&orders, &copy).await, json!({ "sum": 9 }));
    assert_eq!(result(&orders, &plain).await, json!({ "by": "hand" }));
    assert_eq!(result(&orders, &prioritized).await, json!({}));
    let counts = orders.counts().await.expect("counts");
    assert_eq!((counts.completed, counts.total()), (9, 9), "{counts:?}");
    worker.stop().await;
    board.close().await;
}

async fn fill(board: &Board) {
    let orders = board.queue("orders");
    let first = worker(&orders);
    orders.add_named("fails at first", json!({ "unpaid": true })).id("unpaid").await.expect("added");
    orders.add_named("fails at first", json!(2)).id("unpaid-urgent").priority(2).await.expect("added");
    orders.add_named("pays", json!({ "sum": 7 })).id("paid").await.expect("added");
    failure(&orders, "unpaid").await;
    failure(&orders, "unpaid-urgent").await;
    result(&orders, "paid").await;
    first.stop().await;
    let hour = Duration::from_secs(3600);
    orders.add_named("pays", json!("later")).id("later").delay(hour).await.expect("added");
    orders.add_named("pays", json!("moved")).id("moved").delay(hour).await.expect("added");
    orders.add_named("pays", json!({ "sum": 8 })).id("edited").await.expect("added");
    orders.add_named("pays", json!(0)).id("unwanted").await.expect("added");
    orders.add_named("pays", json!(0)).id("unwanted-later").delay(hour).await.expect("added");
}

async fn retry(board: &Board) {
    assert_eq!(board.ids("bull:orders:failed"), ["unpaid", "unpaid-urgent"]);
    let asked = board.click("/queue/orders/unpaid", json!({ "icon": "Retry" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/unpaid/retry");
    board.click("/queue/orders/unpaid-urgent", json!({ "icon": "Retry" })).await;
    board.click("/queue/orders/paid", json!({ "icon": "Retry" })).await;
    assert_eq!(board.ids("bull:orders:failed"), [] as [&str; 0]);
    assert_eq!(board.ids("bull:orders:completed"), [] as [&str; 0]);
    assert_eq!(board.ids("bull:orders:wait"), ["paid", "unpaid", "unwanted", "edited"]);
    assert_eq!(board.ids("bull:orders:prioritized"), ["unpaid-urgent"]);
    assert_eq!(board.ask("HGET bull:orders:unpaid failedReason"), "");
    board.see("/queue/orders?status=waiting", &["unpaid fails at first", "link \"WAITING 4\""]).await;
    let record = board.queue("orders").get(&id("unpaid")).await.expect("read").expect("there");
    assert_eq!((record.state, record.failure, record.finished_on), (State::Waiting, None, None));
}

async fn promote_and_reschedule(board: &Board) {
    board.click("/queue/orders/later", json!({ "icon": "Promote" })).await;
    assert_eq!(board.ids("bull:orders:wait").first().map(String::as_str), Some("later"));
    assert_eq!(board.ask("HGET bull:orders:later delay"), "0");

    let form = json!({ "Run at": "2030-05-06T07:08" });
    board.fill("/queue/orders/moved", json!({ "icon": "Reschedule" }), form, "Save").await;
    let due = board.queue("orders").get(&id("moved")).await.expect("read").expect("there").due;
    // The board turns the time into a delay, which begins when its server is asked.
    let late = due.expect("delayed").since(Timestamp::from_millis(1_904_281_680_000));
    assert!(due >= Some(Timestamp::from_millis(1_904_281_680_000)) && late < Duration::from_secs(60), "{due:?}");
    // A time that has passed means at once.
    let form = json!({ "Run at": "2020-05-06T07:08" });
    board.fill("/queue/orders/moved", json!({ "icon": "Reschedule" }), form, "Save").await;
}

async fn edit(board: &Board) {
    let form = json!({ "Job data": "{\"sum\": [8, \"nine\"]}" });
    let asked = board.fill("/queue/orders/edited", json!({ "icon": "Update Data" }), form, "Update").await;
    assert_eq!(asked, "PATCH /api/queues/orders/edited/update-data");
    assert_eq!(board.ask("HGET bull:orders:edited data"), "{\"sum\":[8,\"nine\"]}");
}

async fn duplicate(board: &Board) -> String {
    let form = json!({ "Job data": "{\"sum\": 9}", "Job options": "{}" });
    board.fill("/queue/orders/edited", json!({ "icon": "Duplicate" }), form, "Duplicate").await;
    let copy = board.ids("bull:orders:wait").remove(0);
    assert_eq!(board.ask(&format!("HGET bull:orders:{copy} name")), "pays");
    copy
}

async fn add(board: &Board) -> (String, String) {
    let press = json!({ "menu": "Add job" });
    let form = json!({ "Job name": "typed", "Job data": "{\"by\": \"hand\"}" });
    let asked = board.fill("/queue/orders", press.clone(), form, "Add").await;
    assert_eq!(asked, "POST /api/queues/orders/add");
    let plain = board.ids("bull:orders:wait").remove(0);
    let options = "{\"priority\": 1, \"attempts\": 4, \"backoff\": 50}";
    board.fill("/queue/orders", press, json!({ "Job name": "fails at first", "Job options": options }), "Add").await;
    let prioritized = board.ids("bull:orders:prioritized").remove(0);
    let read = board.queue("orders").get(&id(&prioritized)).await.expect("read").expect("there");
    assert_eq!((read.options.priority, read.options.attempts), (1, 4));
    (plain, prioritized)
}

async fn remove(board: &Board) {
    for job in ["unwanted", "unwanted-later"] {
        board.click(&format!("/queue/orders/{job}"), json!({ "icon": "Clean" })).await;
        assert_eq!(board.ask(&format!("EXISTS bull:orders:{job}")), "0");
        assert_eq!(board.queue("orders").get(&id(job)).await.expect("read"), None);
    }
    assert_eq!(board.ids("bull:orders:delayed"), ["moved"]);
    assert!(!board.ids("bull:orders:wait").contains(&"unwanted".to_owned()));
}
