//! What no flow may be.

use launchkit_queue::{Clock, Dedup, Flow, FlowError, Happened, Queue, Store, StoreError};

use super::*;

/// Whole, and handed back: 10,001 jobs, a child before its parent, a job twice, a deduplication id.
pub async fn flows_out_of_bounds_are_refused_and_handed_back(h: &impl Harness) {
    let (p, c) = queues(h);
    let many = (0..=MAX_ADD).map(|n| top(&p, &format!("n{n}"), plain())).collect();
    let early = vec![under(&c, "a", 1, ChildFailure::Wait), top(&p, "p", plain())];
    let twice =
        vec![top(&p, "p", plain()), under(&c, "a", 0, ChildFailure::Wait), under(&c, "a", 0, ChildFailure::Wait)];
    let dedup = || JobOptions { deduplication: Some(Dedup::simple("d")), ..plain() };
    let parent = vec![top(&p, "p", dedup()), under(&c, "a", 0, ChildFailure::Wait)];
    let child = Node { job: named("a", dedup()), ..under(&c, "a", 0, ChildFailure::Wait) };
    for nodes in [many, early, twice, parent, vec![top(&p, "p", plain()), child]] {
        let count = nodes.len();
        let failed = p.backend.add_flow(AddFlow { nodes }, T0).await.expect_err("refused");
        assert!(matches!(failed.why, StoreError::OutOfBounds(_)));
        assert_eq!((failed.happened, failed.input.nodes.len()), (Happened::No, count));
    }
    assert_eq!(p.backend.queues().await.expect("queues"), []);
}

/// At 10,000 it is full, whatever has become of them.
pub async fn a_parent_has_at_most_ten_thousand_children(h: &impl Harness) {
    let (p, c) = queues(h);
    let wait = ChildFailure::Wait;
    fresh(&p, vec![top(&p, "p", plain()), under(&c, "first", 0, wait)], T0).await;
    let more = |from: usize, count: usize| {
        (from..from + count).map(|n| beneath(&c, &format!("c{n}"), (&p, "p"), wait)).collect()
    };
    fresh(&p, more(0, MAX_CHILDREN - 1), at(1)).await;
    end(&c, "first", done(), at(2)).await;
    let full = Flowed::Refused(Refused { node: 0, why: Refusal::TooManyChildren });
    assert_eq!(flow(&p, more(MAX_CHILDREN, 1), at(3)).await, full);
    assert_eq!(known(&p, "p").await.1, 9_999);
    // It goes in one step, and its children go on.
    assert_eq!(p.edit(Edit::Remove(id("p")), at(4)).await, Edited::Done);
    assert_eq!((c.get("c9").await.parent, c.counts().await.waiting), (None, 9_999));
}

/// In the order in which they were added.
pub async fn children_are_read_in_pages(h: &impl Harness) {
    let (p, c) = queues(h);
    let children = (0..25).map(|n| under(&c, &format!("c{n}"), 0, ChildFailure::Wait));
    fresh(&p, [top(&p, "p", plain())].into_iter().chain(children).collect(), T0).await;
    for most in [1, 7, 25] {
        let (mut seen, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = p.backend.children(&p.queue, &id("p"), from, most).await.expect("children");
            assert_eq!(page.pending, 25);
            seen.extend(page.children.into_iter().map(|child| child.id.to_string()));
            after = page.next;
        }
        assert_eq!(seen, (0..25).map(|n| format!("c{n}")).collect::<Vec<_>>());
    }
    assert!(p.backend.children(&p.queue, &id("p"), 0, MAX_READ + 1).await.is_err());
}

/// Through [`Queue`]: errors that say what is wrong, and nothing is added.
pub async fn unfit_flows_are_refused_by_name(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    let store = Store::over(h.backend(), Clock::runtime(at(1)));
    let [reports, texts] = ["reports", "texts"].map(|name| Queue::new(&store, name).expect("a name"));
    let leaf = |text: &str| Flow::named(&texts, "n", &1).id(text);
    let refused = async |flow: Flow| reports.add_flow(flow).await.expect_err("refused");
    let root = || Flow::named(&reports, "n", &1).id("q");
    assert!(matches!(refused(root().child(leaf("7"))).await, FlowError::Job(_)));
    assert!(
        matches!(refused(root().child(leaf("x")).child(leaf("x"))).await, FlowError::Twice { id: twice, .. } if twice == id("x"))
    );
    let dedup = JobOptions { deduplication: Some(Dedup::simple("d")), ..plain() };
    assert!(matches!(refused(root().child(leaf("x").options(dedup))).await, FlowError::Deduplicated));
    let elsewhere = Queue::new(&Store::memory(), "texts").expect("a name");
    assert!(matches!(refused(root().child(Flow::named(&elsewhere, "n", &1))).await, FlowError::OtherStore));
    match refused(root().child(leaf("x")).child(leaf("a"))).await {
        FlowError::Refused { queue, id: Some(named), why: Refusal::OtherParent } => {
            assert_eq!((queue, named), (c.queue.clone(), id("a")))
        }
        other => panic!("{other}"),
    }
    assert_eq!((p.counts().await.total(), c.counts().await.total()), (1, 2));
}

/// It is a job like any other then; in a tree of two the id is refused.
pub async fn a_flow_of_one_job_may_be_deduplicated(h: &impl Harness) {
    let store = Store::over(h.backend(), Clock::runtime(T0));
    let queue = Queue::new(&store, "texts").expect("a queue name");
    let one = || {
        let options = JobOptions { deduplication: Some(Dedup::simple("d")), ..plain() };
        Flow::named(&queue, "text", &1).options(options)
    };
    let first = queue.add_flow(one()).await.expect("added");
    let second = queue.add_flow(one()).await.expect("answered");
    assert_eq!((first, second), (vec![Added::New(id("1"))], vec![Added::Deduplicated(id("1"))]));
    let two = queue.add_flow(one().child(Flow::named(&queue, "text", &2))).await;
    assert!(matches!(two, Err(FlowError::Deduplicated)), "{two:?}");
    assert_eq!(queue.counts().await.expect("counts").total(), 1);
}
