//! Orders to a whole queue, and the end of a store.

use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Failed, Happened, Position, State, StoreError};

use crate::Harness;
use crate::given::*;

async fn order(q: &Given, what: Control) {
    q.backend.control(&q.queue, what, at(1)).await.expect("control");
}

/// Takes, info and beats all say so.
pub async fn a_paused_queue_gives_out_nothing_and_says_so(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    order(&q, Control::Pause).await;
    let turned = q.turn(vec![], Some(q.wish(9)), at(2)).await;
    assert_eq!((ids(&turned.held), turned.next), (vec![], Next::Paused));
    assert!(q.backend.info(&q.queue, at(2)).await.expect("info").paused);
    assert!(q.beat(vec![], at(2)).await.paused);
}

/// Pausing does not change what new jobs are.
pub async fn a_paused_queue_accepts_jobs_and_counts_them_as_waiting(h: &impl Harness) {
    let q = Given::on(h);
    order(&q, Control::Pause).await;
    q.add(vec![named("w", plain()), named("p", priority(5)), named("d", delay(100))], at(2)).await;
    for (text, state) in EACH.into_iter().take(3) {
        assert_eq!((q.get(text).await.state, q.counts().await.of(state)), (state, 1));
    }
}

/// Beats extend and settles apply; a turn with both ends and a take ends, and takes nothing.
pub async fn pausing_leaves_held_jobs_alone(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", plain(), T0).await;
    q.waiting(&["next"], T0).await;
    order(&q, Control::Pause).await;
    assert_eq!(q.beat(vec![held.lock.clone()], at(20_000)).await.lost, []);
    let verdict = Verdict { lock: held.lock, outcome: done(), keep: launchkit_queue::Keep::ALL, ran: None };
    let turned = q.turn(vec![verdict], Some(q.wish(9)), at(40_000)).await;
    assert_eq!((turned.ends, ids(&turned.held), turned.next), (vec![End::Applied], vec![], Next::Paused));
    assert_eq!(q.get("j").await.state, State::Completed);
}

/// A take at the due time holds none, and the job counts as waiting.
pub async fn delayed_jobs_become_ready_while_paused(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("d", delay(100))], T0).await;
    order(&q, Control::Pause).await;
    assert_eq!(q.take_ids(9, at(100)).await, Vec::<String>::new());
    assert_eq!((q.get("d").await.state, q.counts().await.waiting), (State::Waiting, 1));
}

/// Whoever waits for work hears of the end of the pause.
pub async fn resuming_gives_out_in_the_old_order_and_wakes_a_waiter(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    q.add(vec![named("l", lifo())], T0).await;
    order(&q, Control::Pause).await;
    assert_eq!(q.next(at(2)).await, Next::Paused);
    // Rings of the verbs before are used up, so that only the resuming can end the wait.
    q.backend.wait(&q.queue, Duration::ZERO).await.expect("wait");
    let wait = tokio::time::timeout(SOON, q.backend.wait(&q.queue, LONG));
    let (woken, ()) = tokio::join!(wait, order(&q, Control::Resume));
    woken.expect("is woken").expect("wait");
    assert_eq!(q.take_ids(9, at(3)).await, ["l", "a", "b"]);
}

/// A pause is one queue's.
pub async fn pausing_one_queue_leaves_another_alone(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    order(&q, Control::Pause).await;
    other.waiting(&["j"], T0).await;
    assert_eq!(other.take_ids(9, at(2)).await, ["j"]);
}

fn assert_refused<I: std::fmt::Debug, O: std::fmt::Debug>(answer: Result<O, Failed<I>>) -> I {
    let failed = answer.expect_err("closed");
    assert!(matches!(failed.why, StoreError::Closed), "{failed:?}");
    assert_eq!(failed.happened, Happened::No);
    *failed.input
}

/// Writes hand their input back, and nothing waits for what cannot come.
pub async fn after_close_every_verb_answers_closed<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    let lock = q.in_each_state(T0).await;
    h.backend().close().await;
    let (b, name) = (&q.backend, &q.queue);
    let add = b.add(Add { queue: name.clone(), jobs: vec![named("x", plain())] }, at(1)).await;
    assert_eq!(assert_refused(add).jobs.len(), 1);
    let ends = vec![Verdict { lock: lock.clone(), outcome: done(), keep: launchkit_queue::Keep::ALL, ran: None }];
    let turn = Turn { queue: name.clone(), worker: "w".into(), ends, take: Some(q.wish(1)) };
    assert_eq!(assert_refused(b.turn(turn, at(1)).await).ends.len(), 1);
    let beat = Beat { queue: name.clone(), worker: worker("w"), locks: vec![lock], lock_for: LOCK };
    assert_eq!(assert_refused(b.beat(beat, at(1)).await).locks.len(), 1);
    let edit = EditAll { queue: name.clone(), edits: vec![Edit::Cancel(id("w"))] };
    assert_eq!(assert_refused(b.edit(edit, at(1)).await).edits.len(), 1);
    let sweep = Sweep::all(name.clone(), SweepWhat::DrainWaiting, 7);
    assert_eq!(assert_refused(b.sweep(sweep, at(1)).await).most, 7);

    let rescue = Rescue { queue: name.clone(), max_stalled: 1, most: 1 };
    let list = List { state: State::Waiting, after: None, most: 1 };
    let answers = async {
        [
            ("rescue", b.rescue(rescue, at(99_999)).await.err()),
            ("wait", b.wait(name, LONG).await.err()),
            ("wait_events", b.wait_events(name, Position { seq: u64::MAX >> 24, index: 0 }, LONG).await.err()),
            ("control", b.control(name, Control::Pause, at(1)).await.err()),
            ("get", b.get(name, &[id("w")]).await.err()),
            ("list", b.list(name, &list).await.err()),
            ("counts", b.counts(name).await.err()),
            ("logs", b.logs(name, &id("w"), 0, 1).await.err()),
            ("events", b.events(name, Position::START, 1).await.err()),
            ("info", b.info(name, at(1)).await.err()),
            ("queues", b.queues().await.err()),
            ("claim", b.claim("me").await.err()),
        ]
    };
    for (verb, error) in tokio::time::timeout(SOON, answers).await.expect("nothing waits") {
        assert!(matches!(error, Some(StoreError::Closed)), "{verb}: {error:?}");
    }
}

/// Whoever waits for work or for events learns of the end at once, not when the wait is over.
pub async fn closing_ends_every_wait<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    q.waiting(&["j"], T0).await;
    let newest = q.backend.info(&q.queue, T0).await.expect("info").newest_event;
    let (b, name) = (&q.backend, &q.queue);
    // A wait is a hint and may end earlier; then it is waited again.
    let work = async || loop {
        if let Err(error) = b.wait(name, LONG).await {
            break error;
        }
    };
    let waits = async { tokio::join!(work(), work(), b.wait_events(name, newest, LONG)) };
    let close = async {
        // Once polled, the waits are in line: joined futures are polled in order.
        tokio::task::yield_now().await;
        b.close().await;
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(SOON, waits), close);
    let (one, two, events) = ended.expect("nobody waits on");
    for (what, error) in [("one", Some(one)), ("two", Some(two)), ("events", events.err())] {
        assert!(matches!(error, Some(StoreError::Closed)), "{what}: {error:?}");
    }
}
