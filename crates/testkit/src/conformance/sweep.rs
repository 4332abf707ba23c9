//! Operations over many jobs, in bounded steps.

use launchkit_queue::backend::*;
use launchkit_queue::{Failure, FailureKind, JobOptions, Outcome, State, StoreError};

use crate::Harness;
use crate::given::*;

/// The ids that a step was done to.
fn texts(swept: &Swept) -> Vec<&str> {
    swept.done.iter().map(|id| id.as_str()).collect()
}

/// At or before the time; later ones and the other final state stay.
pub async fn clean_removes_what_ended_by_a_time_oldest_first(h: &impl Harness) {
    let q = Given::on(h);
    for (text, outcome, now) in [("c1", done(), 1), ("c2", done(), 2), ("f2", dead(), 2), ("c3", done(), 3)] {
        q.finish(text, plain(), outcome, at(now)).await;
    }
    let swept = q.sweep(SweepWhat::Clean(State::Completed, at(2)), 10, at(9)).await;
    assert_eq!((texts(&swept), swept.next.is_some()), (vec!["c1", "c2"], false));
    assert_eq!((q.list(State::Completed).await, q.list(State::Failed).await), (vec!["c3".into()], vec!["f2".into()]));
}

/// Drain is for those.
pub async fn cleaning_an_unfinished_state_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    let before = q.counts().await;
    for state in State::ALL.into_iter().filter(|state| !state.is_final()) {
        let sweep = Sweep::all(q.queue.clone(), SweepWhat::Clean(state, at(99_999)), 10);
        let refused = q.backend.sweep(sweep, at(99_999)).await.expect_err("refused");
        assert!(matches!(refused.why, StoreError::OutOfBounds(_)), "{state}: {refused:?}");
    }
    assert_eq!(q.counts().await, before);
}

/// With and without a priority; delayed, active and finished ones stay.
pub async fn drain_removes_ready_jobs_of_both_kinds_and_nothing_else(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    let swept = q.sweep(SweepWhat::DrainWaiting, 10, at(1)).await;
    assert_eq!((texts(&swept), swept.next.is_some()), (vec!["w", "p"], false));
    for (text, state) in EACH {
        let ready = matches!(state, State::Waiting | State::Prioritized);
        assert_eq!(q.find(text).await.is_none(), ready, "{state}");
    }
}

/// Also those that are overdue and not yet promoted.
pub async fn drain_of_delayed_jobs_removes_only_those(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    q.add(vec![named("overdue", delay(1))], T0).await;
    let swept = q.sweep(SweepWhat::DrainDelayed, 10, at(10)).await;
    assert_eq!((texts(&swept), swept.next.is_some()), (vec!["overdue", "d"], false));
    for (text, state) in EACH {
        assert_eq!(q.find(text).await.is_none(), state == State::Delayed, "{state}");
    }
}

/// Whatever is swept, a held job stays with its holder.
pub async fn no_sweep_touches_an_active_job(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.in_each_state(T0).await;
    let sweeps = [
        SweepWhat::Clean(State::Completed, at(9)),
        SweepWhat::Clean(State::Failed, at(9)),
        SweepWhat::RetryFailed(at(9)),
        SweepWhat::PromoteDelayed,
        SweepWhat::DrainWaiting,
        SweepWhat::DrainDelayed,
    ];
    for what in sweeps {
        let swept = q.sweep(what, 10, at(9)).await;
        assert!(!texts(&swept).contains(&"a"), "{what:?}");
        assert_eq!(q.list(State::Active).await, ["a"], "{what:?}");
    }
    assert_eq!(q.end(&lock, done(), at(10)).await, End::Applied);
}

/// The oldest failure is done first, so that it also runs first in its class.
pub async fn retry_failed_takes_the_oldest_first_and_keeps_priorities_and_attempts(h: &impl Harness) {
    let q = Given::on(h);
    for (text, options, now) in [("a", plain(), 1), ("b", priority(5), 2), ("e", plain(), 3), ("g", priority(5), 4)] {
        q.finish(text, options, dead(), at(now)).await;
    }
    let swept = q.sweep(SweepWhat::RetryFailed(at(4)), 10, at(9)).await;
    assert_eq!((texts(&swept), swept.next.is_some()), (vec!["a", "b", "e", "g"], false));
    let held = q.take(10, at(10)).await;
    assert_eq!(ids(&held), ["a", "e", "b", "g"]);
    assert!(held.iter().all(|held| held.made == 1));
}

/// A job that fails again at once is not caught twice by one sweep.
pub async fn retry_failed_leaves_what_failed_after_its_time(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("a", plain(), dead(), at(1)).await;
    q.finish("b", plain(), dead(), at(2)).await;
    let what = SweepWhat::RetryFailed(at(1));
    assert_eq!(texts(&q.sweep(what, 10, at(3)).await), ["a"]);
    let held = q.take(1, at(4)).await;
    q.end(&held[0].lock, dead(), at(4)).await;
    assert_eq!(texts(&q.sweep(what, 10, at(5)).await), Vec::<&str>::new());
    assert_eq!(q.list(State::Failed).await, ["a", "b"]);
}

/// Whatever their due times, the next due is done first and priorities stay.
pub async fn promote_delayed_takes_the_next_due_first_and_keeps_priorities(h: &impl Harness) {
    let q = Given::on(h);
    let ranked = JobOptions { priority: 2, ..delay(70_000) };
    q.add(vec![named("late", delay(90_000)), named("soon", delay(60_000)), named("ranked", ranked)], T0).await;
    let swept = q.sweep(SweepWhat::PromoteDelayed, 10, at(1)).await;
    assert_eq!((texts(&swept), swept.next.is_some()), (vec!["soon", "ranked", "late"], false));
    assert_eq!(q.take_ids(10, at(2)).await, ["soon", "late", "ranked"]);
}

/// Five jobs in steps of two, each sweep; a step beyond the bound is refused.
pub async fn a_sweep_is_bounded_and_going_on_reaches_the_end(h: &impl Harness) {
    let sweeps = [
        (SweepWhat::Clean(State::Completed, at(9)), State::Completed),
        (SweepWhat::Clean(State::Failed, at(9)), State::Failed),
        (SweepWhat::RetryFailed(at(9)), State::Failed),
        (SweepWhat::PromoteDelayed, State::Delayed),
        (SweepWhat::DrainWaiting, State::Waiting),
        (SweepWhat::DrainDelayed, State::Delayed),
    ];
    for ((what, state), number) in sweeps.into_iter().zip(0..) {
        let q = Given::queue(h, &format!("sweep-{number}"));
        for text in ["a", "b", "e", "g", "h"] {
            match state {
                State::Completed => q.finish(text, plain(), done(), T0).await,
                State::Failed => q.finish(text, plain(), dead(), T0).await,
                State::Delayed => drop(q.add(vec![named(text, delay(60_000))], T0).await),
                _ => q.waiting(&[text], T0).await,
            }
        }
        let mut seen = Vec::new();
        for (count, more) in [(2, true), (2, true), (1, false)] {
            let swept = q.sweep(what, 2, at(9)).await;
            assert_eq!((swept.done.len(), swept.next.is_some()), (count, more), "{what:?}");
            seen.extend(swept.done);
        }
        assert_eq!(seen, ["a", "b", "e", "g", "h"].map(id), "{what:?}");
        assert_eq!(q.counts().await.of(state), 0, "{what:?}");
        let sweep = Sweep::all(q.queue.clone(), what, MAX_READ + 1);
        assert!(q.backend.sweep(sweep, at(9)).await.is_err(), "{what:?}");
    }
}

/// Four failed jobs of two names, and what a choice finds among them.
pub async fn a_choice_among_failed_jobs_is_by_name_kind_text_and_time(h: &impl Harness) {
    let q = Given::on(h);
    let failed = |kind, message: &str| Outcome::Dead(Failure::new(kind, message));
    let jobs = [
        ("a", "mail", failed(FailureKind::Error, "connection refused by smtp"), 10),
        ("b", "text", failed(FailureKind::Timeout, "the attempt took longer"), 20),
        ("c", "mail", failed(FailureKind::Error, "mailbox full"), 30),
        ("d", "mail", failed(FailureKind::Timeout, "connection timed out"), 40),
    ];
    for (text, name, outcome, now) in jobs {
        q.add(vec![NewJob { name: name.into(), ..named(text, plain()) }], T0).await;
        let held = q.one(at(1)).await;
        q.end(&held.lock, outcome, at(now)).await;
    }
    let found = async |pick: Pick| {
        let sweep = Sweep::all(q.queue.clone(), SweepWhat::RetryFailed(at(99)), 10);
        let swept = q.backend.sweep(Sweep { pick, dry: true, ..sweep }, at(99)).await.expect("sweep");
        assert_eq!((swept.scanned, swept.next), (4, None));
        swept.done.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
    };
    let by_name = Pick { name: Some("mail".into()), ..Pick::default() };
    let by_text = Pick { error: Some("connection".into()), ..Pick::default() };
    let by_kind = Pick { kind: Some(FailureKind::Timeout), ..Pick::default() };
    let by_time = Pick { since: Some(at(20)), ..Pick::default() };
    let both = Pick { name: Some("mail".into()), since: Some(at(30)), error: Some("time".into()), ..Pick::default() };
    let none = Pick { name: Some("mai".into()), ..Pick::default() };
    let expected = [
        (Pick::default(), "abcd"),
        (by_name, "acd"),
        (by_text, "ad"),
        (by_kind, "bd"),
        (by_time, "bcd"),
        (both, "d"),
        (none, ""),
    ];
    for (pick, ids) in expected {
        assert_eq!(found(pick.clone()).await, ids, "{pick:?}");
    }
    assert_eq!(q.list(State::Failed).await, ["d", "c", "b", "a"], "looking changes nothing");
}

/// Steps of two over seven, every second of which is chosen: each is looked at once, the others stay.
pub async fn dead_letters_run_again_in_steps(h: &impl Harness) {
    let q = Given::on(h);
    for n in 0..7 {
        q.add(vec![NewJob { name: format!("n{}", n % 2).into(), ..named(&format!("j{n}"), plain()) }], T0).await;
        let held = q.one(at(1)).await;
        q.end(&held.lock, dead(), at(10 + n)).await;
    }
    let newest = q.newest().await;
    for dry in [true, false] {
        let (mut after, mut steps, mut done) = (None, Vec::new(), Vec::new());
        loop {
            let pick = Pick { name: Some("n0".into()), ..Pick::default() };
            let sweep = Sweep::all(q.queue.clone(), SweepWhat::RetryFailed(at(99)), 2);
            let swept = q.backend.sweep(Sweep { pick, dry, after, ..sweep }, at(99)).await.expect("sweep");
            steps.push((swept.done.len(), swept.scanned));
            done.extend(swept.done.iter().map(ToString::to_string));
            after = swept.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(
            (steps, done),
            (vec![(1, 2), (1, 2), (1, 2), (1, 1)], ["j0", "j2", "j4", "j6"].map(String::from).to_vec())
        );
        assert_eq!(q.newest().await == newest, dry, "a dry run tells nothing");
    }
    assert_eq!(q.list(State::Failed).await, ["j5", "j3", "j1"]);
    assert_eq!(q.take_ids(9, at(100)).await, ["j0", "j2", "j4", "j6"]);
}

/// One tenant's, also together with another condition; those without a group are nobody's.
pub async fn a_choice_among_failed_jobs_can_be_by_group(h: &impl Harness) {
    let q = Given::on(h);
    for (text, group) in [("a", Some("red")), ("b", Some("blue")), ("c", None), ("d", Some("red"))] {
        let options = JobOptions { group: group.map(Into::into), ..plain() };
        q.add(vec![NewJob { name: format!("of-{text}").into(), ..named(text, options) }], T0).await;
        let held = q.one(at(1)).await;
        q.end(&held.lock, dead(), at(2)).await;
    }
    let chosen = async |pick: Pick, dry: bool| {
        let sweep = Sweep::all(q.queue.clone(), SweepWhat::RetryFailed(at(9)), 10);
        let swept = q.backend.sweep(Sweep { pick, dry, ..sweep }, at(9)).await.expect("sweep");
        swept.done.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let red = || Pick { group: Some("red".into()), ..Pick::default() };
    assert_eq!(chosen(Pick { name: Some("of-d".into()), ..red() }, true).await, ["d"]);
    assert_eq!(chosen(Pick { group: Some("green".into()), ..Pick::default() }, true).await, [""; 0]);
    assert_eq!(chosen(red(), false).await, ["a", "d"]);
    assert_eq!((q.list(State::Failed).await, q.counts().await.prioritized), (vec!["c".to_owned(), "b".into()], 2));
}
