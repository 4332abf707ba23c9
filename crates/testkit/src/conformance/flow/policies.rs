//! What a child's final failure means for its parent.

use launchkit_queue::{Failure, Why, explain};

use super::*;

/// The parent waits, and whoever asks is told for whom, and what can be done.
pub async fn a_failed_child_without_a_policy_is_named(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    let why =
        async || explain(&p.backend.facts(&p.queue, &id("p"), at(9)).await.expect("facts"), at(9)).reasons.remove(0);
    assert_eq!((why().await.code, why().await.message), (Why::WaitingForChildren, "It waits for 2 children.".into()));
    let held = c.take(2, at(1)).await;
    c.settle(&held[1].lock, dead(), at(2)).await;
    assert_eq!(known(&p, "p").await, (vec!["a Pending -".into(), "b Pending boom".into()], 2));
    let message = why().await.message;
    assert!(message.starts_with("Its child texts:b failed, and nothing says"), "{message}");
    assert_eq!(why().await.details["children"], serde_json::json!(["texts:b", "texts:a"]));
    c.settle(&held[0].lock, done(), at(3)).await;
    assert_eq!(p.get("p").await.state, State::WaitingChildren);
    assert_eq!(c.edit(Edit::Retry(id("b"), Made::Keep), at(4)).await, Edited::Done);
    assert_eq!(why().await.message, "It waits for its child texts:b.");
    end(&c, "b", done(), at(5)).await;
    assert_eq!(p.take_ids(1, at(6)).await, ["p"]);
}

/// Its next taker fails it, and that is the failure of a child for whoever waits for it.
pub async fn a_failed_child_fails_its_parent_and_that_its_own(h: &impl Harness) {
    let [x, y, z] = ["x", "y", "z"].map(|name| Given::queue(h, name));
    let fail = ChildFailure::FailParent;
    let nodes = vec![
        top(&x, "root", plain()),
        under(&y, "mid", 0, fail),
        under(&z, "leaf", 1, fail),
        under(&z, "late", 1, fail),
    ];
    fresh(&x, nodes, T0).await;
    end(&z, "leaf", dead(), at(1)).await;
    assert_eq!((known(&y, "mid").await.1, x.get("root").await.state), (1, State::WaitingChildren));
    for (q, text, why) in [(&y, "mid", "child z:leaf failed"), (&x, "root", "child y:mid failed")] {
        let held = q.one(at(2)).await;
        let failure = held.failed_already.expect("it is to be failed");
        assert_eq!(failure, Failure::new(FailureKind::Child, why));
        q.settle(&held.lock, Outcome::Dead(failure), at(3)).await;
        assert_eq!(q.get(text).await.failure.expect("a failure").kind, FailureKind::Child);
    }
    let found = known(&x, "root").await;
    assert_eq!(found, (vec!["mid Failed child z:leaf failed".into()], 0));
    // Retried by hand, a parent runs as usual; the other child goes on as before.
    assert_eq!(y.edit(Edit::Retry(id("mid"), Made::Keep), at(4)).await, Edited::Done);
    assert_eq!(y.one(at(5)).await.failed_already, None);
    end(&z, "late", done(), at(6)).await;
}

/// Neither other children nor its delay hold it back: waiting or delayed, it is failed at once.
pub async fn failing_a_parent_waits_for_nothing(h: &impl Harness) {
    let (p, c) = queues(h);
    let nodes = |n: usize| {
        let fail = ChildFailure::FailParent;
        let parent = top(&p, &format!("p{n}"), delay(60_000));
        vec![parent, under(&c, &format!("a{n}"), 0, fail), under(&c, &format!("b{n}"), 0, fail)]
    };
    fresh(&p, nodes(1), T0).await;
    end(&c, "a1", dead(), at(1)).await;
    assert!(p.one(at(1)).await.failed_already.is_some());
    c.one(at(2)).await;
    fresh(&p, nodes(2), at(3)).await;
    end(&c, "a2", done(), at(4)).await;
    let b = c.one(at(5)).await.lock;
    c.settle(&b, done(), at(5)).await;
    assert_eq!(p.get("p2").await.state, State::Delayed);
    assert_eq!(c.edit(Edit::Retry(id("b2"), Made::Keep), at(6)).await, Edited::Done);
    assert_eq!((p.get("p2").await.state, known(&p, "p2").await.1), (State::Delayed, 1));
    let before = p.newest().await;
    end(&c, "b2", dead(), at(7)).await;
    assert_eq!((p.told(before).await, p.get("p2").await.due), (vec!["waiting:p2".to_owned()], None));
    assert!(p.one(at(7)).await.failed_already.is_some());
}

/// At once, whatever other children are pending; their results still come.
pub async fn a_parent_can_go_on_without_its_children(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::ContinueParent).await;
    end(&c, "a", dead(), at(1)).await;
    let held = p.one(at(2)).await;
    assert_eq!(
        (held.failed_already, known(&p, "p").await),
        (None, (vec!["a Failed boom".into(), "b Pending -".into()], 1))
    );
    end(&c, "b", done(), at(3)).await;
    assert_eq!(known(&p, "p").await, (vec!["a Failed boom".into(), "b Completed 7".into()], 0));
    p.settle(&held.lock, done(), at(4)).await;
}

/// The reason stays with the parent.
pub async fn an_ignored_failure_counts_as_done(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Ignore).await;
    end(&c, "a", dead(), at(1)).await;
    assert_eq!(p.get("p").await.state, State::WaitingChildren);
    end(&c, "b", done(), at(2)).await;
    assert_eq!(known(&p, "p").await, (vec!["a Ignored boom".into(), "b Completed 7".into()], 0));
    assert_eq!(p.one(at(3)).await.failed_already, None);
}

/// Nothing of it stays with the parent.
pub async fn a_removed_failure_leaves_no_trace(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Remove).await;
    end(&c, "a", dead(), at(1)).await;
    assert_eq!(known(&p, "p").await, (vec!["b Pending -".into()], 1));
    end(&c, "b", dead(), at(2)).await;
    assert_eq!((known(&p, "p").await, p.take_ids(1, at(3)).await), ((vec![], 0), vec!["p".to_owned()]));
}

/// Only an end counts.
pub async fn an_attempt_that_will_be_tried_again_tells_no_parent(h: &impl Harness) {
    for on_failure in [ChildFailure::FailParent, ChildFailure::Remove] {
        let (p, c) = (Given::queue(h, &format!("p{on_failure:?}")), Given::queue(h, &format!("c{on_failure:?}")));
        fresh(&p, vec![top(&p, "p", plain()), under(&c, "a", 0, on_failure)], T0).await;
        for outcome in [retry(at(1)), Outcome::Later(at(1)), Outcome::Back] {
            end(&c, "a", outcome, at(1)).await;
            assert_eq!((known(&p, "p").await.1, p.get("p").await.state), (1, State::WaitingChildren));
        }
    }
}

/// What is not kept was heard of all the same; a failure that nothing is said about holds nobody up once it is gone.
pub async fn a_child_that_is_not_kept_counts_all_the_same(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    for (outcome, n) in [(done(), 1), (dead(), 2)] {
        let lock = c.one(at(n)).await.lock;
        assert_eq!(c.end_keeping(&lock, outcome, launchkit_queue::Keep::NONE, at(n)).await, End::Applied);
    }
    assert_eq!((c.counts().await.total(), known(&p, "p").await), (0, (vec!["a Completed 7".into()], 0)));
    assert_eq!(p.take_ids(1, at(3)).await, ["p"]);
}
