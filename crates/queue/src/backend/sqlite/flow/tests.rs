//! What only the file can show: damaged rows, and what is left of removed parents.

use std::sync::Arc;
use std::time::Duration;

use super::super::Sqlite;
use crate::backend::*;
use crate::exit::Outcome;
use crate::job::{ChildFailure, JobId, Payload, QueueName};
use crate::options::Keep;
use crate::state::State;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn node(id: &str, parent: Option<usize>) -> Node {
    let job = NewJob {
        id: Some(JobId::custom(id).unwrap()),
        name: "n".into(),
        data: Payload::null(),
        options: Arc::default(),
    };
    let parent = parent.map(|at| Under { parent: Parent::Node(at), on_failure: ChildFailure::Wait });
    Node { queue: queue(), job, parent }
}

async fn opened() -> (Sqlite, rusqlite::Connection, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = Sqlite::open(&path).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    (store, other, folder)
}

async fn take(store: &Sqlite, ends: Vec<Verdict>, most: usize, token: &str) -> Vec<Held> {
    let token = Token::new(token);
    let take = Take { token, mode: TakeMode::Fresh, most, lock_for: Duration::from_secs(30), rate: None };
    let turn = Turn { queue: queue(), worker: "w".into(), ends, take: Some(take) };
    let turned = store.turn(turn, NOW).await.unwrap();
    assert!(turned.ends.iter().all(|end| *end == End::Applied));
    turned.held
}

/// Links, families and policies that make no sense harm nobody but their own.
#[tokio::test]
async fn damaged_families_hold_up_no_other() {
    let (store, vandal, _folder) = opened().await;
    let of = |n: usize| [node(&format!("p{n}"), None), node(&format!("c{n}"), Some(2 * n))];
    let flow = AddFlow { nodes: (0..4).flat_map(of).collect() };
    assert!(matches!(store.add_flow(flow, NOW).await.unwrap(), Flowed::Added(added) if added.len() == 8));
    vandal
        .execute_batch(
            "DELETE FROM families WHERE id = 'p0'; DELETE FROM links WHERE f = 2; \
             UPDATE links SET policy = 77 WHERE f = 3; UPDATE children SET mark = 1, policy = -1 WHERE f = 3; \
             UPDATE jobs SET opts = '{' WHERE id = 'p3'",
        )
        .unwrap();
    let held = take(&store, Vec::new(), 9, "t").await;
    let done = |held: &Held| Verdict {
        lock: held.lock.clone(),
        outcome: Outcome::Done(Payload::null()),
        keep: Keep::ALL,
        ran: None,
    };
    let released = take(&store, held.iter().map(done).collect(), 9, "u").await;
    let ids: Vec<&str> = released.iter().map(|held| held.lock.id.as_str()).collect();
    assert_eq!(ids, ["p3", "p2"], "the damaged options are handed out, to be failed");
    assert!(released[0].failed_already.is_some() && released[1].failed_already.is_none());
    let list = List { state: State::WaitingChildren, after: None, most: 9 };
    let left: Vec<String> =
        store.list(&queue(), &list).await.unwrap().jobs.iter().map(|job| job.id.to_string()).collect();
    assert_eq!(left, ["p0", "p1"]);
    for id in ["p0", "p1", "c0", "p2"] {
        let id = JobId::custom(id).unwrap();
        store.facts(&queue(), &id, NOW).await.unwrap();
        store.children(&queue(), &id, 0, 9).await.unwrap();
    }
}

/// A removed parent leaves its family to later writes, each of which forgets a bounded part of it.
#[tokio::test]
async fn children_of_a_removed_parent_are_forgotten_in_steps() {
    let (store, look, _folder) = opened().await;
    let children = (0..1_000).map(|n| node(&format!("c{n}"), Some(0)));
    let flow = AddFlow { nodes: [node("p", None)].into_iter().chain(children).collect() };
    store.add_flow(flow, NOW).await.unwrap();
    let count = || look.query_row("SELECT COUNT(*) FROM children", [], |row| row.get::<_, i64>(0)).unwrap();
    let families = || look.query_row("SELECT COUNT(*) FROM families", [], |row| row.get::<_, i64>(0)).unwrap();
    let edits = vec![Edit::Remove(JobId::custom("p").unwrap())];
    store.edit(EditAll { queue: queue(), edits }, NOW).await.unwrap();
    assert_eq!((count(), families()), (1_000, 1));
    for left in [800, 600, 400, 200, 0] {
        let info =
            WorkerInfo { id: "w".into(), name: "w".into(), slots: 1, started: NOW, version: "0".into(), rate: None };
        let beat = Beat { queue: queue(), worker: info, locks: Vec::new(), lock_for: Duration::from_secs(1) };
        store.beat(beat, NOW).await.unwrap();
        assert_eq!(count(), left);
    }
    store.edit(EditAll { queue: queue(), edits: vec![Edit::Remove(JobId::custom("c1").unwrap())] }, NOW).await.unwrap();
    assert_eq!(families(), 0);
}

/// However many parents end and are not kept, what is forgotten keeps pace with them.
#[tokio::test]
async fn families_of_removed_parents_do_not_pile_up() {
    let (store, look, _folder) = opened().await;
    let count =
        |table: &str| look.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    let done = |held: &Held| Verdict {
        lock: held.lock.clone(),
        outcome: Outcome::Done(Payload::null()),
        keep: Keep::NONE,
        ran: None,
    };
    for round in 0..20 {
        let of = |n: usize| [node(&format!("p{round}-{n}"), None), node(&format!("c{round}-{n}"), Some(2 * n))];
        let flow = AddFlow { nodes: (0..50).flat_map(of).collect() };
        store.add_flow(flow, NOW).await.unwrap();
        let leaves = take(&store, Vec::new(), 50, &format!("a{round}")).await;
        let parents = take(&store, leaves.iter().map(done).collect(), 50, &format!("b{round}")).await;
        assert_eq!((leaves.len(), parents.len()), (50, 50));
        assert!(take(&store, parents.iter().map(done).collect(), 50, &format!("c{round}")).await.is_empty());
    }
    assert!(count("families") <= 50 && count("children") <= 50, "{} and {}", count("families"), count("children"));
}
