//! Flows: the tree that is shown, and what a click on one of its jobs means for the others.

use launchkit_queue::{ChildFailure, Flow};
use serde_json::json;

use crate::{Board, failure, id, result, worker};

#[tokio::test]
async fn a_flow_is_shown_as_a_tree_and_clicks_release_its_parents() {
    let board = Board::over(&["orders", "parts", "store"]).await;
    fill(&board).await;
    the_tree_has_every_job_with_its_state(&board).await;
    a_parent_goes_on_without_children_that_are_removed(&board).await;
    a_retried_child_releases_its_parent(&board).await;
    board.close().await;
}

/// A cabinet waits for its legs (done), its glass (failed, but that is ignored), its door (failed) and its drawers, which
/// wait for two knobs that nobody makes.
async fn fill(board: &Board) {
    let (orders, parts, store) = (board.queue("orders"), board.queue("parts"), board.queue("store"));
    let job = |queue, name: &str, id: &str| Flow::named(queue, name, &json!({ "id": id })).id(id);
    let knobs = [job(&store, "fetch", "knob-1"), job(&store, "fetch", "knob-2")];
    let drawers = knobs.into_iter().fold(job(&parts, "assemble", "drawers"), Flow::child);
    let flow = job(&orders, "assemble", "cabinet")
        .child(job(&parts, "saw", "legs"))
        .child(job(&parts, "fails at first", "glass").on_failure(ChildFailure::Ignore))
        .child(job(&parts, "fails at first", "door"))
        .child(drawers);
    orders.add_flow(flow).await.expect("added");
    let worker = worker(&parts);
    result(&parts, "legs").await;
    failure(&parts, "glass").await;
    failure(&parts, "door").await;
    worker.stop().await;
}

async fn the_tree_has_every_job_with_its_state(board: &Board) {
    let tree = [
        "group \"assemble, waiting-children, queue orders, id cabinet\"",
        "group \"saw, completed, queue parts, id legs\"",
        "group \"fails at first, failed, queue parts, id glass\"",
        "group \"fails at first, failed, queue parts, id door\"",
        "group \"assemble, waiting-children, queue parts, id drawers\"",
        "group \"fetch, waiting, queue store, id knob-1\"",
        "group \"fetch, waiting, queue store, id knob-2\"",
        "group \"Edge from orders:cabinet to parts:legs\"",
        "group \"Edge from parts:drawers to store:knob-2\"",
    ];
    board.see("/queue/orders/cabinet", &tree).await;
    // The whole tree is shown beside any of its jobs.
    board.see("/queue/store/knob-1", &tree).await;
}

async fn a_parent_goes_on_without_children_that_are_removed(board: &Board) {
    let parts = board.queue("parts");
    board.click("/queue/store/knob-1", json!({ "icon": "Clean" })).await;
    assert_eq!(board.ask("EXISTS bull:store:knob-1"), "0");
    assert_eq!(board.ask("SMEMBERS bull:parts:drawers:dependencies"), "bull:store:knob-2");
    assert_eq!(parts.children(&id("drawers"), 0, 10).await.expect("read").pending, 1);

    board.click("/queue/parts/drawers", json!({ "icon": "Remove unprocessed children" })).await;
    assert_eq!(board.ask("EXISTS bull:store:knob-2 bull:parts:drawers:dependencies"), "0");
    board.see("/queue/parts/drawers", &["group \"assemble, waiting, queue parts, id drawers\""]).await;
    assert_eq!(board.ids("bull:parts:wait"), ["drawers"]);
}

async fn a_retried_child_releases_its_parent(board: &Board) {
    let (orders, parts) = (board.queue("orders"), board.queue("parts"));
    board.click("/queue/parts/door", json!({ "icon": "Retry" })).await;
    assert_eq!(board.ids("bull:parts:wait"), ["door", "drawers"]);
    let of_parts = worker(&parts);
    result(&parts, "drawers").await;
    result(&parts, "door").await;
    of_parts.stop().await;
    assert_eq!(board.ids("bull:orders:wait"), ["cabinet"]);
    let of_orders = worker(&orders);
    result(&orders, "cabinet").await;
    of_orders.stop().await;
    let children = orders.children(&id("cabinet"), 0, 10).await.expect("read").children;
    let done = children.iter().filter(|child| child.result.is_some()).count();
    assert_eq!((children.len(), done), (4, 3), "{children:?}");
    board.see("/queue/orders/cabinet", &["group \"assemble, completed, queue orders, id cabinet\""]).await;
}
