//! What is done to children and parents by hand and by retention.

use launchkit_queue::Keep;
use launchkit_queue::{Clock, Queue, RemoveError, Removed, Store};

use super::*;

/// By hand and in a sweep; where its parent stands does not change.
pub async fn a_retried_child_is_pending_again(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Ignore).await;
    end(&c, "a", dead(), at(1)).await;
    assert_eq!(c.edit(Edit::Retry(id("a"), Made::Keep), at(2)).await, Edited::Done);
    assert_eq!(known(&p, "p").await, (vec!["a Pending -".into(), "b Pending -".into()], 2));
    end(&c, "b", done(), at(3)).await;
    end(&c, "a", dead(), at(4)).await;
    assert_eq!(p.get("p").await.state, State::Waiting);
    assert_eq!(c.sweep(SweepWhat::RetryFailed(at(5)), 9, at(5)).await.done, [id("a")]);
    assert_eq!(c.edit(Edit::Retry(id("b"), Made::Keep), at(5)).await, Edited::Done);
    assert_eq!((known(&p, "p").await.1, p.get("p").await.state), (2, State::Waiting));
    end(&c, "a", Outcome::Done(json("2")), at(6)).await;
    assert_eq!(known(&p, "p").await, (vec!["a Completed 2".into(), "b Pending -".into()], 1));
}

/// By hand and by draining, from whatever state; the last one gone releases it.
pub async fn a_removed_child_is_waited_for_no_longer(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    assert_eq!(c.edit(Edit::Remove(id("a")), at(1)).await, Edited::Done);
    assert_eq!(known(&p, "p").await, (vec!["b Pending -".into()], 1));
    let before = p.newest().await;
    assert_eq!(c.sweep(SweepWhat::DrainWaiting, 9, at(2)).await.done, [id("b")]);
    assert_eq!((p.told(before).await, known(&p, "p").await), (vec!["waiting:p".to_owned()], (vec![], 0)));
}

/// One that failed without a policy, cleaned or pushed out by a later failure, holds its parent up no longer.
pub async fn a_failed_child_that_goes_releases_its_parent(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    end(&c, "a", dead(), at(1)).await;
    end(&c, "b", dead(), at(2)).await;
    assert_eq!(c.sweep(SweepWhat::Clean(State::Failed, at(1)), 9, at(3)).await.done, [id("a")]);
    assert_eq!(
        (known(&p, "p").await, p.get("p").await.state),
        ((vec!["b Pending boom".into()], 1), State::WaitingChildren)
    );
    let lock = c.hold("other", plain(), at(4)).await;
    assert_eq!(c.end_keeping(&lock, dead(), Keep::newest(1), at(5)).await, End::Applied);
    assert_eq!((c.find("b").await, p.get("p").await.state), (None, State::Waiting));
}

/// Removed or evicted: what they ended with is still known.
pub async fn results_outlive_their_children(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Ignore).await;
    end(&c, "a", done(), at(1)).await;
    let lock = c.one(at(2)).await.lock;
    assert_eq!(c.end_keeping(&lock, done(), Keep::newest(1), at(2)).await, End::Applied);
    assert_eq!((c.find("a").await, c.edit(Edit::Remove(id("b")), at(3)).await), (None, Edited::Done));
    assert_eq!(known(&p, "p").await, (vec!["a Completed 7".into(), "b Completed 7".into()], 0));
    // Another job under a child's id is none of its parent's business.
    c.finish("a", plain(), dead(), at(4)).await;
    assert_eq!((c.get("a").await.parent, known(&p, "p").await.0[0].as_str()), (None, "a Completed 7"));
}

/// It runs on alone; only what is waited for can be taken away.
pub async fn a_detached_child_is_nobodys(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::FailParent).await;
    end(&c, "a", done(), at(1)).await;
    assert_eq!(c.edit(Edit::Detach(id("a")), at(2)).await, Edited::NoParent);
    assert_eq!(c.edit(Edit::Detach(id("b")), at(2)).await, Edited::Done);
    assert_eq!((p.get("p").await.state, c.get("b").await.parent), (State::Waiting, None));
    for (text, answer) in [("b", Edited::NoParent), ("none", Edited::Missing)] {
        assert_eq!(c.edit(Edit::Detach(id(text)), at(3)).await, answer);
    }
    assert_eq!(p.edit(Edit::Detach(id("p")), at(3)).await, Edited::NoParent);
    end(&c, "b", dead(), at(4)).await;
    assert_eq!((p.one(at(5)).await.failed_already, known(&p, "p").await.0), (None, vec!["a Completed 7".to_owned()]));
}

/// They have no parent any more, and another job under its id does not become that.
pub async fn children_of_a_removed_parent_run_on(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::FailParent).await;
    assert_eq!(p.edit(Edit::Remove(id("p")), at(1)).await, Edited::Done);
    assert_eq!(c.get("a").await.parent, None);
    fresh(&p, vec![top(&p, "p", plain()), under(&c, "c", 0, ChildFailure::Wait)], at(2)).await;
    end(&c, "a", dead(), at(3)).await;
    assert_eq!(
        (known(&p, "p").await, p.get("p").await.state),
        ((vec!["c Pending -".into()], 1), State::WaitingChildren)
    );
    assert_eq!(
        flow(&p, vec![beneath(&c, "b", (&p, "p"), ChildFailure::Wait)], at(4)).await,
        Flowed::Added(vec![Added::Existing(id("b"))])
    );
    assert_eq!(known(&p, "p").await.1, 2);
}

/// All or nothing at first; from the top down.
pub async fn a_tree_is_removed_unless_a_worker_holds_any_of_it(h: &impl Harness) {
    let [x, y, z] = ["x", "y", "z"].map(|name| Given::queue(h, name));
    let wait = ChildFailure::Wait;
    let nodes = || {
        vec![
            top(&x, "root", plain()),
            under(&y, "mid", 0, wait),
            under(&z, "leaf", 1, wait),
            under(&z, "late", 1, wait),
        ]
    };
    fresh(&x, nodes(), T0).await;
    let queue = Queue::new(&Store::over(h.backend(), Clock::runtime(at(2))), "x").expect("a name");
    let lock = z.one(at(1)).await.lock;
    let refused = queue.remove_with_children(&id("root")).await.expect_err("refused");
    assert!(matches!(refused, RemoveError::Locked { id: held, .. } if held == id("leaf")));
    assert_eq!(x.counts().await.total() + y.counts().await.total() + z.counts().await.total(), 4);
    z.settle(&lock, done(), at(2)).await;
    let removed = queue.remove_with_children(&id("root")).await.expect("removed");
    assert_eq!(removed, Removed { removed: 4, held: 0 });
    assert_eq!(x.counts().await.total() + y.counts().await.total() + z.counts().await.total(), 0);
    assert_eq!(y.events().await, ["added:mid", "waiting-children:mid", "removed:mid"]);
    assert!(matches!(queue.remove_with_children(&id("root")).await, Err(RemoveError::Missing)));
}

/// What runs or has failed stays; the last one that goes releases the parent.
pub async fn children_that_have_not_begun_are_removed(h: &impl Harness) {
    let (p, c) = queues(h);
    let wait = ChildFailure::Wait;
    let texts = ["ended", "broken", "held", "left"];
    let children = texts.map(|text| under(&c, text, 0, wait));
    fresh(&p, [top(&p, "p", plain())].into_iter().chain(children).collect(), T0).await;
    end(&c, "ended", done(), at(1)).await;
    end(&c, "broken", dead(), at(1)).await;
    let held = c.one(at(1)).await.lock;
    let queue = Queue::new(&Store::over(h.backend(), Clock::runtime(at(2))), "reports").expect("a name");
    let removed = queue.remove_unprocessed_children(&id("p")).await.expect("removed");
    assert_eq!((removed, c.counts().await.total()), (Removed { removed: 1, held: 1 }, 3));
    c.settle(&held, done(), at(3)).await;
    assert_eq!(known(&p, "p").await.1, 1, "the failed one");
    assert_eq!(c.edit(Edit::Remove(id("broken")), at(4)).await, Edited::Done);
    assert_eq!(p.take_ids(1, at(5)).await, ["p"]);
}
