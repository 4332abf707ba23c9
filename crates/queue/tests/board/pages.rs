//! What the pages show of jobs in every state.

use std::time::Duration;

use launchkit_queue::{Backoff, Event, Flow, Position, Told};
use serde_json::json;

use crate::{Board, failure, result, worker};

#[tokio::test]
async fn pages_show_jobs_in_every_state_and_what_is_in_them() {
    let board = Board::over(&["orders", "parts"]).await;
    let worker = fill(&board).await;
    a_queue_has_its_counts_and_its_jobs(&board).await;
    a_job_has_its_data_and_its_times(&board).await;
    a_failed_job_has_its_error(&board).await;
    let orders = board.queue("orders");
    orders.cancel(&crate::id("held")).await.expect("it runs");
    failure(&orders, "held").await;
    worker.stop().await;
    board.close().await;
}

/// One job in each state; the worker holds one of them.
async fn fill(board: &Board) -> launchkit_queue::Running {
    let (orders, parts) = (board.queue("orders"), board.queue("parts"));
    let worker = worker(&orders);
    let paid = json!({ "sum": 7.5, "to": "Zoë", "lines": [1, 2] });
    orders.add_named("fails at first", json!({ "unpaid": true })).id("unpaid").await.expect("added");
    let backoff = Backoff::exponential(Duration::from_millis(1500));
    orders.add_named("reports", paid).id("paid").attempts(3).backoff(backoff).await.expect("added");
    failure(&orders, "unpaid").await;
    result(&orders, "paid").await;
    orders.add_named("holds", json!(null)).id("held").await.expect("added");
    let mut events = orders.events(Position::START);
    while !matches!(events.next().await, Ok(Told::Event(_, Event::Active { id, .. })) if id.as_str() == "held") {}
    orders.add_named("waits", json!({ "plain": 1 })).id("next").await.expect("added");
    orders.add_named("comes", json!([])).id("later").delay(Duration::from_secs(7200)).await.expect("added");
    orders.add_named("hurries", json!("now")).id("urgent").priority(3).await.expect("added");
    let part = Flow::named(&parts, "part", &json!({ "screws": 4 })).id("screws");
    orders.add_flow(Flow::named(&orders, "whole", &json!({})).id("cabinet").child(part)).await.expect("added");
    worker
}

async fn a_queue_has_its_counts_and_its_jobs(board: &Board) {
    let counts =
        ["WAITING 1", "ACTIVE 1", "WAITING CHILDREN 1", "PRIORITIZED 1", "COMPLETED 1", "FAILED 1", "DELAYED 1"];
    let links = counts.map(|count| format!("link \"{count}\""));
    let names = ["unpaid", "paid", "held", "next", "later", "urgent", "cabinet"];
    let all: Vec<&str> = links.iter().map(String::as_str).chain(names).collect();
    board.see("/queue/orders", &all).await;
    let pages = [
        ("active", "held holds"),
        ("waiting", "next waits"),
        ("waiting-children", "cabinet whole"),
        ("prioritized", "urgent hurries"),
        ("completed", "paid reports"),
        ("failed", "unpaid fails at first"),
        ("delayed", "later comes"),
    ];
    for (status, job) in pages {
        let shown = board.see(&format!("/queue/orders?status={status}"), &[&format!("link \"{job}\"")]).await;
        let others = pages.iter().filter(|(_, other)| shown.contains(&format!("link \"{other}\"")));
        assert_eq!(others.count(), 1, "only its own jobs are on the page of {status}:\n{shown}");
    }
    // The board knows our workers by the names of their connections: only the other queue has none.
    let shown = board.see("/", &["button \"7 Jobs\"", "button \"1 Job\"", "No workers"]).await;
    assert_eq!(shown.matches("No workers").count(), 1, "{shown}");
}

async fn a_job_has_its_data_and_its_times(board: &Board) {
    let data = ["paid reports", "sum:7.5,", "Zoë", "returnValue:", "40%", "by clerk", "Finished at"];
    board.see("/queue/orders/paid", &data).await;
    board.see_tab("/queue/orders/paid", "Logs", &["counted the coins", "wrote the receipt"]).await;
    let options = ["attempts:3", "jobId:\"paid\"", "type:\"exponential\"", "delay:1500"];
    board.see_tab("/queue/orders/paid", "Options", &options).await;
    board.see_tab("/queue/orders/paid", "Error", &["No errors recorded"]).await;
    board.see("/queue/orders/held", &["held holds", "by clerk", "Process started at"]).await;
    board.see("/queue/orders/later", &["later comes", "Will run at"]).await;
    board.see_tab("/queue/orders/urgent", "Options", &["priority:3"]).await;
}

async fn a_failed_job_has_its_error(board: &Board) {
    let error = ["unpaid fails at first", "by clerk", "Failed at", "tabpanel \"Error\"", "the till is empty"];
    board.see("/queue/orders/unpaid", &error).await;
    board.see_tab("/queue/orders/unpaid", "Data", &["unpaid:true"]).await;
}
