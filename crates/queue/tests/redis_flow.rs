//! Flows on Redis as other clients of the same keys see them, and as they leave them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{ChildFailure, FailureKind, JobOptions, Keep, Outcome, QueueName, State, explain};
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

/// A server, and the queues of parents and children on it.
struct Case {
    server: RedisServer,
    p: Given,
    c: Given,
}

impl Case {
    async fn new() -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let store = Arc::new(Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store"));
        let queue = |name| Given::over(store.clone(), QueueName::new(name).expect("a name"));
        let (p, c) = (queue("reports"), queue("emails"));
        Self { server, p, c }
    }

    fn ask(&self, command: &str) -> String {
        self.server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    /// The lines of an answer in order.
    fn sorted(&self, command: &str) -> String {
        let answer = self.ask(command);
        let mut lines: Vec<&str> = answer.lines().collect();
        lines.sort_unstable();
        lines.join(" ")
    }

    async fn children(&self, parent: &str, most: u32) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = self.p.backend.children(&self.p.queue, &id(parent), from, most).await.expect("children");
            all.extend(page.children.iter().map(|child| {
                let value = child.result.as_ref().map(|result| result.as_str()).or(child.reason.as_deref());
                let value = value.unwrap_or("-");
                format!("{} {} {:?} {:?} {value}", child.number, child.id, child.on_failure, child.state)
            }));
            after = page.next;
        }
        all
    }

    /// A parent `p` of children `a` and `b`.
    async fn family(&self, on_failure: ChildFailure) {
        let nodes = vec![top(&self.p, "p"), under(&self.c, "a", on_failure), under(&self.c, "b", on_failure)];
        let added = self.p.backend.add_flow(AddFlow { nodes }, T0).await.expect("added");
        assert!(matches!(added, Flowed::Added(_)));
    }
}

fn top(q: &Given, text: &str) -> Node {
    Node { queue: q.queue.clone(), job: named(text, plain()), parent: None }
}

fn under(q: &Given, text: &str, on_failure: ChildFailure) -> Node {
    let parent = Some(Under { parent: Parent::Node(0), on_failure });
    Node { queue: q.queue.clone(), job: named(text, plain()), parent }
}

#[tokio::test]
async fn a_flow_lies_where_bullmq_looks_for_it() {
    let case = Case::new().await;
    case.family(ChildFailure::Ignore).await;
    assert_eq!(case.ask("ZRANGE bull:reports:waiting-children 0 -1 WITHSCORES"), format!("p\n{}", T0.millis()));
    assert_eq!(case.sorted("SMEMBERS bull:reports:p:dependencies"), "bull:emails:a bull:emails:b");
    assert_eq!(case.ask("LRANGE bull:emails:wait 0 -1"), "b\na");
    assert_eq!(case.ask("HGET bull:emails:a parentKey"), "bull:reports:p");
    let parsed =
        |field: &str| serde_json::from_str::<serde_json::Value>(&case.ask(&format!("HGET bull:emails:a {field}")));
    let parent = serde_json::json!({ "id": "p", "queueKey": "bull:reports", "idof": true });
    assert_eq!(parsed("parent").expect("JSON"), parent);
    let opts = parsed("opts").expect("JSON");
    assert_eq!(opts["parent"], serde_json::json!({ "id": "p", "queue": "bull:reports" }));
    assert_eq!((&opts["jobId"], &opts["idof"]), (&serde_json::json!("a"), &serde_json::json!(true)));
    assert_eq!(case.ask("GET bull:emails:id"), "2");
    let a = case.c.one(at(1)).await.lock;
    case.c.settle(&a, Outcome::Done(json("\"x\"")), at(2)).await;
    assert_eq!(case.ask("HGETALL bull:reports:p:processed"), "bull:emails:a\n\"x\"");
    let b = case.c.one(at(3)).await.lock;
    case.c.settle(&b, dead(), at(4)).await;
    assert_eq!(case.ask("HGETALL bull:reports:p:failed"), "bull:emails:b\nboom");
    assert_eq!(case.ask("LRANGE bull:reports:wait 0 -1"), "p");
    assert_eq!(case.ask("ZRANGE bull:reports:marker 0 -1"), "0");
}

#[tokio::test]
async fn a_failed_parent_says_so_in_bullmqs_words() {
    let case = Case::new().await;
    case.family(ChildFailure::FailParent).await;
    let a = case.c.one(at(1)).await.lock;
    case.c.settle(&a, dead(), at(2)).await;
    assert_eq!(case.ask("HGET bull:reports:p defa"), "child bull:emails:a failed");
    assert_eq!(case.ask("ZRANGE bull:reports:p:unsuccessful 0 -1"), "bull:emails:a");
    let held = case.p.one(at(3)).await;
    let why = held.failed_already.expect("it is to be failed");
    assert_eq!((&*why.message, why.kind), ("child emails:a failed", FailureKind::Child));
    case.p.settle(&held.lock, Outcome::Dead(why.clone()), at(4)).await;
    assert_eq!(case.ask("HMGET bull:reports:p failedReason defa").trim_end(), "child bull:emails:a failed");
    assert_eq!(case.p.get("p").await.failure, Some(why.clone()));
    // A worker of another fleet leaves no kind.
    case.ask("HDEL bull:reports:p lk:kind");
    assert_eq!(case.p.get("p").await.failure, Some(why));
    // What it failed of is known when the child is gone.
    assert_eq!(case.c.edit(Edit::Remove(id("a")), at(5)).await, Edited::Done);
    assert_eq!(case.children("p", 9).await, ["1 a FailParent Failed boom", "2 b FailParent Pending -"]);
}

/// The others of its batch are not to stay behind in no list.
#[tokio::test]
async fn a_parent_whose_keys_are_of_another_type_keeps_no_job_from_its_end() {
    let case = Case::new().await;
    case.family(ChildFailure::FailParent).await;
    case.c.waiting(&["lone"], at(1)).await;
    let held = case.c.take(9, at(2)).await;
    case.ask("DEL bull:reports:p:dependencies");
    case.ask("SET bull:reports:p:dependencies no-set");
    let ends =
        held.iter().map(|held| verdict(&held.lock, if held.lock.id == id("b") { dead() } else { done() })).collect();
    let turned = case.c.turn(ends, None, at(3)).await;
    assert_eq!(turned.ends, [End::Applied; 3]);
    assert_eq!(
        (case.sorted("ZRANGE bull:emails:completed 0 -1"), case.ask("LLEN bull:emails:active")),
        ("a lone".into(), "0".into())
    );
    assert_eq!(case.ask("ZRANGE bull:emails:failed 0 -1"), "b");
}

/// As a BullMQ producer and its workers leave it: no record of ours.
#[tokio::test]
async fn a_family_of_another_producer_is_read_and_worked_on() {
    let case = Case::new().await;
    let child = |name: &str, flag: &str| {
        case.ask(&format!(
            "HSET bull:emails:{name} name n data {{}} opts {{}} timestamp 1 delay 0 priority 0 parentKey bull:reports:p \
             parent {{\"id\":\"p\",\"queueKey\":\"bull:reports\"{flag}}}"
        ))
    };
    case.ask("HSET bull:reports:p name n data {} opts {} timestamp 1 delay 0 priority 0");
    case.ask("ZADD bull:reports:waiting-children 1 p");
    child("b", "");
    child("a", ",\"cpof\":true");
    child("s", "");
    child("u", ",\"fpof\":true");
    case.ask("SADD bull:reports:p:dependencies bull:emails:b bull:emails:s");
    case.ask("HSET bull:reports:p:processed bull:emails:gone 7");
    case.ask("HSET bull:reports:p:failed bull:emails:a bad bull:emails:i worse");
    case.ask("ZADD bull:reports:p:unsuccessful 5 bull:emails:u");
    case.ask("HSET bull:emails:u failedReason ugly");
    case.ask("HSET bull:emails:s failedReason stuck");
    case.ask("ZADD bull:emails:failed 5 s");
    case.ask("LPUSH bull:emails:wait b");
    let expected = [
        "1 a ContinueParent Failed bad",
        "2 b Wait Pending -",
        "3 gone Wait Completed 7",
        "4 i Wait Ignored worse",
        "5 s Wait Pending stuck",
        "6 u FailParent Failed ugly",
    ];
    assert_eq!(case.children("p", 9).await, expected);
    assert_eq!(case.children("p", 2).await, expected);
    let facts = case.p.backend.facts(&case.p.queue, &id("p"), at(1)).await.expect("facts");
    assert_eq!((facts.pending, facts.children[0].id.as_str(), facts.children.len()), (2, "s", 2));
    assert!(explain(&facts, at(1)).reasons[0].message.starts_with("Its child emails:s failed"));
    // One of ours comes last, and first once it has a number.
    let beneath = Under { parent: Parent::Job(case.p.queue.clone(), id("p")), on_failure: ChildFailure::Ignore };
    let nodes = vec![Node { parent: Some(beneath), ..top(&case.c, "own") }];
    assert!(matches!(case.p.backend.add_flow(AddFlow { nodes }, at(2)).await, Ok(Flowed::Added(_))));
    assert_eq!(case.children("p", 9).await[0], "1 own Ignore Pending -");
    assert_eq!(case.children("p", 3).await.len(), 7);
    for text in ["b", "own"] {
        let held = case.c.one(at(3)).await;
        assert_eq!(held.lock.id.as_str(), text);
        case.c.settle(&held.lock, done(), at(3)).await;
    }
    assert_eq!(case.p.get("p").await.state, State::WaitingChildren);
    assert_eq!(case.c.edit(Edit::Remove(id("s")), at(4)).await, Edited::Done);
    assert_eq!(case.p.take_ids(1, at(5)).await, ["p"]);
}

/// It takes BullMQ's six keys: our record is void at once, and goes when other families come.
#[tokio::test]
async fn a_parent_that_another_client_removes_leaves_nothing_for_long() {
    let case = Case::new().await;
    case.family(ChildFailure::FailParent).await;
    assert_eq!(case.ask("KEYS *kids*"), "bull::lk:reports:kids:p");
    case.ask("ZREM bull:reports:waiting-children p");
    case.ask("DEL bull:reports:p bull:reports:p:dependencies bull:reports:p:processed");
    assert_eq!((case.c.get("a").await.parent, case.children("p", 9).await.len()), (None, 0));
    // Another job under its id has other children.
    case.p.add(vec![named("p", plain())], at(1)).await;
    assert_eq!((case.c.get("a").await.parent, case.children("p", 9).await.len()), (None, 0));
    let a = case.c.one(at(2)).await.lock;
    case.c.settle(&a, dead(), at(2)).await;
    assert_eq!(case.p.one(at(3)).await.failed_already, None);
    for text in ["q", "r"] {
        let nodes = vec![top(&case.p, text), under(&case.c, &format!("{text}1"), ChildFailure::Wait)];
        assert!(matches!(case.p.backend.add_flow(AddFlow { nodes }, at(4)).await, Ok(Flowed::Added(_))));
    }
    assert_eq!(case.sorted("KEYS *kids*"), "bull::lk:reports:kids:q bull::lk:reports:kids:r");
    assert_eq!(case.p.edit(Edit::Remove(id("q")), at(5)).await, Edited::Done);
    assert_eq!(case.ask("KEYS *kids*"), "bull::lk:reports:kids:r");
    assert_eq!(case.ask("SMEMBERS bull::lk:reports:families"), "r");
    let b = case.c.take(9, at(6)).await.into_iter().find(|held| held.lock.id.as_str() == "r1").expect("taken");
    case.c.settle(&b.lock, done(), at(6)).await;
    let r = case.p.one(at(7)).await.lock;
    assert_eq!(case.p.end_keeping(&r, done(), Keep::NONE, at(7)).await, End::Applied);
    assert_eq!((case.ask("KEYS *reports:r*"), case.ask("KEYS *reports:kids*")), (String::new(), String::new()));
}

#[tokio::test]
async fn children_that_another_client_takes_away_leave_the_record() {
    let case = Case::new().await;
    case.family(ChildFailure::Wait).await;
    case.ask("SREM bull:reports:p:dependencies bull:emails:a");
    case.ask("SADD bull:reports:p:dependencies bull:emails:z");
    // As many as before: what was taken is found first, what came after that.
    assert_eq!(case.children("p", 9).await, ["2 b Wait Pending -"]);
    assert_eq!(case.children("p", 9).await, ["2 b Wait Pending -", "3 z Wait Pending -"]);
}

/// What a plan was made from is looked at again when it is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_parents_one_gets_a_child_that_is_there() {
    let case = Case::new().await;
    case.c.waiting(&["x"], T0).await;
    let tries = (0..30).map(|n| {
        let nodes = vec![top(&case.p, &format!("p{n}")), under(&case.c, "x", ChildFailure::Wait)];
        let backend = case.p.backend.clone();
        tokio::spawn(async move { backend.add_flow(AddFlow { nodes }, at(1)).await.expect("answered") })
    });
    let mut added = 0;
    for one in tries.collect::<Vec<_>>() {
        match one.await.expect("done") {
            Flowed::Added(_) => added += 1,
            Flowed::Refused(refused) => assert_eq!(refused, Refused { node: 1, why: Refusal::OtherParent }),
        }
    }
    assert_eq!((added, case.p.counts().await.total()), (1, 1));
}

/// More levels than one look sees.
#[tokio::test]
async fn a_circle_is_found_however_deep() {
    let case = Case::new().await;
    let mut nodes = vec![top(&case.c, "n0")];
    for n in 1..3_000 {
        nodes.push(Node {
            parent: Some(Under { parent: Parent::Node(n - 1), on_failure: ChildFailure::Wait }),
            ..top(&case.c, &format!("n{n}"))
        });
    }
    assert!(matches!(case.c.backend.add_flow(AddFlow { nodes }, T0).await, Ok(Flowed::Added(_))));
    let beneath = Under { parent: Parent::Job(case.c.queue.clone(), id("n2999")), on_failure: ChildFailure::Wait };
    let nodes = vec![Node { parent: Some(beneath), ..top(&case.c, "n0") }];
    let answer = case.c.backend.add_flow(AddFlow { nodes }, at(1)).await.expect("answered");
    assert_eq!(answer, Flowed::Refused(Refused { node: 0, why: Refusal::Circle }));
}

#[tokio::test]
async fn a_job_that_is_added_later_names_whom_it_follows() {
    let case = Case::new().await;
    let keep = || JobOptions { deduplication: Some(launchkit_queue::Dedup::keep_last("d")), ..plain() };
    case.c.hold("first", keep(), T0).await;
    case.c.add(vec![named("next", keep())], at(1)).await;
    let facts = case.c.backend.facts(&case.c.queue, &id("next"), at(2)).await.expect("facts");
    assert_eq!(facts.follows, Some(id("first")));
}
