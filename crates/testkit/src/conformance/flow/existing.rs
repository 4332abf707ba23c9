//! Flows over jobs that are there already.

use super::*;

fn existing(texts: &[&str]) -> Flowed {
    Flowed::Added(texts.iter().map(|text| Added::Existing(id(text))).collect())
}

fn refused(node: usize, why: Refusal) -> Flowed {
    Flowed::Refused(Refused { node, why })
}

/// Whatever state it is in: one that has ended counts at once, by its policy.
pub async fn a_job_that_is_there_becomes_a_child(h: &impl Harness) {
    let (p, c) = queues(h);
    c.finish("ended", plain(), done(), T0).await;
    c.finish("broken", plain(), dead(), T0).await;
    c.waiting(&["ready"], T0).await;
    let nodes = vec![
        top(&p, "p", plain()),
        under(&c, "ended", 0, ChildFailure::Wait),
        under(&c, "broken", 0, ChildFailure::Ignore),
        under(&c, "ready", 0, ChildFailure::Wait),
    ];
    let before = c.newest().await;
    let Flowed::Added(added) = flow(&p, nodes, at(1)).await else { panic!("added") };
    assert_eq!((&added[0], &added[3]), (&Added::New(id("p")), &Added::Existing(id("ready"))));
    assert_eq!(c.told(before).await, ["duplicated:ended", "duplicated:broken", "duplicated:ready"]);
    let known_so = ["ended Completed 7", "broken Ignored boom", "ready Pending -"].map(String::from).to_vec();
    assert_eq!((known(&p, "p").await, p.get("p").await.state), ((known_so, 1), State::WaitingChildren));
    end(&c, "ready", done(), at(2)).await;
    assert_eq!(p.take_ids(1, at(3)).await, ["p"]);
    // All of them ended: nothing to wait for. One that failed fails its parent, too.
    c.finish("done", plain(), done(), at(4)).await;
    c.finish("bad", plain(), dead(), at(4)).await;
    for (parent, child) in [("q", "done"), ("r", "bad")] {
        flow(&p, vec![top(&p, parent, plain()), under(&c, child, 0, ChildFailure::FailParent)], at(5)).await;
    }
    let doomed = p.take(9, at(6)).await;
    assert_eq!(ids(&doomed), ["r", "q"]);
    assert_eq!((doomed[0].failed_already.is_some(), doomed[1].failed_already.is_some()), (true, false));
}

/// While that parent is there; its children are free when it is gone.
pub async fn a_child_of_another_parent_is_refused_with_its_flow(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    let other =
        || vec![top(&p, "q", plain()), under(&c, "new", 0, ChildFailure::Wait), under(&c, "a", 0, ChildFailure::Wait)];
    let before = (p.newest().await, c.newest().await, p.counts().await, c.counts().await);
    assert_eq!(flow(&p, other(), at(1)).await, refused(2, Refusal::OtherParent));
    assert_eq!((p.newest().await, c.newest().await, p.counts().await, c.counts().await), before);
    assert_eq!(p.edit(Edit::Remove(id("p")), at(2)).await, Edited::Done);
    assert!(matches!(flow(&p, other(), at(3)).await, Flowed::Added(_)));
    assert_eq!(known(&p, "q").await.1, 2);
}

/// A lost answer can be asked for again, as long as its parents have not ended.
pub async fn a_flow_added_twice_is_there_once(h: &impl Harness) {
    let (p, c) = queues(h);
    let nodes =
        || vec![top(&p, "p", plain()), under(&c, "a", 0, ChildFailure::Wait), under(&c, "b", 0, ChildFailure::Wait)];
    fresh(&p, nodes(), T0).await;
    end(&c, "a", done(), at(1)).await;
    assert_eq!(flow(&p, nodes(), at(2)).await, existing(&["p", "a", "b"]));
    assert_eq!(known(&p, "p").await, (vec!["a Completed 7".into(), "b Pending -".into()], 1));
    end(&c, "b", done(), at(3)).await;
    end(&p, "p", done(), at(4)).await;
    assert_eq!(flow(&p, nodes(), at(5)).await, refused(0, Refusal::ParentEnded(State::Completed)));
}

/// Added later, by whomever: while it waits, runs, or is ready.
pub async fn a_parent_gets_more_children(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    fresh(&p, vec![beneath(&c, "c", (&p, "p"), ChildFailure::Wait)], at(1)).await;
    for text in ["a", "b"] {
        end(&c, text, done(), at(2)).await;
    }
    assert_eq!(p.get("p").await.state, State::WaitingChildren);
    end(&c, "c", done(), at(3)).await;
    fresh(&p, vec![beneath(&c, "d", (&p, "p"), ChildFailure::Wait)], at(4)).await;
    assert_eq!((p.get("p").await.state, known(&p, "p").await.1), (State::Waiting, 1));
    let none = flow(&p, vec![beneath(&c, "e", (&p, "none"), ChildFailure::Wait)], at(5)).await;
    assert_eq!((none, c.find("e").await), (refused(0, Refusal::ParentMissing), None));
}

/// Nobody would wait for them: the flow is refused, and nothing is changed.
pub async fn children_of_an_ended_parent_are_refused(h: &impl Harness) {
    let (p, c) = queues(h);
    p.finish("c", plain(), done(), T0).await;
    p.finish("f", plain(), dead(), T0).await;
    for (parent, state) in [("c", State::Completed), ("f", State::Failed)] {
        let ended = refused(0, Refusal::ParentEnded(state));
        assert_eq!(flow(&p, vec![beneath(&c, "x", (&p, parent), ChildFailure::Wait)], at(1)).await, ended);
        let again = vec![top(&p, parent, plain()), under(&c, "x", 0, ChildFailure::Wait)];
        assert_eq!(flow(&p, again, at(1)).await, ended);
    }
    assert_eq!(p.backend.queues().await.expect("queues"), std::slice::from_ref(&p.queue));
}

/// Directly, or over others that are there.
pub async fn a_job_never_waits_for_itself(h: &impl Harness) {
    let q = Given::on(h);
    let wait = ChildFailure::Wait;
    fresh(&q, vec![top(&q, "x", plain()), under(&q, "y", 0, wait), under(&q, "z", 1, wait)], T0).await;
    for text in ["x", "y", "z"] {
        // `x` is to wait for a new job that waits for one below `x`.
        let nodes = vec![beneath(&q, "new", (&q, text), wait), under(&q, "x", 0, wait)];
        assert_eq!(flow(&q, nodes, at(1)).await, refused(1, Refusal::Circle), "{text}");
    }
    let itself = vec![beneath(&q, "x", (&q, "x"), wait)];
    assert_eq!(flow(&q, itself, at(1)).await, refused(0, Refusal::Circle));
    assert_eq!((q.counts().await.total(), known(&q, "z").await.1), (3, 0));
}
