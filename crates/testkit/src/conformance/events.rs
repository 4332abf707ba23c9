//! What is told, in which order, and how it is read.

use launchkit_queue::backend::*;
use launchkit_queue::{Event, Keep, Outcome, Position, State};

use crate::Harness;
use crate::given::*;

/// Everything that was told, without positions.
async fn told(q: &Given) -> Vec<Event> {
    told_from(q, Position::START).await
}

async fn told_from(q: &Given, position: Position) -> Vec<Event> {
    q.events_after(position).await.into_iter().map(|(_, event)| event).collect()
}

fn waiting(text: &str, prev: Option<State>) -> Event {
    Event::Waiting { id: id(text), prev }
}

/// From its adding to the end that leaves the queue empty.
pub async fn a_plain_job_tells_its_life_in_order(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("j", plain(), done(), T0).await;
    let life = [
        Event::Added { id: id("j"), name: "text".into() },
        waiting("j", None),
        Event::Active { id: id("j"), prev: State::Waiting },
        Event::Completed { id: id("j"), result: Some(json("7")) },
        Event::Drained,
    ];
    assert_eq!(told(&q).await, life);
}

/// When it is due, and where it came from when it became ready.
pub async fn a_delayed_job_tells_its_due_time_then_waiting(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("d", delay(100))], T0).await;
    q.take(0, at(100)).await;
    let life = [
        Event::Added { id: id("d"), name: "text".into() },
        Event::Delayed { id: id("d"), due: at(100) },
        waiting("d", Some(State::Delayed)),
    ];
    assert_eq!(told(&q).await, life);
}

/// An attempt that is to be repeated is no failed job.
pub async fn a_retried_attempt_tells_delayed_and_not_failed(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", tries(3), T0).await;
    let before = q.newest().await;
    q.end(&held.lock, retry(at(100)), at(1)).await;
    let held = q.take(1, at(100)).await;
    q.end(&held[0].lock, retry(at(101)), at(101)).await;
    let expected = [
        Event::Delayed { id: id("j"), due: at(100) },
        waiting("j", Some(State::Delayed)),
        Event::Active { id: id("j"), prev: State::Waiting },
        waiting("j", Some(State::Active)),
    ];
    assert_eq!(told_from(&q, before).await, expected);
}

/// After `failed`, for 0, 1 and 3 tries; not for a job that is given up with tries left.
pub async fn retries_exhausted_is_told_only_when_no_try_is_left(h: &impl Harness) {
    let q = Given::on(h);
    for (text, attempts, retries) in [("none", 0, 0), ("one", 1, 0), ("three", 3, 2), ("left", 3, 1)] {
        let mut lock = q.held(text, tries(attempts), T0).await.lock;
        for _ in 0..retries {
            q.end(&lock, retry(T0), T0).await;
            lock = q.take(1, T0).await.remove(0).lock;
        }
        let before = q.newest().await;
        q.end(&lock, dead(), T0).await;
        let mut expected = vec![Event::Failed { id: id(text), failure: boom() }];
        if text != "left" {
            expected.push(Event::RetriesExhausted { id: id(text), made: retries + 1 });
        }
        expected.push(Event::Drained);
        assert_eq!(told_from(&q, before).await, expected);
    }
}

/// For each rescued job.
pub async fn a_rescue_tells_waiting_then_stalled(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    q.take(2, T0).await;
    let before = q.newest().await;
    q.rescue(1, at(30_000)).await;
    let all = told_from(&q, before).await;
    assert_eq!(all.len(), 4);
    for text in ["a", "b"] {
        let about: Vec<_> = all.iter().filter(|event| event.job() == Some(&id(text))).cloned().collect();
        assert_eq!(about, [waiting(text, Some(State::Active)), Event::Stalled { id: id(text) }]);
    }
}

/// Nothing else is told of a job that was not added.
pub async fn a_duplicate_tells_only_that(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    let before = q.newest().await;
    q.waiting(&["j"], at(1)).await;
    assert_eq!(told_from(&q, before).await, [Event::Duplicated { id: id("j") }]);
}

/// Readers can count by state.
pub async fn active_tells_the_class_the_job_came_from(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("w", plain()), named("p", priority(5))], T0).await;
    let before = q.newest().await;
    q.take(2, at(1)).await;
    let active = |text, prev| Event::Active { id: id(text), prev };
    // BullMQ's stream says `waiting` of both.
    let prev = if h.backend().promises().shared == Shared::Network { State::Waiting } else { State::Prioritized };
    assert_eq!(told_from(&q, before).await, [active("w", State::Waiting), active("p", prev)]);
}

/// The state's own name, for each.
pub async fn removed_tells_where_the_job_was(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    for (text, state) in EACH {
        let before = q.newest().await;
        q.edit(Edit::Remove(id(text)), at(30_000)).await;
        assert_eq!(told_from(&q, before).await, [Event::Removed { id: id(text), prev: state }]);
    }
}

/// Not while one is ready or active, though while one is delayed; and only by an end.
pub async fn drained_is_told_only_by_a_finish_that_leaves_nothing_ready_or_active(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "e"], T0).await;
    q.add(vec![named("d", delay(90_000))], T0).await;
    let held = q.take(2, T0).await;
    q.end(&held[0].lock, done(), T0).await; // one ready, one active
    let last = q.take(1, T0).await.remove(0);
    q.end(&held[1].lock, dead(), T0).await; // one active
    let mut lock = last.lock;
    for outcome in [retry(T0), Outcome::Later(T0), Outcome::Back] {
        q.end(&lock, outcome, T0).await; // no end
        lock = q.take(1, T0).await.remove(0).lock;
    }
    assert!(!told(&q).await.contains(&Event::Drained));
    q.end(&lock, done(), T0).await;
    let all = told(&q).await;
    assert_eq!(all.last(), Some(&Event::Drained));
    q.end(&lock, done(), T0).await; // a repetition
    assert_eq!(told(&q).await.len(), all.len());
}

/// Only a finish drains.
pub async fn removing_the_last_job_is_not_draining(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("c", plain(), done(), T0).await;
    let before = q.newest().await;
    q.waiting(&["a"], at(1)).await;
    q.edit(Edit::Remove(id("a")), at(1)).await;
    q.waiting(&["b"], at(1)).await;
    q.sweep(SweepWhat::DrainWaiting, 10, at(1)).await;
    q.sweep(SweepWhat::Clean(State::Completed, at(1)), 10, at(1)).await;
    assert_eq!(q.counts().await.total(), 0);
    assert!(!told_from(&q, before).await.contains(&Event::Drained));
}

/// Beyond the finish's own events.
pub async fn draining_and_evicting_are_silent(h: &impl Harness) {
    let q = Given::on(h);
    for text in ["a", "b", "e"] {
        q.finish(text, plain(), done(), T0).await;
    }
    let held = q.held("g", plain(), at(1)).await;
    q.add(vec![named("w", plain()), named("p", priority(1)), named("d", delay(9))], at(1)).await;
    let before = q.newest().await;
    q.sweep(SweepWhat::DrainWaiting, 10, at(2)).await;
    q.sweep(SweepWhat::DrainDelayed, 10, at(2)).await;
    assert_eq!(q.told(before).await, Vec::<String>::new());
    q.end_keeping(&held.lock, done(), Keep::newest(1), at(3)).await;
    assert_eq!(q.counts().await.completed, 2);
    assert_eq!(q.told(before).await, ["completed:g", "drained"]);
}

/// Also when there was nothing to remove.
pub async fn clean_tells_its_count_in_every_step(h: &impl Harness) {
    let q = Given::on(h);
    for text in ["a", "b", "e", "g", "h"] {
        q.finish(text, plain(), dead(), T0).await;
    }
    let before = q.newest().await;
    for _ in 0..4 {
        q.sweep(SweepWhat::Clean(State::Failed, at(1)), 2, at(1)).await;
    }
    assert_eq!(told_from(&q, before).await, [2, 2, 1, 0].map(|count| Event::Cleaned { count }));
}

/// Repeating an order changes nothing and tells nothing.
pub async fn pausing_and_resuming_are_told_once_each(h: &impl Harness) {
    let q = Given::on(h);
    for what in [Control::Resume, Control::Pause, Control::Pause, Control::Resume, Control::Resume] {
        q.backend.control(&q.queue, what, T0).await.expect("control");
    }
    assert_eq!(told(&q).await, [Event::Paused, Event::Resumed]);
}

/// Whatever the pages and whatever the batches in which things happened.
pub async fn reading_on_from_a_position_misses_and_repeats_nothing(h: &impl Harness) {
    let q = Given::on(h);
    for count in [1, 3, 10] {
        q.add((0..count).map(|_| job(plain())).collect(), T0).await;
        q.take(2, T0).await;
    }
    let all = q.events_after(Position::START).await;
    assert_eq!(all.len(), 2 * 14 + 5);
    for most in [1, 7, MAX_READ] {
        let (mut read, mut after) = (Vec::new(), Position::START);
        loop {
            let page = q.backend.events(&q.queue, after, most).await.expect("events");
            assert!(!page.gap);
            if page.events.is_empty() {
                break;
            }
            after = page.next;
            read.extend(page.events);
        }
        assert_eq!(read, all, "pages of {most}");
    }
    for (index, (position, _)) in all.iter().enumerate() {
        assert_eq!(q.events_after(*position).await, all[index + 1..], "from {position}");
    }
}

/// The newest are kept, and a reader who was away too long is told.
pub async fn a_trimmed_position_answers_a_gap(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["first"], T0).await;
    let old = q.newest().await;
    for _ in 0..6 {
        q.add((0..1_000).map(|_| job(plain())).collect(), at(1)).await;
    }
    let since = q.backend.events(&q.queue, old, 1).await.expect("events");
    assert!(since.gap);
    let start = q.backend.events(&q.queue, Position::START, 1).await.expect("events");
    assert!(!start.gap, "who has read nothing has missed nothing");
    assert_eq!(since.events, start.events);
    let kept = q.events_after(Position::START).await;
    assert!((9_000..=11_000).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().map(|(position, _)| *position), Some(q.newest().await));
}

/// A wait begun before the event ends with it; one begun after it at once.
pub async fn a_reader_is_woken_by_the_next_event(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a"], T0).await;
    let after = q.newest().await;
    let wait = || tokio::time::timeout(SOON, q.backend.wait_events(&q.queue, after, LONG));
    let (woken, ()) = tokio::join!(wait(), q.waiting(&["b"], at(1)));
    woken.expect("is woken").expect("wait");
    wait().await.expect("at once").expect("wait");
}

/// The log must not outgrow the jobs.
pub async fn a_long_value_stays_out_of_its_event_and_with_its_job(h: &impl Harness) {
    let q = Given::on(h);
    let long = json(&format!("\"{}\"", "x".repeat(launchkit_queue::MAX_EVENT_VALUE)));
    let held = q.held("j", plain(), T0).await;
    let before = q.newest().await;
    q.edit(Edit::Progress(id("j"), long.clone()), at(1)).await;
    q.end(&held.lock, Outcome::Done(long.clone()), at(2)).await;
    let expected =
        [Event::Progress { id: id("j"), value: None }, Event::Completed { id: id("j"), result: None }, Event::Drained];
    assert_eq!(told_from(&q, before).await, expected);
    let job = q.get("j").await;
    assert_eq!((job.progress, job.result), (Some(long.clone()), Some(long)));
}

/// Payloads are checked for their syntax alone; one that readers choke on must not hide the events after it.
pub async fn a_value_that_no_reader_takes_stays_out_of_its_event(h: &impl Harness) {
    let q = Given::on(h);
    for (name, text) in [("deep", "[".repeat(200) + &"]".repeat(200)), ("large", "1e999".to_owned())] {
        let odd = json(&text);
        let held = q.held(name, plain(), T0).await;
        let before = q.newest().await;
        q.end(&held.lock, Outcome::Done(odd.clone()), at(2)).await;
        assert_eq!(told_from(&q, before).await, [Event::Completed { id: id(name), result: None }, Event::Drained]);
        assert_eq!(q.get(name).await.result, Some(odd));
    }
}

/// What changes nothing tells nothing.
pub async fn a_refused_verb_tells_nothing(h: &impl Harness) {
    let q = Given::on(h);
    let mut lock = q.in_each_state(T0).await;
    let before = q.newest().await;
    lock.token = Token::new("foreign");
    assert_eq!(q.end(&lock, done(), at(1)).await, End::LockLost);
    assert_eq!(q.beat(vec![lock], at(1)).await.lost, [id("a")]);
    for edit in [Edit::Promote(id("w")), Edit::Retry(id("w"), Made::Keep), Edit::Remove(id("a")), Edit::Cancel(id("c"))]
    {
        assert_ne!(q.edit(edit, at(1)).await, Edited::Done);
    }
    let sweep = Sweep::all(q.queue.clone(), SweepWhat::DrainWaiting, MAX_READ + 1);
    q.backend.sweep(sweep, at(1)).await.expect_err("out of bounds");
    let jobs = (0..MAX_ADD + 1).map(|_| job(plain())).collect();
    q.backend.add(Add { queue: q.queue.clone(), jobs }, at(1)).await.expect_err("out of bounds");
    assert_eq!(q.newest().await, before);
}

/// Each queue has its own sequence.
pub async fn events_of_one_queue_do_not_show_in_another(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    q.waiting(&["a"], T0).await;
    let before = q.newest().await;
    other.waiting(&["b"], T0).await;
    q.waiting(&["e"], T0).await;
    assert_eq!(q.told(before).await, ["added:e", "waiting:e"]);
    assert_eq!(other.events().await, ["added:b", "waiting:b"]);
}
