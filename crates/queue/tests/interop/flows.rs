//! Trees over two queues: one side adds, the other works parents and children.

use serde_json::{Value, json};

use crate::cell::Cell;

cells!(results, shared, nested, waits, fail_parent, continue_parent, ignore, remove_dependency);

/// A parent of two children, of which the first fails for good.
async fn family(c: &Cell, policy: &str) -> Vec<String> {
    let bad =
        json!({ "name": "bad", "queueName": c.kids, "data": { "fail": 1, "value": "late" }, "opts": { policy: true } });
    let good = json!({ "name": "good", "queueName": c.kids, "data": { "value": 2 }, "opts": { policy: true } });
    let children = if policy.is_empty() {
        json!([{ "name": "bad", "queueName": c.kids, "data": bad["data"] }, { "name": "good", "queueName": c.kids, "data": { "value": 2 } }])
    } else {
        json!([bad, good])
    };
    let flow = json!({
        "name": "parent", "queueName": c.queue, "data": { "children": true }, "opts": {}, "children": children,
    });
    let ids = c.adds.flow(flow).await;
    assert_eq!(c.works.state(&c.queue, &ids[0]).await, "waiting-children");
    c.works.work(&c.kids, "kids", json!({})).await;
    c.kids().await.until("failed", 1).await;
    c.kids().await.until("completed", 1).await;
    ids
}

/// What the parent's handler saw of its children, by their keys.
async fn value(c: &Cell, id: &str) -> Value {
    c.work().await;
    c.look.until("completed", 1).await;
    c.agree(id).await["returnvalue"].clone()
}

fn key(c: &Cell, id: &str) -> String {
    format!("bull:{}:{id}", c.kids)
}

/// What the parent's side remembers of its children.
async fn remembered(c: &Cell, id: &str) -> [Vec<String>; 4] {
    let sub = |name: &str| c.look.key(&format!("{id}:{name}"));
    [
        c.look.ask(&["SMEMBERS", &sub("dependencies")]).await,
        c.look.ask(&["HGETALL", &sub("processed")]).await,
        c.look.ask(&["HGETALL", &sub("failed")]).await,
        c.look.ask(&["ZRANGE", &sub("unsuccessful"), "0", "-1"]).await,
    ]
}

async fn results(c: &Cell) {
    let child = |n: u32| json!({ "name": "child", "queueName": c.kids, "data": { "value": { "n": n } }, "opts": {} });
    let flow = json!({
        "name": "parent", "queueName": c.queue, "data": { "children": true }, "opts": {},
        "children": [child(1), child(2), child(3)],
    });
    let ids = c.adds.flow(flow).await;
    c.works.work(&c.kids, "kids", json!({})).await;
    let seen = value(c, &ids[0]).await;
    let expected: Value =
        (1..=3).map(|n| (key(c, &ids[n]), json!({ "n": n }))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(seen, expected);
    let story = c.look.story(&ids[0]).await;
    assert_eq!(
        story[..4],
        ["added name=parent", "waiting-children", "waiting prev=waiting-children", "active prev=waiting"]
    );
    let kid = c.kids().await.hash(&ids[1]).await;
    assert_eq!(kid["parentKey"], c.look.key(&ids[0]));
    let parent: Value = serde_json::from_str(&kid["parent"]).unwrap();
    assert_eq!(parent, json!({ "id": ids[0], "queueKey": format!("bull:{}", c.queue) }));
}

/// One side works the children, the other, which added them, the parent.
async fn shared(c: &Cell) {
    let child = |n: u32| json!({ "name": "child", "queueName": c.kids, "data": { "value": n }, "opts": {} });
    let flow = json!({
        "name": "parent", "queueName": c.queue, "data": { "children": true }, "opts": { "priority": 5 },
        "children": [child(1), child(2)],
    });
    let ids = c.adds.flow(flow).await;
    c.adds.work(&c.queue, "parents", json!({})).await;
    c.works.work(&c.kids, "kids", json!({})).await;
    c.look.until("completed", 1).await;
    c.look.soon(&ids[0]).await;
    assert_eq!(c.agree(&ids[0]).await["returnvalue"], json!({ key(c, &ids[1]): 1, key(c, &ids[2]): 2 }));
}

async fn nested(c: &Cell) {
    let leaf = json!({ "name": "leaf", "queueName": c.queue, "data": { "value": "leaf" }, "opts": {} });
    let middle = json!({
        "name": "middle", "queueName": c.kids, "data": { "children": true }, "opts": {}, "children": [leaf],
    });
    let top = json!({
        "name": "top", "queueName": c.queue, "data": { "children": true }, "opts": {}, "children": [middle],
    });
    let ids = c.adds.flow(top).await;
    c.works.work(&c.kids, "kids", json!({})).await;
    c.work().await;
    c.look.until("completed", 2).await;
    assert_eq!(c.look.order("completed").await, [&*ids[2], &*ids[0]]);
    let middle = json!({ c.look.key(&ids[2]): "leaf" });
    assert_eq!(c.agree(&ids[0]).await["returnvalue"], json!({ key(c, &ids[1]): middle }));
}

async fn waits(c: &Cell) {
    let ids = family(c, "").await;
    assert_eq!(c.adds.state(&c.queue, &ids[0]).await, "waiting-children");
    assert_eq!(remembered(c, &ids[0]).await[0], [key(c, &ids[1])]);
    // It waits until the child is retried with success.
    c.adds.of_job(&c.kids, &ids[1], "retry", json!(["failed"])).await;
    let seen = value(c, &ids[0]).await;
    assert_eq!(seen, json!({ key(c, &ids[1]): "late", key(c, &ids[2]): 2 }));
}

async fn fail_parent(c: &Cell) {
    let ids = family(c, "failParentOnFailure").await;
    c.work().await;
    c.look.until("failed", 1).await;
    let why = format!("child {} failed", key(c, &ids[1]));
    let story = c.look.story(&ids[0]).await;
    assert_eq!(
        story[..4],
        ["added name=parent", "waiting-children", "waiting prev=waiting-children", "active prev=waiting"]
    );
    assert!(story[4].starts_with(&format!("failed failedReason={why} prev=active")), "{story:#?}");
    assert_eq!(c.look.hash(&ids[0]).await["failedReason"], why);
    assert_eq!(remembered(c, &ids[0]).await[3], [key(c, &ids[1])]);
}

async fn continue_parent(c: &Cell) {
    let ids = family(c, "continueParentOnFailure").await;
    assert_eq!(value(c, &ids[0]).await, json!({ key(c, &ids[2]): 2 }));
    let [pending, processed, failed, _] = remembered(c, &ids[0]).await;
    let (good, bad) = (key(c, &ids[2]), key(c, &ids[1]));
    assert_eq!((pending, processed, failed), (vec![], vec![good, "2".to_owned()], vec![bad, "boom 1".to_owned()]));
}

async fn ignore(c: &Cell) {
    let ids = family(c, "ignoreDependencyOnFailure").await;
    assert_eq!(value(c, &ids[0]).await, json!({ key(c, &ids[2]): 2 }));
    let [pending, processed, failed, _] = remembered(c, &ids[0]).await;
    let (good, bad) = (key(c, &ids[2]), key(c, &ids[1]));
    assert_eq!((pending, processed, failed), (vec![], vec![good, "2".to_owned()], vec![bad, "boom 1".to_owned()]));
}

async fn remove_dependency(c: &Cell) {
    let ids = family(c, "removeDependencyOnFailure").await;
    assert_eq!(value(c, &ids[0]).await, json!({ key(c, &ids[2]): 2 }));
    let [pending, processed, failed, unsuccessful] = remembered(c, &ids[0]).await;
    assert_eq!((pending, processed), (vec![], vec![key(c, &ids[2]), "2".to_owned()]));
    assert_eq!((failed, unsuccessful), (vec![], vec![]));
}
