//! Parents that run: children added by handlers, waiting, and going on.

use std::num::NonZeroU32;
use std::time::Duration;

use launchkit_queue::backend::Shared;
use launchkit_queue::{Active, Clock, Event, Exit, Flow, Queue, Store, Told, Worker};

use super::*;

/// Not counted, and told; released like any other parent. A verdict that is repeated is known.
pub async fn a_running_parent_waits_for_children_that_it_added(h: &impl Harness) {
    let (p, c) = queues(h);
    let held = p.held("p", JobOptions { delay: Duration::ZERO, ..priority(2) }, T0).await;
    fresh(&p, vec![beneath(&c, "a", (&p, "p"), ChildFailure::Wait)], at(1)).await;
    let before = p.newest().await;
    assert_eq!(p.end(&held.lock, Outcome::AwaitChildren, at(2)).await, End::Applied);
    assert_eq!(p.end(&held.lock, Outcome::AwaitChildren, at(2)).await, End::AlreadyApplied);
    let waiting = Event::WaitingChildren { id: id("p"), prev: Some(State::Active) };
    assert_eq!(p.events_after(before).await.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [waiting]);
    let job = p.get("p").await;
    assert_eq!((job.state, job.made, job.since), (State::WaitingChildren, 0, at(2)));
    end(&c, "a", done(), at(3)).await;
    let held = p.one(at(4)).await;
    assert_eq!((held.made, held.started, known(&p, "p").await.0), (0, 2, vec!["a Completed 7".to_owned()]));
}

/// In front, to see all results at once: also when the last child ends in the same turn.
pub async fn waiting_for_nothing_gives_the_job_back(h: &impl Harness) {
    let q = Given::on(h);
    let p = q.hold("p", plain(), T0).await;
    q.settle(&p, Outcome::AwaitChildren, at(1)).await;
    let job = q.get("p").await;
    assert_eq!((job.state, job.due, job.made), (State::Delayed, Some(at(1_001)), 0), "it has no children");
    let p = q.one(at(1_001)).await.lock;
    fresh(&q, vec![beneath(&q, "a", (&q, "p"), ChildFailure::Wait)], at(1_002)).await;
    q.waiting(&["behind", "last"], at(1_003)).await;
    let rest = q.take(2, at(1_004)).await;
    assert_eq!(ids(&rest), ["a", "behind"]);
    let ends = vec![verdict(&p, Outcome::AwaitChildren), verdict(&rest[0].lock, done())];
    assert_eq!(q.turn(ends, None, at(1_005)).await.ends, [End::Applied; 2]);
    assert_eq!(q.list(State::Waiting).await, ["p", "last"]);
    let p = q.one(at(1_006)).await.lock;
    q.settle(&p, Outcome::AwaitChildren, at(1_007)).await;
    assert_eq!((q.list(State::Waiting).await, q.get("p").await.made), (vec!["p".to_owned(), "last".into()], 0));
}

/// A parent whose child has failed meanwhile does not wait for others: its next taker fails it.
pub async fn a_running_parent_that_is_to_fail_waits_for_nothing(h: &impl Harness) {
    let (p, c) = queues(h);
    let held = p.held("p", plain(), T0).await;
    let fail = ChildFailure::FailParent;
    fresh(&p, vec![beneath(&c, "a", (&p, "p"), fail), beneath(&c, "b", (&p, "p"), fail)], at(1)).await;
    end(&c, "a", dead(), at(2)).await;
    assert_eq!(p.get("p").await.state, State::Active);
    p.settle(&held.lock, Outcome::AwaitChildren, at(3)).await;
    let held = p.one(at(4)).await;
    assert_eq!(held.failed_already.as_ref().map(|why| &*why.message), Some("child texts:a failed"));
    // A job that is to fail and ends well all the same has ended well, like a canceled one.
    p.settle(&held.lock, done(), at(5)).await;
    assert_eq!(p.get("p").await.state, State::Completed);
}

/// They run on, and what they end with is still noted.
pub async fn a_parent_may_end_before_its_children(h: &impl Harness) {
    let (p, c) = queues(h);
    let held = p.held("p", plain(), T0).await;
    let nodes = ["a", "b"].map(|text| beneath(&c, text, (&p, "p"), ChildFailure::FailParent));
    fresh(&p, nodes.to_vec(), at(1)).await;
    p.settle(&held.lock, done(), at(2)).await;
    end(&c, "a", done(), at(3)).await;
    end(&c, "b", dead(), at(4)).await;
    assert_eq!(p.get("p").await.state, State::Completed);
    assert_eq!(known(&p, "p").await, (vec!["a Completed 7".into(), "b Failed boom".into()], 0));
}

/// Through workers: a handler adds parts, waits, and adds up what they answered; one whose part fails is not run again.
pub async fn a_handler_adds_children_and_sees_their_results(h: &impl Harness) {
    if h.backend().promises().shared == Shared::Process {
        tokio::time::pause();
    }
    let store = Store::over(h.backend(), Clock::runtime(T0));
    let [sums, parts] = ["sums", "parts"].map(|name| Queue::new(&store, name).expect("a name"));
    let below = parts.clone();
    let sum = move |job: Active<Payload>| {
        let below = below.clone();
        async move {
            let known = job.children(0, 100).await?;
            if known.children.is_empty() {
                let part = |n: u32| {
                    let flow = Flow::named(&below, "part", &n).id(format!("{}-{n}", job.id()));
                    flow.on_failure(ChildFailure::FailParent)
                };
                job.add_children(job.data().decode::<Vec<u32>>()?.into_iter().map(part).collect()).await?;
                return Err(Exit::AwaitChildren);
            }
            let results = known.children.iter().filter_map(|child| child.result.as_ref());
            let total: u32 = results.map(|result| result.decode::<u32>().expect("a number")).sum();
            Ok(Payload::encode(&total)?)
        }
    };
    let part = |job: Active<Payload>| async move {
        match job.data().decode::<u32>()? {
            0 => Err(Exit::give_up("nothing")),
            n => Ok(Payload::encode(&(n * n))?),
        }
    };
    let (stop, stopped) = tokio::sync::watch::channel(());
    let told = || {
        let mut stopped = stopped.clone();
        // Either way it is time to stop.
        async move { drop(stopped.changed().await) }
    };
    let above = Worker::builder(&sums).on_rest(sum).build().expect("a worker").run_until(told());
    let beside = Worker::builder(&parts).on_rest(part).build().expect("a worker").run_until(told());
    let case = async {
        let good = sums.add_named("sum", [1, 2, 3]).id("good").await.expect("added").id().clone();
        let bad = sums.add_named("sum", [4, 0]).id("bad").await.expect("added").id().clone();
        let mut events = sums.events(launchkit_queue::Position::START);
        let mut left = 2;
        while left > 0 {
            if let Told::Event(_, Event::Completed { .. } | Event::Failed { .. }) = events.next().await.expect("events")
            {
                left -= 1;
            }
        }
        let (good, bad) =
            (sums.get(&good).await.expect("read").expect("there"), sums.get(&bad).await.expect("read").expect("there"));
        assert_eq!((good.result, good.made, good.started), (Some(json("14")), 1, 2));
        assert_eq!(
            (bad.state, bad.failure.expect("why").message.as_ref(), bad.started),
            (State::Failed, "child parts:bad-0 failed", 2)
        );
        drop(stop);
    };
    let guarded =
        tokio::time::timeout(Duration::from_secs(120), async { tokio::join!(Box::pin(above), Box::pin(beside), case) });
    let (above, _, ()) = guarded.await.expect("the case ends");
    assert_eq!((above.done, above.returned, above.dead), (1, 2, 1));
}

/// It is handed out to be failed at its turn, though a child without a policy has failed; its children run on.
pub async fn a_canceled_parent_waits_for_nobody(h: &impl Harness) {
    let (p, c) = family(h, ChildFailure::Wait).await;
    end(&c, "a", dead(), at(1)).await;
    let before = p.newest().await;
    assert_eq!(p.edit(Edit::Cancel(id("p")), at(2)).await, Edited::Done);
    let freed = Event::Waiting { id: id("p"), prev: Some(State::WaitingChildren) };
    assert_eq!(p.events_after(before).await.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [freed]);
    let held = p.one(at(3)).await;
    let why = held.failed_already.clone().expect("it is to be failed");
    assert_eq!(why.kind, FailureKind::Canceled);
    p.settle(&held.lock, Outcome::Dead(why), at(4)).await;
    end(&c, "b", done(), at(5)).await;
    assert_eq!((p.get("p").await.state, p.counts().await.total()), (State::Failed, 1));
}

/// While it waits for children it takes none of its group's slots; released, it goes to the front of its group and no
/// further than that allows.
pub async fn a_parent_takes_its_turn_in_its_group(h: &impl Harness) {
    let (p, c) = queues(h);
    let tenant = || JobOptions { group: Some("tenant".into()), ..plain() };
    let one = GroupSettings { concurrency: NonZeroU32::new(1), ..GroupSettings::default() };
    let order = async |what, now| p.backend.group(&p.queue, &"tenant".into(), what, now).await.expect("an order");
    order(GroupControl::Set(one), T0).await;
    fresh(&p, vec![top(&p, "p", tenant()), under(&c, "a", 0, ChildFailure::Wait)], T0).await;
    p.add(vec![named("x", tenant()), named("y", tenant())], T0).await;
    let x = p.one(at(1)).await;
    assert_eq!(x.lock.id.as_str(), "x", "the parent waits, and not in the line");
    end(&c, "a", done(), at(2)).await;
    assert_eq!(p.take_ids(9, at(3)).await, [""; 0], "one at once");
    p.settle(&x.lock, done(), at(4)).await;
    let held = p.one(at(5)).await;
    assert_eq!(held.lock.id.as_str(), "p", "in front of its group");
    // Waiting anew gives the slot to the next.
    fresh(&p, vec![beneath(&c, "b", (&p, "p"), ChildFailure::Wait)], at(6)).await;
    p.settle(&held.lock, Outcome::AwaitChildren, at(7)).await;
    let y = p.one(at(8)).await;
    assert_eq!(y.lock.id.as_str(), "y");
    order(GroupControl::Pause, at(9)).await;
    end(&c, "b", done(), at(10)).await;
    p.settle(&y.lock, done(), at(11)).await;
    assert_eq!(p.take_ids(9, at(12)).await, [""; 0], "its group is paused");
    order(GroupControl::Resume, at(13)).await;
    end(&p, "p", done(), at(14)).await;
}
