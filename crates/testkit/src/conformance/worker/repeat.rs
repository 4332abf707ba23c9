//! Job schedulers as workers serve them.

use std::sync::Mutex;

use launchkit_queue::backend::*;
use launchkit_queue::{Repeat, Schedule};

use super::*;
use crate::Faulty;
use crate::faulty::{Fault, Verb};
use crate::given::*;

const SECOND: Duration = Duration::from_secs(1);

/// A job each second.
fn secondly(limit: u64) -> Repeat {
    let repeat = Repeat::new("r", Schedule::Every(SECOND), &Text { n: 1 }).expect("JSON");
    Repeat { limit: Some(limit), ..repeat }
}

type Runs = Arc<Mutex<Vec<(JobId, Timestamp)>>>;

/// A worker that notes which job ran when.
fn noting(b: &Bench, runs: &Runs) -> WorkerBuilder {
    let (runs, clock) = (runs.clone(), b.clock.clone());
    b.worker().on::<Text>(move |job: Active<Text>| {
        runs.lock().expect("runs").push((job.id().clone(), clock.now()));
        async { Ok(0) }
    })
}

/// The slots of what ran, none of it before its slot.
fn slots(runs: &Runs) -> Vec<i64> {
    let runs = runs.lock().expect("runs");
    let slot = |(id, ran): &(JobId, Timestamp)| {
        let (repeat, slot) = id.iteration().expect("a scheduler's job");
        assert!(repeat == "r" && *ran >= slot, "{id} ran at {ran}");
        slot.millis()
    };
    runs.iter().map(slot).collect()
}

/// Three runs a second apart; where time is real and the machine busy, a slot may have been missed.
fn expect_three(b: &Bench, runs: &Runs, first: i64) {
    let slots = slots(runs);
    assert_eq!((slots.len(), slots[0]), (3, first));
    for pair in slots.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart == 1_000 || (!b.exact && apart > 0 && apart % 1_000 == 0), "{slots:?}");
    }
}

/// Each job a second after the one before, none twice, and then no more.
pub async fn a_worker_runs_a_scheduler_to_its_limit(h: &impl Harness) {
    let b = Bench::on(h);
    let runs = Runs::default();
    let first = b.queue.schedule(secondly(3)).await.expect("scheduled").expect("a slot").millis();
    let (_, report) = during(noting(&b, &runs).concurrency(4), b.until_ended(3)).await;
    assert_eq!(report.done, 3);
    expect_three(&b, &runs, first);
    let rests = b.queue.scheduled("r").await.expect("a read").expect("a scheduler");
    assert_eq!((rests.slot, rests.count, b.given.counts().await.total()), (None, 3, 3));
}

/// Two workers, and every second answer to their changes lost.
pub async fn lost_answers_and_two_workers_double_no_scheduled_job(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let runs = Runs::default();
    let first = b.queue.schedule(secondly(3)).await.expect("scheduled").expect("a slot").millis();
    let script = || [Some(Fault::After), None].into_iter().cycle();
    faulty.plan(Verb::Edit, script());
    faulty.plan(Verb::Turn, script().take(20));
    let (_, _) = during(noting(&b, &runs), during(noting(&b, &runs), b.until_ended(3))).await;
    expect_three(&b, &runs, first);
    assert!(faulty.faults() > 0);
}

/// A definition that nobody would ever move on: its job was removed, or ended before the step to the next.
pub async fn a_worker_moves_on_a_scheduler_that_stands_still(h: &impl Harness) {
    let b = Bench::on(h);
    let old = at(-3_600_500);
    let put = Put { repeat: Arc::new(secondly(2)), first: old };
    assert_eq!(b.given.edit(Edit::Schedule(put), T0).await, Edited::Due(old));
    b.queue.remove(&JobId::of_iteration("r", old)).await.expect("removed");
    let runs = Runs::default();
    during(noting(&b, &runs), b.until_ended(1)).await;
    let slots = slots(&runs);
    // What was missed is left out, and the offset stays.
    assert_eq!((slots.len(), (slots[0] - old.millis()) % 1_000), (1, 0));
    assert!(slots[0] >= T0.millis());
}

/// The job whose taker could not make the next one runs all the same; a later look makes it.
pub async fn a_step_that_the_store_refuses_is_made_up_for(h: &impl Harness) {
    let faulty = Faulty::over(h.backend());
    let b = Bench::over(faulty.clone());
    let old = at(-120_500);
    let put = Put { repeat: Arc::new(secondly(2)), first: old };
    b.given.edit(Edit::Schedule(put), T0).await;
    faulty.plan(Verb::Edit, [Some(Fault::Before); 3]);
    let runs = Runs::default();
    let worker = noting(&b, &runs).rescue_every(Duration::from_millis(100));
    let (_, report) = during(worker, b.until_ended(2)).await;
    let slots = slots(&runs);
    assert_eq!((report.done, faulty.faults(), slots.len(), slots[0]), (2, 3, 2, old.millis()));
    assert!(slots[1] >= T0.millis());
}
