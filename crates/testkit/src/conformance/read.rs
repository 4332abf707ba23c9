//! What readers see.

use launchkit_queue::backend::*;
use launchkit_queue::{JobId, JobOptions, Outcome, QueueName, Record, State, StoreError};

use crate::given::*;
use crate::{Harness, invariants};

/// The states that a job can be brought to by a verb.
const STATES: [State; 6] =
    [State::Waiting, State::Prioritized, State::Delayed, State::Active, State::Completed, State::Failed];

/// This many jobs in one state, in a queue that holds no ready ones yet.
async fn fill(q: &Given, state: State, count: usize) {
    let options = match state {
        State::Prioritized => urgent(5),
        State::Delayed => after(60_000),
        _ => plain(),
    };
    let jobs = (0..count).map(|n| named(&format!("{}-{n}", state.name()), options.clone())).collect();
    q.add(jobs, T0).await;
    if !matches!(state, State::Active | State::Completed | State::Failed) {
        return;
    }
    for held in q.take(count, T0).await {
        match state {
            State::Completed => drop(q.end(&held.lock, done(), T0).await),
            State::Failed => drop(q.end(&held.lock, dead(), T0).await),
            _ => {}
        }
    }
}

async fn page(q: &Given, state: State, after: Option<Cursor>, most: u32) -> Page {
    q.backend.list(&q.queue, &List { state, after, most }).await.expect("list")
}

fn names(jobs: &[Record]) -> Vec<String> {
    jobs.iter().map(|job| job.id.to_string()).collect()
}

/// One to six jobs in each state, and their sum.
pub async fn counts_agree_with_lists_in_every_state(h: &impl Harness) {
    let q = Given::on(h);
    for (state, count) in STATES.into_iter().rev().zip(1..) {
        fill(&q, state, count).await;
    }
    let counts = q.counts().await;
    for (state, count) in STATES.into_iter().rev().zip(1..) {
        assert_eq!((counts.of(state), q.list(state).await.len()), (count, count as usize), "{state}");
    }
    assert_eq!((counts.total(), counts.waiting_children), (21, 0));
}

/// The list is the order of the takes that follow, LIFO and give-backs included.
pub async fn waiting_jobs_are_listed_next_to_run_first(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let held = q.take(1, T0).await;
    q.add(vec![named("l", first()), named("e", plain()), named("p", urgent(1))], T0).await;
    q.end(&held[0].lock, Outcome::Back, T0).await;
    let listed = q.list(State::Waiting).await;
    assert_eq!(listed, ["a", "l", "b", "e"]);
    assert_eq!(q.take_ids(4, T0).await, listed);
}

/// Waiting ones do not show there.
pub async fn prioritized_jobs_are_listed_by_priority_then_age(h: &impl Harness) {
    let q = Given::on(h);
    let jobs = [("a", urgent(5)), ("b", urgent(1)), ("w", plain()), ("e", urgent(5)), ("g", urgent(1))];
    q.add(jobs.into_iter().map(|(text, options)| named(text, options)).collect(), T0).await;
    assert_eq!(q.list(State::Prioritized).await, ["b", "g", "a", "e"]);
    assert_eq!(q.list(State::Waiting).await, ["w"]);
}

/// Overdue ones first, equals by age; a priority has no say.
pub async fn delayed_jobs_are_listed_by_due_time(h: &impl Harness) {
    let q = Given::on(h);
    let ranked = JobOptions { priority: 1, ..after(300) };
    q.add(vec![named("late", ranked), named("a", after(200)), named("b", after(200))], T0).await;
    q.add(vec![named("overdue", after(1))], at(50)).await;
    assert_eq!(q.list(State::Delayed).await, ["overdue", "a", "b", "late"]);
}

/// Several in one millisecond too.
pub async fn finished_jobs_are_listed_newest_first(h: &impl Harness) {
    let q = Given::on(h);
    for (text, outcome, now) in
        [("a", done(), 1), ("b", done(), 1), ("f", dead(), 1), ("g", dead(), 1), ("e", done(), 2)]
    {
        q.finish(text, plain(), outcome, at(now)).await;
    }
    assert_eq!(q.list(State::Completed).await, ["e", "b", "a"]);
    assert_eq!(q.list(State::Failed).await, ["g", "f"]);
}

/// 25 jobs of each state in pages of 1, 7 and 25.
pub async fn pages_join_without_gap_or_repetition(h: &impl Harness) {
    for state in STATES {
        let q = Given::queue(h, state.name());
        fill(&q, state, 25).await;
        let whole = q.list(state).await;
        assert_eq!(whole.len(), 25);
        for most in [1, 7, 25] {
            let (mut joined, mut after) = (Vec::new(), None);
            loop {
                let page = page(&q, state, after, most).await;
                assert!(page.jobs.len() <= most as usize);
                joined.extend(names(&page.jobs));
                after = page.next;
                if after.is_none() {
                    break;
                }
                assert!(joined.len() <= 25 && !page.jobs.is_empty(), "{state}: goes on after its end");
            }
            assert_eq!(joined, whole, "{state}, pages of {most}");
        }
    }
}

/// Every job that stayed in its state shows once, whatever was added and ended meanwhile.
pub async fn pages_stay_whole_while_jobs_are_added(h: &impl Harness) {
    let q = Given::on(h);
    fill(&q, State::Completed, 9).await;
    fill(&q, State::Waiting, 9).await;
    let stayed = [q.list(State::Waiting).await.split_off(4), q.list(State::Completed).await];
    let mut seen = [Vec::new(), Vec::new()];
    let mut after = [None, None];
    for round in 0..4 {
        for (index, state) in [State::Waiting, State::Completed].into_iter().enumerate() {
            if round > 0 && after[index].is_none() {
                continue;
            }
            let page = page(&q, state, after[index], 4).await;
            seen[index].extend(names(&page.jobs));
            after[index] = page.next;
        }
        let held = q.take(1, at(1)).await;
        q.end(&held[0].lock, done(), at(1)).await;
        q.add(vec![named(&format!("back-{round}"), plain()), named(&format!("front-{round}"), first())], at(1)).await;
        let held = q.take(1, at(1)).await; // the one in front, so that the old ones stay
        q.end(&held[0].lock, done(), at(1)).await;
    }
    for (stayed, seen) in stayed.iter().zip(&seen) {
        for text in stayed {
            assert_eq!(seen.iter().filter(|other| *other == text).count(), 1, "{text} in {seen:?}");
        }
    }
}

/// One answer per id; more than 1,000 are refused.
pub async fn jobs_are_read_in_the_order_of_their_ids_with_none_for_unknown_ones(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let read = q.backend.get(&q.queue, &["b", "x", "a", "b"].map(id)).await.expect("get");
    let found: Vec<_> = read.iter().map(|job| job.as_ref().map(|job| job.id.as_str())).collect();
    assert_eq!(found, [Some("b"), None, Some("a"), Some("b")]);
    let many: Vec<JobId> = (0..=MAX_READ).map(|n| id(&n.to_string())).collect();
    assert!(matches!(q.backend.get(&q.queue, &many).await, Err(StoreError::OutOfBounds(_))));
}

/// Skipping beyond the end finds nothing.
pub async fn log_pages_join_and_tell_the_total(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["j"], T0).await;
    q.edit(Edit::Log(id("j"), (0..10).map(|n| n.to_string().into()).collect()), T0).await;
    let mut joined = Vec::new();
    for (skip, count) in [(0, 4), (4, 4), (8, 2), (12, 0)] {
        let logs = q.backend.logs(&q.queue, &id("j"), skip, 4).await.expect("logs");
        assert_eq!((logs.lines.len(), logs.total), (count, 10));
        joined.extend(logs.lines.iter().map(|line| line.to_string()));
    }
    assert_eq!(joined, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(matches!(q.backend.logs(&q.queue, &id("j"), 0, MAX_READ + 1).await, Err(StoreError::OutOfBounds(_))));
}

/// The oldest ready job is told since when it is ready, not when it was added.
pub async fn info_tells_pause_workers_newest_event_and_the_oldest_ready_job(h: &impl Harness) {
    let q = Given::on(h);
    let info = || async { q.backend.info(&q.queue, at(200)).await.expect("info") };
    q.add(vec![named("d", after(90_000))], T0).await;
    assert_eq!((info().await.paused, info().await.oldest_ready, info().await.workers), (false, None, vec![]));
    q.edit(Edit::Promote(id("d")), at(150)).await;
    q.waiting(&["w"], at(180)).await;
    q.beat(vec![], at(190)).await;
    q.backend.control(&q.queue, Control::Pause, at(195)).await.expect("control");
    let told = info().await;
    assert_eq!((told.paused, told.oldest_ready, told.workers), (true, Some(at(150)), vec![worker("w1")]));
    assert_eq!(told.counts, q.counts().await);
    assert_eq!(Some(told.newest_event), q.events_after(Default::default()).await.last().map(|(position, _)| *position));
}

/// An add lists a queue, also after its jobs are gone; looking at another name does not.
pub async fn queues_are_listed_once_used_and_not_by_being_read(h: &impl Harness) {
    let (q, other) = (Given::on(h), Given::queue(h, "other"));
    q.waiting(&["j"], T0).await;
    q.edit(Edit::Remove(id("j")), T0).await;
    assert_eq!(other.counts().await.total(), 0);
    assert_eq!(other.list(State::Waiting).await, Vec::<String>::new());
    assert_eq!(other.find("j").await, None);
    assert_eq!(other.events().await, Vec::<String>::new());
    assert_eq!(other.lines("j").await, (vec![], 0));
    assert_eq!(other.newest().await, Default::default());
    other.backend.wait_events(&other.queue, Default::default(), std::time::Duration::ZERO).await.expect("wait");
    assert_eq!(q.backend.queues().await.expect("queues"), [QueueName::new("cases").expect("a name")]);
}

/// A store belongs to one deployment.
pub async fn the_first_claim_wins(h: &impl Harness) {
    let backend = h.backend();
    assert_eq!(&*backend.claim("first").await.expect("claim"), "first");
    assert_eq!(&*backend.claim("second").await.expect("claim"), "first");
    assert_eq!(&*backend.claim("first").await.expect("claim"), "first");
}

/// Everything that can be read of a queue.
async fn picture(q: &Given) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut jobs = Vec::new();
    for state in State::ALL {
        for job in invariants::all(&*q.backend, &q.queue, state).await {
            let lines = q.lines(job.id.as_str()).await;
            jobs.push((job, lines));
        }
    }
    let info = q.backend.info(&q.queue, at(2)).await.expect("info");
    let rest = (info.paused, info.workers, info.newest_event, info.oldest_ready);
    (jobs, q.counts().await, rest, q.events_after(Default::default()).await)
}

/// Jobs in every state with all that hangs on them, the pause, the counter, the events, the owner.
pub async fn what_was_answered_is_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let durable = h.backend().promises().durable;
    let q = Given::on(&h);
    q.in_each_state(T0).await;
    for text in ["w", "c"] {
        q.edit(Edit::Progress(id(text), json("50")), at(1)).await;
        q.edit(Edit::Log(id(text), vec!["one".into(), "two".into()]), at(1)).await;
    }
    q.edit(Edit::Data(id("w"), json(&format!("\"{}\"", "x".repeat(9_000)))), at(1)).await;
    q.beat(vec![], at(1)).await;
    q.backend.control(&q.queue, Control::Pause, at(1)).await.expect("control");
    q.backend.claim("me").await.expect("claim");
    let before = picture(&q).await;
    drop(q);
    let Some(h) = h.reopen().await else {
        assert_eq!(durable, Durable::Process);
        return;
    };
    let q = Given::on(&h);
    assert_eq!(picture(&q).await, before);
    assert_eq!(&*q.backend.claim("you").await.expect("claim"), "me");
    assert_eq!(q.add(vec![job(plain())], at(2)).await, [Added::New(id("7"))], "the counter goes on");
    invariants::check(&*q.backend).await;
}

/// Its lock is good, or it waits again; never gone, never both.
pub async fn a_held_job_survives_reopening_held_or_ready<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    let lock = q.held("j", plain(), T0).await.lock;
    drop(q);
    let Some(h) = h.reopen().await else { return };
    let q = Given::on(&h);
    match q.get("j").await.state {
        State::Active => assert_eq!(q.end(&lock, done(), at(1)).await, End::Applied),
        State::Waiting => assert_eq!(q.end(&lock, done(), at(1)).await, End::LockLost),
        state => panic!("{state}"),
    }
    invariants::check(&*q.backend).await;
}
