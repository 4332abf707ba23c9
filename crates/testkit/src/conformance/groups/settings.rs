//! What is set, read, refused and explained.

use launchkit_queue::{AddError, BadOptions, Queue, Rate, Store, StoreError, Why, explain};
use serde_json::json;

use super::*;

/// Ready and active ones; pages by id.
pub async fn groups_are_read_in_pages_with_their_counts(h: &impl Harness) {
    let q = Given::on(h);
    let page = async |after: Option<&str>, most| {
        let wanted = GroupsWanted::After(after.map(Group::new));
        let found = q.backend.groups(&q.queue, &wanted, most).await.expect("groups");
        found.iter().map(|group| (group.id.to_string(), group.waiting, group.active)).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9).await, []);
    for (group, count) in [("c", 1), ("a", 3), ("é", 2)] {
        fill(&q, group, count, T0).await;
    }
    assert_eq!(q.take_ids(2, at(1)).await, ["c1", "a1"]);
    let all = [("a".to_owned(), 2, 1), ("c".to_owned(), 0, 1), ("é".to_owned(), 2, 0)];
    assert_eq!(page(None, 9).await, all);
    assert_eq!([page(None, 2).await, page(Some("c"), 2).await].concat(), all);
    let wanted = GroupsWanted::Ids(["é", "nobody", "a"].map(Group::new).to_vec());
    let found = q.backend.groups(&q.queue, &wanted, 3).await.expect("groups");
    assert_eq!(found.iter().map(|group| group.id.as_str()).collect::<Vec<_>>(), ["é", "a"]);
    let refused = q.backend.groups(&q.queue, &GroupsWanted::After(None), MAX_READ + 1).await;
    assert!(matches!(refused, Err(StoreError::OutOfBounds(_))));
}

/// Ids, weights, rates; nothing is added or set. Through `Queue` and its `groups`.
pub async fn unfit_groups_are_refused(h: &impl Harness) {
    let store = Store::over(h.backend(), launchkit_queue::Clock::runtime(T0));
    let queue = Queue::new(&store, "cases").expect("a name");
    let long = "x".repeat(256);
    for bad in ["", "a\n", &long] {
        let refused = queue.add_named("n", 1).group(bad).await;
        assert!(matches!(refused, Err(AddError::Options(BadOptions::Group(_)))), "{bad:?}: {refused:?}");
        assert!(matches!(queue.groups().pause(bad).await, Err(StoreError::OutOfBounds(_))), "{bad:?}");
    }
    let refused = queue.add_named("n", 1).group("a").priority(1).await;
    assert!(matches!(refused, Err(AddError::Options(BadOptions::GroupPriority))), "{refused:?}");
    let never = Rate { max: NonZeroU32::MIN, per: Duration::ZERO };
    let settings = [
        GroupSettings { weight: 0, ..GroupSettings::default() },
        GroupSettings { weight: MAX_WEIGHT + 1, ..GroupSettings::default() },
        GroupSettings { rate: Some(never), ..GroupSettings::default() },
    ];
    for settings in settings {
        assert!(matches!(queue.groups().set("a", settings).await, Err(StoreError::OutOfBounds(_))), "{settings:?}");
    }
    let defaults = GroupDefaults { rate: Some(never), ..GroupDefaults::default() };
    assert!(matches!(queue.groups().set_defaults(defaults).await, Err(StoreError::OutOfBounds(_))));
    assert_eq!((queue.groups().count().await.expect("count"), queue.counts().await.expect("counts").total()), (0, 0));
    queue.add_named("n", 1).group("a:b ü").await.expect("a colon is allowed");
    queue
        .groups()
        .set(&*"x".repeat(255), GroupSettings { weight: MAX_WEIGHT, ..GroupSettings::default() })
        .await
        .expect("set");
    assert_eq!(queue.groups().count().await.expect("count"), 2);
}

/// Settings, windows, turns, counts and lines.
pub async fn groups_are_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    fill(&q, "a", 4, T0).await;
    fill(&q, "b", 4, T0).await;
    let rate = Some(Rate { max: NonZeroU32::MIN, per: Duration::from_secs(1) });
    let settings = GroupSettings { weight: 7, concurrency: NonZeroU32::new(9), rate };
    order(&q, "a", GroupControl::Set(settings), T0).await;
    order(&q, "p", GroupControl::Pause, T0).await;
    let defaults = GroupDefaults { concurrency: NonZeroU32::new(2), rate: None };
    q.backend.control(&q.queue, Control::GroupDefaults(defaults), T0).await.expect("control");
    assert_eq!(q.take_ids(2, at(1)).await, ["a1", "b1"]);
    let all = async |q: &Given| {
        let told = q.backend.info(&q.queue, at(1)).await.expect("info");
        let found = q.backend.groups(&q.queue, &GroupsWanted::After(None), 9).await.expect("groups");
        (found, told.groups, told.group_defaults)
    };
    let before = all(&q).await;
    assert_eq!((before.0.len(), before.0[0].settings, before.2), (3, settings, defaults));
    let durable = h.backend().promises().durable;
    let Some(h) = h.reopen().await else {
        return assert_eq!(durable, Durable::Process);
    };
    let q = Given::on(&h);
    assert_eq!(all(&q).await, before);
    assert_eq!(take(&q, 9, at(2)).await, (vec!["b2".into()], Next::Limited(at(1_001))));
    assert_eq!(take(&q, 9, at(1_001)).await, (vec!["a2".into()], Next::Limited(at(2_001))));
    crate::invariants::check(&*h.backend()).await;
}

/// Paused, full, limited, or behind others of its group; the queue's own reasons go before.
pub async fn a_job_of_a_group_is_explained(h: &impl Harness) {
    let q = Given::on(h);
    let beat = Beat { queue: q.queue.clone(), worker: worker("w"), locks: Vec::new(), lock_for: LOCK };
    q.backend.beat(beat, T0).await.expect("beat");
    let why = async |job: &str, now: Timestamp| {
        let explained = explain(&q.backend.facts(&q.queue, &id(job), now).await.expect("facts"), now);
        explained
            .reasons
            .into_iter()
            .map(|reason| (reason.code, reason.until, json!(reason.details)))
            .collect::<Vec<_>>()
    };
    fill(&q, "a", 4, T0).await;
    fill(&q, "b", 1, T0).await;
    let behind = |ahead: u32, active: u32| {
        let details = json!({"ahead": ahead, "group": "a", "groups": 1, "active": active, "slots": 5});
        (Why::BehindOthers, None, details)
    };
    assert_eq!(why("a1", at(1)).await, [behind(0, 0)]);
    assert_eq!(why("a4", at(1)).await, [behind(3, 0)]);
    assert_eq!(q.take_ids(1, at(1)).await, ["a1"]);
    cap(&q, "a", 1, at(2)).await;
    let full = (Why::GroupConcurrency, None, json!({"group": "a", "active": 1, "concurrency": 1}));
    assert_eq!(why("a3", at(2)).await, [full, behind(1, 1)]);
    let rate = Rate { max: NonZeroU32::MIN, per: Duration::from_secs(1) };
    order(&q, "a", GroupControl::Set(GroupSettings { rate: Some(rate), ..GroupSettings::default() }), at(3)).await;
    assert_eq!(q.take_ids(9, at(3)).await, ["b1", "a2"]);
    let limited = (Why::GroupRateLimited, Some(at(1_003)), json!({"group": "a", "max": 1, "duration": 1_000}));
    assert_eq!(why("a3", at(4)).await[0], limited);
    order(&q, "a", GroupControl::HoldUntil(at(5_000)), at(4)).await;
    assert_eq!(why("a3", at(4)).await[0], (Why::GroupRateLimited, Some(at(5_000)), json!({"group": "a"})));
    order(&q, "a", GroupControl::Pause, at(5)).await;
    q.backend.control(&q.queue, Control::Pause, at(5)).await.expect("pause");
    let codes: Vec<Why> = why("a3", at(5)).await.into_iter().map(|(code, _, _)| code).collect();
    assert_eq!(codes, [Why::QueuePaused, Why::GroupPaused, Why::BehindOthers]);
}
