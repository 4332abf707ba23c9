//! Job schedulers: what their page shows, and what becomes of ours when they are run, changed or removed there.

use std::time::Duration;

use launchkit_queue::{Queue, Repeat, Schedule};
use serde_json::json;

use crate::{Board, id, result, worker};

#[tokio::test]
async fn schedulers_are_shown_run_changed_and_removed() {
    let board = Board::over(&["orders"]).await;
    let orders = board.queue("orders");
    the_page_tells_what_runs_when(&board, &orders).await;
    run_now(&board, &orders).await;
    another_interval(&board, &orders).await;
    remove(&board, &orders).await;
    board.close().await;
}

async fn the_page_tells_what_runs_when(board: &Board, orders: &Queue) {
    let nightly = Schedule::cron_in("30 2 * * *", "Europe/Berlin");
    orders
        .schedule(Repeat::named("nightly", nightly, "sweep", &json!({ "floors": 2 })).expect("a payload"))
        .await
        .expect("scheduled");
    let hourly = Schedule::Every(Duration::from_secs(3600));
    let first = orders.schedule(Repeat::named("hourly", hourly, "dust", &json!([])).expect("a payload")).await;
    let first = first.expect("scheduled").expect("due");
    let jobs = format!("/board/queue/orders/repeat%3Ahourly%3A{first}");
    let rows = [
        "cell \"nightly sweep\"",
        "code: 30 2 * * *",
        "text: Europe/Berlin",
        "cell \"hourly dust\"",
        "every 1h",
        &jobs,
    ];
    board.see("/job-schedulers", &rows).await;
    board.see("/queue/orders", &["link \"Schedulers (2)\""]).await;
    let expand = json!({ "at": "/job-schedulers", "press": [{ "row": "nightly", "button": "Job template" }], "has": ["floors:2"] });
    board.look(expand).await;

    // The first run of the hourly one is due at once; then the page knows when it ran, and when it runs next.
    let worker = worker(orders);
    result(orders, &format!("repeat:hourly:{first}")).await;
    worker.stop().await;
    let next = orders.scheduled("hourly").await.expect("read").expect("there").slot.expect("due");
    assert_eq!(next, first.plus(Duration::from_secs(3600)));
    board.see("/job-schedulers", &[&format!("/board/queue/orders/repeat%3Ahourly%3A{next}"), "ago"]).await;
}

async fn run_now(board: &Board, orders: &Queue) {
    let slot = orders.scheduled("nightly").await.expect("read").expect("there").slot;
    let asked = board.click("/job-schedulers", json!({ "row": "nightly", "button": "Run now" })).await;
    assert_eq!(asked, "PUT /api/queues/orders/job-schedulers/nightly/run");
    let extra = board.ids("bull:orders:wait");
    assert_eq!(extra.len(), 1, "{extra:?}");
    let worker = worker(orders);
    assert_eq!(result(orders, &extra[0]).await, json!({ "floors": 2 }));
    worker.stop().await;
    assert_eq!(orders.scheduled("nightly").await.expect("read").expect("there").slot, slot);
}

async fn another_interval(board: &Board, orders: &Queue) {
    let form = json!({ "Interval (ms)": "1000", "Max runs": "4" });
    board.fill("/job-schedulers", json!({ "row": "hourly", "button": "Edit schedule" }), form, "Save").await;
    let read = orders.scheduled("hourly").await.expect("read").expect("there");
    assert_eq!((&read.repeat.schedule, read.repeat.limit), (&Schedule::Every(Duration::from_secs(1)), Some(4)));
    assert_eq!(&*read.repeat.name, "dust");
    assert_eq!(board.ask("HMGET bull:orders:repeat:hourly every limit name"), "1000\n4\ndust");
    let mut slot = read.slot;
    let worker = worker(orders);
    while let Some(due) = slot {
        result(orders, &format!("repeat:hourly:{due}")).await;
        slot = orders.scheduled("hourly").await.expect("read").and_then(|read| read.slot).filter(|next| *next != due);
    }
    worker.stop().await;
}

async fn remove(board: &Board, orders: &Queue) {
    let slot = orders.scheduled("nightly").await.expect("read").expect("there").slot.expect("due");
    let job = format!("repeat:nightly:{slot}");
    assert!(board.ids("bull:orders:delayed").contains(&job));
    board.click("/job-schedulers", json!({ "row": "nightly", "button": "Remove scheduler" })).await;
    assert_eq!(orders.scheduled("nightly").await.expect("read"), None);
    assert_eq!(orders.get(&id(&job)).await.expect("read"), None);
    assert_eq!(board.ask(&format!("EXISTS bull:orders:repeat:nightly bull:orders:{job}")), "0");
    board.look(json!({ "at": "/job-schedulers", "has": ["Schedulers"], "lacks": ["cell \"nightly sweep\""] })).await;
}
