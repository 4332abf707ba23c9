//! Why a job is not running: every reason, from what the store knows.

use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, Explanation, Failure, FailureKind, JobOptions, Outcome, State, Timestamp, Why, explain};
use serde_json::json;

use crate::Harness;
use crate::given::*;

async fn why(q: &Given, job: &str, now: Timestamp) -> Explanation {
    explain(&q.backend.facts(&q.queue, &id(job), now).await.expect("facts"), now)
}

fn codes(explanation: &Explanation) -> Vec<Why> {
    explanation.reasons.iter().map(|reason| reason.code).collect()
}

/// A worker of this many slots gives a sign of life.
async fn alive(q: &Given, slots: usize, now: Timestamp) {
    let worker = WorkerInfo { slots, ..worker("w") };
    let beat = Beat { queue: q.queue.clone(), worker, locks: Vec::new(), lock_for: LOCK };
    q.backend.beat(beat, now).await.expect("beat");
}

/// No state, and nothing is invented.
pub async fn an_unknown_job_is_not_in_the_queue(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(codes(&why(&q, "j", T0).await), [Why::NotInQueue]);
    q.waiting(&["other"], T0).await;
    let explained = why(&q, "j", T0).await;
    assert_eq!((explained.state, codes(&explained)), (None, vec![Why::NotInQueue]));
}

/// Also when others are before it; a worker of a minute ago is none.
pub async fn without_workers_that_is_the_reason(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "j"], T0).await;
    assert_eq!(codes(&why(&q, "j", at(5)).await), [Why::NoWorkers, Why::BehindOthers]);
    alive(&q, 1, at(10)).await;
    assert_eq!(codes(&why(&q, "j", at(11)).await), [Why::BehindOthers]);
    let later = at(10).plus(WORKER_GONE);
    assert_eq!(codes(&why(&q, "j", later).await), [Why::NoWorkers, Why::BehindOthers]);
}

/// Before everything else; the delay of a job that is not due decides before it.
pub async fn a_paused_queue_is_the_deciding_reason(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    q.add(vec![named("d", delay(100))], T0).await;
    q.backend.control(&q.queue, Control::Pause, T0).await.expect("pause");
    assert_eq!(codes(&why(&q, "j", at(1)).await), [Why::QueuePaused, Why::NoWorkers, Why::BehindOthers]);
    assert_eq!(codes(&why(&q, "d", at(1)).await), [Why::Delayed, Why::QueuePaused, Why::NoWorkers]);
    assert_eq!(codes(&why(&q, "d", at(100)).await), [Why::QueuePaused, Why::NoWorkers, Why::Delayed]);
}

/// Priorities, LIFO and age have their say: what is named is the number of takes before it.
pub async fn a_ready_job_is_behind_those_that_are_taken_before_it(h: &impl Harness) {
    let q = Given::on(h);
    alive(&q, 3, T0).await;
    let jobs =
        [("a", plain()), ("p", priority(2)), ("j", priority(2)), ("u", priority(1)), ("l", lifo()), ("z", priority(9))];
    q.add(jobs.into_iter().map(|(text, options)| named(text, options)).collect(), T0).await;
    for (text, ahead) in [("l", 0), ("a", 1), ("u", 2), ("z", 5)] {
        let facts = q.backend.facts(&q.queue, &id(text), at(1)).await.expect("facts");
        assert_eq!(facts.ahead, ahead, "{text}");
    }
    let explained = why(&q, "j", at(1)).await;
    assert_eq!((explained.state, codes(&explained)), (Some(State::Prioritized), vec![Why::BehindOthers]));
    assert_eq!((&explained.reasons[0].details["ahead"], explained.reasons[0].since), (&json!(4), Some(T0)));
    for (text, ahead) in [("l", 0), ("a", 1), ("u", 2), ("z", 5)] {
        assert_eq!(q.backend.facts(&q.queue, &id(text), at(1)).await.expect("facts").ahead, ahead, "{text}");
    }
    assert_eq!(q.take_ids(4, at(2)).await, ["l", "a", "u", "p"]);
    let next = why(&q, "j", at(3)).await;
    assert_eq!(next.reasons[0].details, *json!({"ahead": 0, "active": 4, "slots": 3}).as_object().unwrap());
    assert!(next.reasons[0].message.contains("all 3 slots"), "{next:?}");
}

/// The count is bounded, so that asking costs the same however long the queue is.
pub async fn more_than_ten_thousand_ahead_are_not_counted(h: &impl Harness) {
    let q = Given::on(h);
    for _ in 0..2 {
        q.add((0..5_001).map(|_| job(plain())).collect(), T0).await;
    }
    q.waiting(&["j"], T0).await;
    let facts = q.backend.facts(&q.queue, &id("j"), T0).await.expect("facts");
    assert_eq!(facts.ahead, MAX_AHEAD + 1);
    let explained = explain(&facts, T0);
    assert!(explained.reasons.iter().any(|reason| reason.message.starts_with("More than 10000")), "{explained:?}");
}

/// Its time stands beside it.
pub async fn a_delayed_job_names_its_time(h: &impl Harness) {
    let q = Given::on(h);
    alive(&q, 1, T0).await;
    q.add(vec![named("j", delay(500))], T0).await;
    let explained = why(&q, "j", at(1)).await;
    assert_eq!((explained.state, codes(&explained)), (Some(State::Delayed), vec![Why::Delayed]));
    assert_eq!((explained.reasons[0].since, explained.reasons[0].until), (Some(T0), Some(at(500))));
}

/// Which attempt failed, and why.
pub async fn a_failed_attempt_waits_for_its_backoff(h: &impl Harness) {
    let q = Given::on(h);
    alive(&q, 1, T0).await;
    q.add(vec![named("j", tries(3))], T0).await;
    let held = q.one(at(1)).await;
    q.end(&held.lock, Outcome::Retry { at: at(900), failure: boom() }, at(2)).await;
    let explained = why(&q, "j", at(3)).await;
    assert_eq!(codes(&explained), [Why::RetryBackoff]);
    let reason = &explained.reasons[0];
    assert_eq!((reason.message.as_str(), reason.until), ("Attempt 1 of 3 failed: boom", Some(at(900))));
    assert_eq!(reason.details, *json!({"attempt": 1, "attempts": 3}).as_object().unwrap());
}

/// Who has it, and since when.
pub async fn a_running_job_names_its_worker(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    q.one(at(1)).await;
    let explained = why(&q, "j", at(2)).await;
    assert_eq!((explained.state, codes(&explained)), (Some(State::Active), vec![Why::Running]));
    let reason = &explained.reasons[0];
    assert_eq!((&reason.details["worker"], reason.since), (&json!("worker-1"), Some(at(1))));
}

/// From the moment at which it would be rescued.
pub async fn an_expired_lock_is_a_lost_worker(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    q.one(at(1)).await;
    let end = at(1).plus(LOCK);
    alive(&q, 1, at(2)).await;
    assert_eq!(codes(&why(&q, "j", end.minus(std::time::Duration::from_millis(1))).await), [Why::Running]);
    let lost = why(&q, "j", end).await;
    // A server that lets go of locks by itself does not remember when.
    let since = (h.backend().promises().shared != Shared::Network).then_some(end);
    assert_eq!((codes(&lost), lost.reasons[0].since), (vec![Why::LockLost], since));
    let alone = why(&q, "j", at(2).plus(WORKER_GONE)).await;
    assert_eq!(codes(&alone), [Why::NoWorkers, Why::LockLost]);
}

/// Well or badly, with the reason.
pub async fn a_finished_job_says_how_it_ended(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["good", "bad"], T0).await;
    let held = q.take(2, at(1)).await;
    q.end(&held[0].lock, done(), at(2)).await;
    q.end(&held[1].lock, Outcome::Dead(Failure::new(FailureKind::Error, "no")), at(3)).await;
    for (job, state, message, when) in
        [("good", State::Completed, "It is completed.", 2), ("bad", State::Failed, "It failed: no", 3)]
    {
        let explained = why(&q, job, at(9)).await;
        assert_eq!((explained.state, codes(&explained)), (Some(state), vec![Why::Finished]));
        let reason = &explained.reasons[0];
        assert_eq!((reason.message.as_str(), reason.since), (message, Some(at(when))));
    }
}

/// It is in no state until its owner has ended; one whose place was taken by a later one never will be.
pub async fn a_kept_job_waits_for_the_owner_of_its_id(h: &impl Harness) {
    let q = Given::on(h);
    let keeping = || JobOptions { deduplication: Some(Dedup::keep_last("d")), ..plain() };
    q.add(vec![named("owner", keeping())], T0).await;
    let held = q.one(at(1)).await;
    q.add(vec![named("early", keeping()), named("late", keeping())], at(2)).await;
    let explained = why(&q, "late", at(3)).await;
    assert_eq!((explained.state, codes(&explained)), (None, vec![Why::Deduplicated]));
    assert_eq!(explained.reasons[0].details, *json!({"owner": "owner"}).as_object().expect("an object"));
    assert_eq!(codes(&why(&q, "early", at(3)).await), [Why::NotInQueue]);
    q.end(&held.lock, done(), at(4)).await;
    assert_eq!(codes(&why(&q, "late", at(5)).await), [Why::NoWorkers, Why::BehindOthers]);
}
