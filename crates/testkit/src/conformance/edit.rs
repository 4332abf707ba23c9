//! Changes to single jobs.

use launchkit_queue::backend::*;
use launchkit_queue::{FailureKind, JobOptions, State, StoreError};

use crate::Harness;
use crate::given::*;

/// A promoted job goes to the back of its class; LIFO is ignored, and it is due no more.
pub async fn promoting_puts_a_delayed_job_behind_what_waits(h: &impl Harness) {
    let q = Given::on(h);
    let lifo = JobOptions { lifo: true, ..after(60_000) };
    let ranked = JobOptions { priority: 5, ..after(60_000) };
    let jobs = [named("d", lifo), named("e", ranked), named("w", plain()), named("p", urgent(5))];
    q.add(jobs.into(), T0).await;
    for text in ["d", "e"] {
        assert_eq!(q.edit(Edit::Promote(id(text)), at(1)).await, Edited::Done);
    }
    let promoted = q.get("d").await;
    assert_eq!((promoted.state, promoted.due, promoted.since), (State::Waiting, None, at(1)));
    assert_eq!(q.get("e").await.state, State::Prioritized);
    assert_eq!(q.take_ids(9, at(2)).await, ["w", "d", "p", "e"]);
}

/// Only delayed jobs can be promoted.
pub async fn promoting_any_other_state_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    for (text, state) in EACH.into_iter().filter(|(_, state)| *state != State::Delayed) {
        assert_eq!(q.edit(Edit::Promote(id(text)), at(1)).await, Edited::WrongState(state));
    }
}

/// A finished job becomes ready behind its equals, in front with LIFO, and its end is forgotten.
pub async fn retrying_by_hand_forgets_the_end_and_keeps_the_priority(h: &impl Harness) {
    let q = Given::on(h);
    q.finish("c", urgent(3), done(), T0).await;
    q.finish("f", urgent(3), dead(), T0).await;
    q.finish("l", first(), dead(), T0).await;
    q.add(vec![named("p", urgent(3)), named("w", plain())], at(1)).await;
    for text in ["c", "f", "l"] {
        assert_eq!(q.edit(Edit::Retry(id(text), Made::Keep), at(2)).await, Edited::Done);
        let job = q.get(text).await;
        assert_eq!((job.result, job.failure, job.finished_on, job.processed_on), (None, None, None, None));
        assert_eq!(job.since, at(2));
    }
    assert_eq!(q.take_ids(9, at(3)).await, ["l", "w", "p", "c", "f"]);
}

/// `Keep` leaves the counts, `Reset` begins anew.
pub async fn retrying_by_hand_resets_the_attempts_only_when_asked(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", tries(2), T0).await;
    q.end(&held.lock, again(T0), T0).await;
    let held = q.take(1, at(1)).await;
    q.end(&held[0].lock, dead(), at(1)).await;
    q.edit(Edit::Retry(id("j"), Made::Keep), at(2)).await;
    let kept = q.get("j").await;
    assert_eq!((kept.made, kept.started), (2, 2));
    let held = q.take(1, at(3)).await;
    assert_eq!((held[0].made, held[0].started), (2, 3));
    q.end(&held[0].lock, dead(), at(3)).await;
    q.edit(Edit::Retry(id("j"), Made::Reset), at(4)).await;
    let held = q.take(1, at(5)).await;
    assert_eq!((held[0].made, held[0].started), (0, 1));
}

/// What has not ended cannot be retried.
pub async fn retrying_an_unfinished_job_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    for (text, state) in EACH.into_iter().filter(|(_, state)| !state.is_final()) {
        assert_eq!(q.edit(Edit::Retry(id(text), Made::Reset), at(1)).await, Edited::WrongState(state));
    }
}

/// Stalls stay counted over a retry by hand; only one that resets the attempts forgets them too.
pub async fn stalls_outlive_a_retry_by_hand(h: &impl Harness) {
    let q = Given::on(h);
    q.held("j", plain(), T0).await;
    q.rescue(1, at(30_000)).await;
    for (made, stalls) in [(Made::Keep, 1), (Made::Reset, 0)] {
        let held = q.take(1, at(30_001)).await;
        q.end(&held[0].lock, dead(), at(30_002)).await;
        q.edit(Edit::Retry(id("j"), made), at(30_003)).await;
        assert_eq!(q.get("j").await.stalls, stalls, "{made:?}");
    }
}

/// Nothing of a removed job is left, whatever state it was in.
pub async fn removing_takes_the_job_with_its_logs_and_progress(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    for (text, state) in EACH.into_iter().filter(|(_, state)| *state != State::Active) {
        q.edit(Edit::Progress(id(text), json("1")), at(1)).await;
        q.edit(Edit::Log(id(text), vec!["line".into()]), at(1)).await;
        assert_eq!(q.edit(Edit::Remove(id(text)), at(2)).await, Edited::Done, "{state}");
        assert_eq!(q.find(text).await, None);
        assert_eq!(q.lines(text).await, (vec![], 0));
        q.add(vec![named(text, after(5))], at(3)).await;
        assert_eq!((q.get(text).await.progress, q.lines(text).await), (None, (vec![], 0)), "the id is free again");
    }
    assert_eq!(q.counts().await.total(), 6);
}

/// Nobody takes a job away from its worker.
pub async fn removing_a_held_job_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", plain(), T0).await;
    assert_eq!(q.edit(Edit::Remove(id("j")), at(29_999)).await, Edited::Locked);
    assert_eq!(q.end(&held.lock, done(), at(29_999)).await, End::Applied);
}

/// An active job without a live lock belongs to nobody.
pub async fn removing_an_active_job_after_its_lock_has_ended_works(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", plain(), T0).await;
    assert_eq!(q.edit(Edit::Remove(id("j")), at(30_000)).await, Edited::Done);
    assert_eq!(q.end(&held.lock, done(), at(30_000)).await, End::Gone);
    assert_eq!(q.counts().await.total(), 0);
}

/// Each kind of change to a job that is not there.
pub async fn editing_an_unknown_job_answers_missing(h: &impl Harness) {
    let q = Given::on(h);
    let x = || id("x");
    let edits = [
        Edit::Progress(x(), json("1")),
        Edit::Log(x(), vec!["line".into()]),
        Edit::Data(x(), json("1")),
        Edit::Promote(x()),
        Edit::Retry(x(), Made::Keep),
        Edit::Remove(x()),
        Edit::Cancel(x()),
    ];
    for edit in edits {
        assert_eq!(q.edit(edit.clone(), T0).await, Edited::Missing, "{edit:?}");
    }
    assert_eq!(q.events().await, Vec::<String>::new());
}

/// A job that is canceled while it waits stays where it is, and its next taker is to fail it.
pub async fn canceling_a_waiting_job_fails_it_at_its_turn(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("w", plain()), named("p", urgent(1)), named("d", after(100))], T0).await;
    let before = q.counts().await;
    for text in ["w", "p", "d"] {
        assert_eq!(q.edit(Edit::Cancel(id(text)), at(1)).await, Edited::Done);
    }
    assert_eq!(q.counts().await, before);
    let held = q.take(9, at(100)).await;
    assert_eq!(ids(&held), ["w", "d", "p"]);
    for held in held {
        assert_eq!(held.failed_already.expect("doomed").kind, FailureKind::Canceled);
    }
}

/// The holder of a canceled job is told by every beat until the job ends; its lock is good all the while.
pub async fn canceling_a_held_job_is_told_by_the_beat(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", plain(), T0).await;
    assert_eq!(q.beat(vec![held.lock.clone()], at(1)).await.cancel, []);
    assert_eq!(q.edit(Edit::Cancel(id("j")), at(2)).await, Edited::Done);
    for now in [3, 4] {
        let beaten = q.beat(vec![held.lock.clone()], at(now)).await;
        assert_eq!((beaten.cancel, beaten.lost), (vec![id("j")], vec![]));
    }
    assert_eq!(q.end(&held.lock, dead(), at(5)).await, End::Applied);
    assert_eq!(q.beat(vec![held.lock], at(6)).await.cancel, []);
}

/// What has ended cannot be canceled.
pub async fn canceling_a_finished_job_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    assert_eq!(q.edit(Edit::Cancel(id("c")), at(1)).await, Edited::WrongState(State::Completed));
    assert_eq!(q.edit(Edit::Cancel(id("f")), at(1)).await, Edited::WrongState(State::Failed));
}

/// A result that comes all the same counts, and the mark is gone with the end.
pub async fn a_canceled_job_that_ends_well_is_completed(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.held("j", plain(), T0).await;
    q.edit(Edit::Cancel(id("j")), at(1)).await;
    assert_eq!(q.end(&held.lock, done(), at(2)).await, End::Applied);
    assert_eq!(q.get("j").await.state, State::Completed);
    q.edit(Edit::Retry(id("j"), Made::Keep), at(3)).await;
    assert_eq!(q.take(1, at(4)).await[0].failed_already, None);
}

/// The mark lasts until the job ends, over a further try, a put-off, a give-back and a rescue.
pub async fn a_cancel_outlives_retry_and_rescue(h: &impl Harness) {
    let q = Given::on(h);
    let mut lock = q.held("j", tries(9), T0).await.lock;
    q.edit(Edit::Cancel(id("j")), at(1)).await;
    let outcomes = [again(at(2)), launchkit_queue::Outcome::Later(at(2)), launchkit_queue::Outcome::Back];
    for outcome in outcomes {
        assert_eq!(q.end(&lock, outcome, at(2)).await, End::Applied);
        let held = q.take(1, at(2)).await.remove(0);
        assert_eq!(held.failed_already.expect("doomed").kind, FailureKind::Canceled);
        lock = held.lock;
    }
    q.rescue(9, at(30_002)).await;
    let held = q.take(1, at(30_002)).await.remove(0);
    assert_eq!(held.failed_already.expect("doomed").kind, FailureKind::Canceled);
}

/// Progress may come before, during and after a run.
pub async fn progress_is_replaced_and_told_in_any_state(h: &impl Harness) {
    let q = Given::on(h);
    q.in_each_state(T0).await;
    for text in ["w", "a", "c"] {
        let before = q.newest().await;
        for value in ["1", r#"{"of":2}"#] {
            assert_eq!(q.edit(Edit::Progress(id(text), json(value)), at(1)).await, Edited::Done);
        }
        assert_eq!(q.told(before).await, [format!("progress:{text}"), format!("progress:{text}")]);
        assert_eq!(q.get(text).await.progress, Some(json(r#"{"of":2}"#)));
    }
}

/// The job's own limit and the bound of 1,000 lines both let the oldest go.
pub async fn log_lines_stay_in_order_and_the_oldest_go_beyond_the_limit(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![named("few", JobOptions { keep_logs: Some(3), ..plain() }), named("many", plain())], T0).await;
    let lines = |from: u32, to: u32| (from..to).map(|n| n.to_string().into()).collect::<Vec<std::sync::Arc<str>>>();
    for text in ["few", "many"] {
        assert_eq!(q.edit(Edit::Log(id(text), lines(0, 2)), at(1)).await, Edited::Done);
        assert_eq!(q.lines(text).await, (vec!["0".into(), "1".into()], 2));
        q.edit(Edit::Log(id(text), lines(2, 1_005)), at(2)).await;
    }
    let texts = |from: u32| (from..1_005).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(q.lines("few").await, (texts(1_002), 3));
    assert_eq!(q.lines("many").await, (texts(5), 1_000));
}

/// A line of two-byte characters that would be cut within one.
pub async fn a_long_log_line_is_cut_at_a_character(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    let line = format!("x{}", "é".repeat(MAX_LOG_LINE));
    q.edit(Edit::Log(id("j"), vec![line.as_str().into()]), at(1)).await;
    let (lines, _) = q.lines("j").await;
    assert_eq!(lines[0], line[..MAX_LOG_LINE - 1]);
}

/// From short to long and back, while it waits and while it is held.
pub async fn new_data_reaches_the_next_taker(h: &impl Harness) {
    let q = Given::on(h);
    let long = json(&format!("\"{}\"", "x".repeat(5_000)));
    q.waiting(&["j"], T0).await;
    q.edit(Edit::Data(id("j"), long.clone()), at(1)).await;
    assert_eq!(q.get("j").await.data, long);
    let held = q.take(1, at(2)).await.remove(0);
    assert_eq!(held.data, long);
    q.edit(Edit::Data(id("j"), json("2")), at(3)).await;
    q.end(&held.lock, again(at(4)), at(4)).await;
    assert_eq!(q.take(1, at(5)).await[0].data, json("2"));
    assert_eq!(q.get("j").await.data, json("2"));
}

/// One answer per change; more than 1,000 changes are refused whole and handed back.
pub async fn edits_are_answered_in_order_and_a_refusal_leaves_the_others(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["w"], T0).await;
    let progress = |n: usize| Edit::Progress(id("w"), json(&n.to_string()));
    let edits = vec![progress(1), Edit::Promote(id("w")), Edit::Cancel(id("x")), Edit::Log(id("w"), vec!["l".into()])];
    let edited = q.backend.edit(EditAll { queue: q.queue.clone(), edits }, at(1)).await.expect("edited");
    assert_eq!(edited, [Edited::Done, Edited::WrongState(State::Waiting), Edited::Missing, Edited::Done]);
    assert_eq!((q.get("w").await.progress, q.lines("w").await.1), (Some(json("1")), 1));

    let many = EditAll { queue: q.queue.clone(), edits: (0..MAX_EDIT + 1).map(progress).collect() };
    let refused = q.backend.edit(many, at(2)).await.expect_err("too many");
    assert!(matches!(refused.why, StoreError::OutOfBounds(_)), "{refused:?}");
    assert_eq!((refused.happened, refused.input.edits.len()), (launchkit_queue::Happened::No, MAX_EDIT + 1));
    assert_eq!(q.get("w").await.progress, Some(json("1")));
}
