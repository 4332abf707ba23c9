//! Flows: parents wait for their children, whatever becomes of those.

use launchkit_queue::backend::*;
use launchkit_queue::{ChildFailure, FailureKind, JobOptions, Outcome, ParentRef, Payload, State, Timestamp};

use crate::Harness;
use crate::given::*;

mod bounds;
mod edits;
mod existing;
mod handlers;
mod kills;
mod policies;
pub use bounds::*;
pub use edits::*;
pub use existing::*;
pub use handlers::*;
pub use kills::*;
pub use policies::*;

/// The queue of the parents, and that of their children.
fn queues(h: &impl Harness) -> (Given, Given) {
    (Given::queue(h, "reports"), Given::queue(h, "texts"))
}

/// A job of a flow that nobody waits for.
fn top(q: &Given, text: &str, options: JobOptions) -> Node {
    Node { queue: q.queue.clone(), job: named(text, options), parent: None }
}

/// A job of a flow under the one at this index.
fn under(q: &Given, text: &str, parent: usize, on_failure: ChildFailure) -> Node {
    let parent = Some(Under { parent: Parent::Node(parent), on_failure });
    Node { queue: q.queue.clone(), job: named(text, plain()), parent }
}

/// A job of a flow under one that is stored.
fn beneath(q: &Given, text: &str, (of, parent): (&Given, &str), on_failure: ChildFailure) -> Node {
    let parent = Some(Under { parent: Parent::Job(of.queue.clone(), id(parent)), on_failure });
    Node { queue: q.queue.clone(), job: named(text, plain()), parent }
}

async fn flow(q: &Given, nodes: Vec<Node>, now: Timestamp) -> Flowed {
    q.backend.add_flow(AddFlow { nodes }, now).await.expect("add_flow")
}

/// Adds a flow that must be new as a whole.
async fn fresh(q: &Given, nodes: Vec<Node>, now: Timestamp) {
    match flow(q, nodes, now).await {
        Flowed::Added(added) => assert!(added.iter().all(|added| matches!(added, Added::New(_))), "{added:?}"),
        refused => panic!("{refused:?}"),
    }
}

/// A parent `p` of children `a` and `b`, all failing by one policy.
async fn family(h: &impl Harness, on_failure: ChildFailure) -> (Given, Given) {
    let (p, c) = queues(h);
    fresh(&p, vec![top(&p, "p", plain()), under(&c, "a", 0, on_failure), under(&c, "b", 0, on_failure)], T0).await;
    (p, c)
}

/// What a parent knows of its children, as `id state value`.
async fn known(q: &Given, parent: &str) -> (Vec<String>, u32) {
    let page = q.backend.children(&q.queue, &id(parent), 0, MAX_READ).await.expect("children");
    let brief = |child: &Child| {
        let value = child.result.as_ref().map(Payload::as_str).or(child.reason.as_deref()).unwrap_or("-");
        format!("{} {:?} {value}", child.id, child.state)
    };
    (page.children.iter().map(brief).collect(), page.pending)
}

/// Ends the job whose turn it is.
async fn end(q: &Given, text: &str, outcome: Outcome, now: Timestamp) {
    let held = q.one(now).await;
    assert_eq!(held.lock.id.as_str(), text, "is next to be taken");
    q.settle(&held.lock, outcome, now).await;
}

/// Parents wait from the beginning, leaves are ready; each is told like any other job, and children name their parent.
pub async fn parents_wait_while_leaves_are_ready(h: &impl Harness) {
    let (p, c) = queues(h);
    let auto =
        Node { queue: c.queue.clone(), job: job(plain()), parent: under(&c, "x", 0, ChildFailure::Ignore).parent };
    let nodes = vec![top(&p, "p", plain()), under(&c, "a", 0, ChildFailure::Wait), auto, top(&p, "alone", plain())];
    let new = |text: &str| Added::New(id(text));
    assert_eq!(flow(&p, nodes, T0).await, Flowed::Added(vec![new("p"), new("a"), new("2"), new("alone")]));
    assert_eq!(p.events().await, ["added:p", "waiting-children:p", "added:alone", "waiting:alone"]);
    assert_eq!(c.events().await, ["added:a", "waiting:a", "added:2", "waiting:2"]);
    assert_eq!(p.list(State::WaitingChildren).await, ["p"]);
    assert_eq!((p.get("p").await.state, p.counts().await.waiting_children), (State::WaitingChildren, 1));
    assert_eq!(
        (p.take_ids(9, at(1)).await, c.list(State::Waiting).await),
        (vec!["alone".into()], vec!["a".into(), "2".into()])
    );
    let parent = ParentRef { queue: p.queue.clone(), id: id("p"), on_failure: ChildFailure::Ignore };
    assert_eq!((c.get("2").await.parent, p.get("p").await.parent), (Some(parent), None));
    assert_eq!(known(&p, "p").await, (vec!["a Pending -".into(), "2 Pending -".into()], 2));
    assert_eq!(known(&c, "a").await, (vec![], 0));
}

/// In front of its class, whatever waits there; it sees what they answered, in the order in which they were added.
pub async fn the_last_child_releases_its_parent_in_front(h: &impl Harness) {
    for options in [plain(), priority(3)] {
        let (p, c) =
            (Given::queue(h, &format!("p{}", options.priority)), Given::queue(h, &format!("c{}", options.priority)));
        p.add(vec![named("before", options.clone())], T0).await;
        let nodes = vec![
            top(&p, "p", options.clone()),
            under(&c, "a", 0, ChildFailure::Wait),
            under(&c, "b", 0, ChildFailure::Wait),
        ];
        fresh(&p, nodes, T0).await;
        let held = c.take(2, at(1)).await;
        c.settle(&held[1].lock, Outcome::Done(json("\"second\"")), at(2)).await;
        assert_eq!(p.get("p").await.state, State::WaitingChildren);
        let before = p.newest().await;
        c.settle(&held[0].lock, done(), at(3)).await;
        assert_eq!(p.told(before).await, ["waiting:p"]);
        assert_eq!(p.get("p").await.since, at(3));
        assert_eq!(p.take_ids(9, at(4)).await, ["p", "before"]);
        assert_eq!(known(&p, "p").await, (vec!["a Completed 7".into(), "b Completed \"second\"".into()], 0));
    }
}

/// One trip ends the child and takes its parent; the queue is not drained by that.
pub async fn a_parent_of_the_same_queue_is_taken_in_the_turn_of_its_last_child(h: &impl Harness) {
    let q = Given::on(h);
    fresh(&q, vec![top(&q, "p", plain()), under(&q, "a", 0, ChildFailure::Wait)], T0).await;
    let a = q.one(at(1)).await.lock;
    let before = q.newest().await;
    let turned = q.turn(vec![verdict(&a, done())], Some(q.wish(1)), at(2)).await;
    assert_eq!((turned.ends, ids(&turned.held)), (vec![End::Applied], vec!["p".to_owned()]));
    assert_eq!(q.told(before).await, ["completed:a", "waiting:p", "active:p"]);
    q.settle(&turned.held[0].lock, done(), at(3)).await;
    assert_eq!(q.told(before).await[3..], ["completed:p", "drained"]);
}

/// Its delay begins when its children are done.
pub async fn a_parent_with_a_delay_is_delayed_from_its_release(h: &impl Harness) {
    let (p, c) = queues(h);
    fresh(&p, vec![top(&p, "p", delay(100)), under(&c, "a", 0, ChildFailure::Wait)], T0).await;
    end(&c, "a", done(), at(50)).await;
    assert_eq!(p.events().await, ["added:p", "waiting-children:p", "delayed:p"]);
    assert_eq!((p.get("p").await.due, p.take_ids(1, at(149)).await), (Some(at(150)), vec![]));
    assert_eq!(p.take_ids(1, at(150)).await, ["p"]);
}

/// Whoever waits for work of the parent's queue hears of it, though the end was in another one.
pub async fn a_release_wakes_a_waiter_of_the_parents_queue(h: &impl Harness) {
    let (p, c) = queues(h);
    fresh(&p, vec![top(&p, "p", plain()), under(&c, "a", 0, ChildFailure::Wait)], T0).await;
    p.backend.wait(&p.queue, std::time::Duration::ZERO).await.expect("wait");
    let long = std::time::Duration::from_secs(60);
    let wait = tokio::time::timeout(long / 2, p.backend.wait(&p.queue, long));
    let (woken, ()) = tokio::join!(wait, end(&c, "a", done(), at(1)));
    woken.expect("is woken").expect("wait");
    assert_eq!(p.take_ids(1, at(2)).await, ["p"]);
}

/// Three levels in three queues: each runs when those below it have.
pub async fn a_tree_over_three_queues_runs_from_its_leaves_up(h: &impl Harness) {
    let [x, y, z] = ["x", "y", "z"].map(|name| Given::queue(h, name));
    let wait = ChildFailure::Wait;
    let nodes = vec![
        top(&x, "root", plain()),
        under(&y, "left", 0, wait),
        under(&z, "l1", 1, wait),
        under(&z, "l2", 1, wait),
        under(&y, "right", 0, wait),
        under(&z, "r1", 4, wait),
    ];
    fresh(&x, nodes, T0).await;
    assert_eq!(
        (y.list(State::WaitingChildren).await, y.take_ids(9, at(1)).await),
        (vec!["left".into(), "right".into()], vec![])
    );
    for (text, ready) in [("l1", vec![]), ("l2", vec!["left"]), ("r1", vec!["right", "left"])] {
        end(&z, text, done(), at(2)).await;
        assert_eq!(y.list(State::Waiting).await, ready);
    }
    end(&y, "right", Outcome::Done(json("1")), at(3)).await;
    assert_eq!(x.list(State::Waiting).await, Vec::<String>::new());
    end(&y, "left", Outcome::Done(json("2")), at(3)).await;
    assert_eq!(known(&x, "root").await, (vec!["left Completed 2".into(), "right Completed 1".into()], 0));
    end(&x, "root", done(), at(4)).await;
}

/// What was answered of a flow, pending and ended, is there after a restart.
pub async fn flows_are_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let (p, c) = family(&h, ChildFailure::FailParent).await;
    end(&c, "a", done(), at(1)).await;
    let Some(h) = h.reopen().await else { return };
    let (p, c) = (Given::over(h.backend(), p.queue), Given::over(h.backend(), c.queue));
    assert_eq!(known(&p, "p").await, (vec!["a Completed 7".into(), "b Pending -".into()], 1));
    end(&c, "b", dead(), at(2)).await;
    let Some(h) = h.reopen().await else { return };
    let p = Given::over(h.backend(), p.queue);
    let held = p.one(at(3)).await;
    assert_eq!(held.failed_already.map(|why| why.kind), Some(FailureKind::Child));
}
