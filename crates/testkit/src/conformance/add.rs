//! Adding: ids, the counter, what is stored, what is refused.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{
    AddError, Backoff, Clock, Dedup, Happened, JobOptions, Keep, Planned, Position, Queue, State, Store, StoreError,
};

use crate::Harness;
use crate::given::*;

fn new(text: &str) -> Added {
    Added::New(id(text))
}

fn existing(text: &str) -> Added {
    Added::Existing(id(text))
}

/// Ids count from one, over calls, in the order given.
pub async fn auto_ids_are_the_queues_decimal_counter(h: &impl Harness) {
    let q = Given::on(h);
    assert_eq!(q.add(vec![job(plain()), job(priority(3))], T0).await, [new("1"), new("2")]);
    assert_eq!(q.add(vec![job(delay(5))], T0).await, [new("3")]);
}

/// Own ids and duplicates use up a number each.
pub async fn the_counter_also_counts_own_ids_and_duplicates(h: &impl Harness) {
    let q = Given::on(h);
    let jobs = vec![named("own", plain()), named("own", plain()), job(plain())];
    assert_eq!(q.add(jobs, T0).await, [new("own"), existing("own"), new("3")]);
}

/// Each queue has its own numbers and its own ids.
pub async fn counters_of_two_queues_are_independent(h: &impl Harness) {
    let (a, b) = (Given::queue(h, "a"), Given::queue(h, "b"));
    for q in [&a, &b] {
        assert_eq!(q.add(vec![job(plain()), named("own", plain())], T0).await, [new("1"), new("own")]);
    }
    let lock = a.one(at(1)).await.lock;
    a.settle(&lock, done(), at(2)).await;
    assert_eq!((a.get("1").await.state, b.get("1").await.state), (State::Completed, State::Waiting));
    assert_eq!((a.counts().await.total(), b.counts().await.total()), (2, 2));
}

/// Nothing of a job is changed on the way in.
pub async fn a_job_is_stored_as_it_was_given(h: &impl Harness) {
    let q = Given::on(h);
    let options = JobOptions {
        priority: 9,
        delay: Duration::from_millis(70),
        lifo: true,
        attempts: 4,
        backoff: Backoff::exponential(Duration::from_millis(1_500)).with_jitter(0.25),
        keep_completed: Keep { count: Some(8), age: Some(Duration::from_secs(3_600)) },
        keep_failed: Keep::NONE,
        timeout: Some(Duration::from_millis(2_750)),
        start_before: Some(at(90_000)),
        keep_logs: Some(6),
        deduplication: Some(Dedup { keep_last_if_active: true, ..Dedup::debounce("d: é", Duration::from_millis(1)) }),
        group: None,
        telemetry: Some("00-é".into()),
    };
    let texts = [r#"{ "a" : 1.0,  "é\u00e9\n":"\"日本 🦀" }"#.to_owned(), format!("\"{}\"", "x".repeat(1 << 20))];
    for (n, text) in texts.iter().enumerate() {
        let options = Arc::new(if n == 0 { options.clone() } else { plain() });
        let given = NewJob { name: "kind:é".into(), data: json(text), options, ..named(&format!("job {n}"), plain()) };
        q.add(vec![given.clone()], at(5)).await;
        let found = q.get(&format!("job {n}")).await;
        assert_eq!(found.data.as_str(), text, "byte for byte");
        assert_eq!((&found.name, &found.options), (&given.name, &given.options));
        assert_eq!((found.timestamp, found.since), (at(5), at(5)));
        assert_eq!((found.made, found.started, found.stalls), (0, 0, 0));
        assert_eq!((found.processed_on, found.processed_by, found.progress), (None, None, None));
        assert_eq!((found.result, found.failure), (None, None));
    }
    assert_eq!((q.get("job 0").await.state, q.get("job 1").await.state), (State::Delayed, State::Waiting));
}

/// The first one stands, in its place.
pub async fn a_duplicate_id_changes_nothing_and_is_answered_as_existing(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    let before = q.get("a").await;
    let again = NewJob { data: json("2"), name: "other".into(), ..named("a", priority(1)) };
    assert_eq!(q.add(vec![again], at(9)).await, [existing("a")]);
    assert_eq!(q.get("a").await, before);
    assert_eq!(q.take_ids(9, at(10)).await, ["a", "b"]);
}

/// Wherever the first one is.
pub async fn a_duplicate_id_is_recognised_in_every_state(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a completed", plain(), T0).await;
    q.settle(&lock, done(), T0).await;
    let lock = q.hold("a failed", plain(), T0).await;
    q.settle(&lock, dead(), T0).await;
    q.hold("a active", plain(), T0).await;
    q.add(vec![named("a waiting", plain()), named("a prioritized", priority(1)), named("a delayed", delay(1))], T0)
        .await;
    for state in State::ALL.into_iter().filter(|state| *state != State::WaitingChildren) {
        let name = format!("a {state}");
        let before = q.get(&name).await;
        assert_eq!(before.state, state);
        assert_eq!(q.add(vec![named(&name, plain())], at(1)).await, [existing(&name)]);
        assert_eq!(q.get(&name).await, before);
    }
    assert_eq!(q.counts().await.total(), 6);
}

/// Also inside one call.
pub async fn an_id_given_twice_in_one_add_is_stored_once(h: &impl Harness) {
    let q = Given::on(h);
    let second = NewJob { data: json("2"), ..named("a", delay(5)) };
    assert_eq!(q.add(vec![named("a", plain()), second], T0).await, [new("a"), existing("a")]);
    assert_eq!((q.get("a").await.data, q.counts().await.total()), (json(r#"{"n":1}"#), 1));
}

/// A new job under an old id has nothing of the old one.
pub async fn a_removed_id_can_be_added_again(h: &impl Harness) {
    let q = Given::on(h);
    let fresh = || NewJob { data: json(&format!("\"{}\"", "y".repeat(5_000))), ..named("a", plain()) };
    q.add(vec![fresh()], T0).await;
    for (n, keep) in [(1, Keep::ALL), (2, Keep::NONE)] {
        let lock = q.one(at(n)).await.lock;
        q.edit(Edit::Progress(id("a"), json("50")), at(n)).await;
        q.edit(Edit::Log(id("a"), vec!["line".into()]), at(n)).await;
        q.settle(&lock, retry(at(n)), at(n)).await;
        let lock = q.one(at(n)).await.lock;
        assert_eq!(q.end_keeping(&lock, done(), keep, at(n)).await, End::Applied);
        if keep == Keep::ALL {
            assert_eq!(q.edit(Edit::Remove(id("a")), at(n)).await, Edited::Done);
        }
        assert_eq!(q.add(vec![fresh()], at(n + 10)).await, [new("a")]);
        let found = q.get("a").await;
        assert_eq!((found.made, found.started, found.timestamp, found.data), (0, 0, at(n + 10), fresh().data));
        assert_eq!((found.progress, found.result, found.failure, found.processed_on), (None, None, None, None));
        assert_eq!(q.backend.logs(&q.queue, &id("a"), 0, 9).await.expect("logs"), Logs::default());
    }
}

/// The bound itself is allowed.
pub async fn ten_thousand_jobs_are_added_in_order_in_one_go(h: &impl Harness) {
    let q = Given::on(h);
    let shared = job(plain());
    let added = q.add(vec![shared; MAX_ADD], T0).await;
    let numbers: Vec<String> = (1..=MAX_ADD).map(|n| n.to_string()).collect();
    assert!(added.iter().zip(&numbers).all(|(added, n)| *added == new(n)) && added.len() == MAX_ADD);
    let mut taken = Vec::new();
    for _ in 0..MAX_ADD / MAX_TURN {
        taken.extend(q.take_ids(MAX_TURN, at(1)).await);
    }
    assert!(taken == numbers, "taken in the order of their adding");
}

/// One too many: nothing of it happens, and the caller has it back.
pub async fn an_add_beyond_the_bound_is_refused_whole_and_handed_back(h: &impl Harness) {
    let q = Given::on(h);
    q.add(vec![job(plain())], T0).await;
    let newest = q.newest().await;
    let add = Add { queue: q.queue.clone(), jobs: vec![job(plain()); MAX_ADD + 1] };
    let failed = q.backend.add(add, T0).await.expect_err("refused");
    assert!(matches!(failed.why, StoreError::OutOfBounds(_)), "{}", failed.why);
    assert_eq!((failed.happened, failed.input.jobs.len()), (Happened::No, MAX_ADD + 1));
    assert_eq!((q.counts().await.total(), q.newest().await), (1, newest));
    assert_eq!(q.add(vec![job(plain())], T0).await, [new("2")]);
}

/// Bad input is refused by [`Queue`], alone and at the end of a good batch, and leaves no trace.
pub async fn unfit_ids_names_and_options_are_refused_and_nothing_is_added(h: &impl Harness) {
    let store = Store::over(h.backend(), Clock::runtime(T0));
    let queue = Queue::new(&store, "cases").expect("a name");
    for (alone, (planned, what)) in unfit().map(|bad| (true, bad)).chain(unfit().map(|bad| (false, bad))) {
        let shown = format!("{planned:?}");
        let batch = if alone { vec![planned] } else { vec![Planned::named("good", &1), planned] };
        let error = queue.add_all(batch).await.expect_err("refused");
        let kind = match &error {
            AddError::Id(_) => "id",
            AddError::Name(_) => "name",
            AddError::Options(_) => "options",
            _ => "another",
        };
        assert_eq!(kind, what, "{shown}: {error}");
    }
    let q = Given::on(h);
    assert_eq!((q.counts().await.total(), q.newest().await), (0, Position::START));
    let edge = queue.add_named("a:b", 1).priority(2_097_151).delay(Duration::from_secs(365 * 86_400)).attempts(0);
    assert_eq!(edge.await.expect("what is just allowed"), new("1"));
}

/// Jobs that cannot be added, and by what.
fn unfit() -> impl Iterator<Item = (Planned, &'static str)> {
    let long = "x".repeat(256);
    let jitter = Backoff::fixed(Duration::from_secs(1)).with_jitter(1.5);
    let options = [
        priority(2_097_152),
        delay(365 * 86_400_000 + 1),
        JobOptions { backoff: jitter, ..plain() },
        JobOptions { timeout: Some(Duration::ZERO), ..plain() },
    ];
    let ids = ["7", "-5", "0", "a:b", "wait", "", &long, "a\u{7}"].map(|id| Planned::named("text", &1).id(id));
    let names = ["", &long, "a\u{7}"].map(|name| Planned::named(name, &1));
    let options = options.map(|options| Planned::named("text", &1).options(options));
    let told = |what: &'static str| move |planned: Planned| (planned, what);
    ids.into_iter().map(told("id")).chain(names.map(told("name"))).chain(options.map(told("options")))
}
