//! What workers make of slots that were missed and of runs that must not overlap, also when they are killed on the way.

use std::collections::HashMap;
use std::sync::Mutex;

use launchkit_queue::backend::*;
use launchkit_queue::{Fate, Misfire, Overlap, Repeat, Schedule, Tick};

use super::*;
use crate::Faulty;
use crate::faulty::{Fault, Verb};
use crate::given::*;

const HOUR: i64 = 3_600_000;
/// Five slots lie back when cases begin, and none of them by less than half an hour.
const OLDEST: i64 = -9 * HOUR / 2;
/// The first slot that lies ahead.
const AHEAD: i64 = HOUR / 2;
const SKIP: Misfire = Misfire::Skip { after: Duration::from_secs(60) };

/// A job each hour, by each policy.
fn hourly(misfire: Misfire, overlap: Overlap) -> Repeat {
    let schedule = Schedule::Every(Duration::from_millis(HOUR as u64));
    let repeat = Repeat::new("r", schedule, &Text { n: 1 }).expect("JSON");
    Repeat { misfire, overlap, ..repeat }
}

/// The slots that run when a worker comes after the five; of [`SKIP`] one is failed.
fn expected(misfire: Misfire) -> Vec<i64> {
    match misfire {
        Misfire::One => vec![OLDEST],
        Misfire::Skip { .. } => vec![],
        Misfire::All => (0..5).map(|n| OLDEST + n * HOUR).collect(),
    }
}

async fn put(given: &Given, repeat: Repeat, first: i64) {
    let put = Put { repeat: Arc::new(repeat), first: at(first) };
    assert_eq!(given.edit(Edit::Schedule(put), T0).await, Edited::Due(at(first)));
}

/// Until the job of the slot that lies ahead is made.
async fn until_ahead(b: &Bench) {
    let ahead = JobId::of_iteration("r", at(AHEAD));
    b.until(1, |event| matches!(event, Event::Delayed { id, .. } if *id == ahead)).await;
}

fn brief(ticks: &[Tick]) -> Vec<(Fate, i64, u64)> {
    ticks.iter().map(|tick| (tick.fate, tick.first.millis() - T0.millis(), tick.count)).collect()
}

/// The bench of a queue of its own, by the clock of another.
fn bench(b: &Bench, backend: Arc<dyn Backend>, name: &str) -> Bench {
    let queue = Queue::new(&Store::over(backend.clone(), b.clock.clone()), name).expect("a queue name");
    Bench { given: Given::over(backend, queue.name().clone()), queue, clock: b.clock.clone(), exact: b.exact }
}

/// Five slots passed: one late run, none, or five, one after the other; the ledger says so.
pub async fn each_misfire_policy_does_what_it_says_about_missed_slots(h: &impl Harness) {
    let base = Bench::on(h);
    for (name, misfire) in [("one", Misfire::One), ("skip", SKIP), ("all", Misfire::All)] {
        let b = bench(&base, h.backend(), name);
        put(&b.given, hourly(misfire, Overlap::Allow), OLDEST).await;
        let slots = Arc::new(Mutex::new(Vec::new()));
        let noted = slots.clone();
        let worker = b.worker().on::<Text>(move |job: Active<Text>| {
            let slot = job.id().iteration().map(|(_, slot)| slot.millis() - T0.millis());
            noted.lock().expect("slots").extend(slot);
            async { Ok(0) }
        });
        let wanted = expected(misfire);
        let ends = wanted.len().max(1);
        let (_, report) = during(worker, async { tokio::join!(until_ahead(&b), b.until_ended(ends)) }).await;
        assert_eq!((&*slots.lock().expect("slots"), report.done), (&wanted, wanted.len() as u64), "{misfire:?}");
        let ticks = brief(&b.queue.ticks("r", 100).await.expect("ticks"));
        assert_eq!(ticks, ledger(misfire, Overlap::Allow), "{misfire:?}");
    }
}

/// The ledger when a worker comes after the five, newest first.
fn ledger(misfire: Misfire, overlap: Overlap) -> Vec<(Fate, i64, u64)> {
    let left = if overlap == Overlap::Skip { Fate::Skipped } else { Fate::Missed };
    match misfire {
        Misfire::One => vec![(left, OLDEST + HOUR, 4), (Fate::Late, OLDEST, 1)],
        Misfire::Skip { .. } => vec![(Fate::Skipped, OLDEST + HOUR, 4), (Fate::Skipped, OLDEST, 1)],
        Misfire::All => expected(misfire).iter().rev().map(|slot| (Fate::Late, *slot, 1)).collect(),
    }
}

/// While one runs, at its first try or its second, the next one is not there, neither ready nor delayed.
pub async fn runs_that_must_not_overlap_wait_for_each_other(h: &impl Harness) {
    let b = Bench::on(h);
    let options = JobOptions { attempts: 2, backoff: Backoff::fixed(Duration::from_millis(20)), ..plain() };
    put(&b.given, Repeat { options, ..hourly(Misfire::All, Overlap::Skip) }, OLDEST).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let worker = || {
        let (seen, queue) = (seen.clone(), b.queue.clone());
        b.worker().concurrency(4).on::<Text>(move |job: Active<Text>| {
            let (seen, queue) = (seen.clone(), queue.clone());
            async move {
                let counts = queue.counts().await.map_err(Exit::from)?;
                seen.lock().expect("seen").push((counts.waiting, counts.delayed, counts.active));
                if job.attempt() == 1 { Err(Exit::from("the first try")) } else { Ok(0) }
            }
        })
    };
    let both = async { tokio::join!(until_ahead(&b), b.until_ended(5)) };
    let ((_, first), second) = during(worker(), during(worker(), both)).await;
    assert_eq!((first.done + second.done, first.retried + second.retried), (5, 5));
    assert_eq!(*seen.lock().expect("seen"), [(0, 0, 1); 10]);
    assert_eq!(brief(&b.queue.ticks("r", 100).await.expect("ticks")), ledger(Misfire::All, Overlap::Skip));
}

/// Its job fails for good, is removed before it runs, or is canceled: the schedule goes on.
pub async fn no_end_of_a_run_ends_a_schedule_without_overlap(h: &impl Harness) {
    let base = Bench::on(h);
    for (name, fate) in [("fails", Fate::Late), ("removed", Fate::Missed), ("canceled", Fate::Missed)] {
        let b = bench(&base, h.backend(), name);
        put(&b.given, hourly(Misfire::One, Overlap::Skip), OLDEST).await;
        let job = JobId::of_iteration("r", at(OLDEST));
        match name {
            "removed" => b.queue.remove(&job).await.expect("removed"),
            "canceled" => b.queue.cancel(&job).await.expect("canceled"),
            _ => {}
        }
        let worker = b.worker().on::<Text>(|_: Active<Text>| async { Err::<u32, _>(Exit::from("for good")) });
        during(worker, until_ahead(&b)).await;
        let stands = b.queue.scheduled("r").await.expect("a read").expect("a scheduler");
        assert_eq!((stands.slot, stands.count), (Some(at(AHEAD)), 2), "{name}");
        let ticks = brief(&b.queue.ticks("r", 100).await.expect("ticks"));
        assert_eq!(ticks, [(Fate::Skipped, OLDEST + HOUR, 4), (fate, OLDEST, 1)], "{name}");
    }
}

/// One life of a worker, cut off at a call.
#[derive(Clone, Copy, Debug)]
struct Kill {
    misfire: Misfire,
    overlap: Overlap,
    verb: Verb,
    fault: Fault,
    call: usize,
}

/// Each policy, killed at each of the first calls, before, during and after it: another worker brings every slot to its end,
/// once, and the schedule goes on.
pub async fn a_worker_killed_at_any_call_leaves_every_schedule_going(h: &impl Harness) {
    let base = Arc::new(Bench::on(h));
    let mut kills = tokio::task::JoinSet::new();
    for (misfire, calls) in [(Misfire::One, 3), (SKIP, 3), (Misfire::All, 5)] {
        for overlap in [Overlap::Allow, Overlap::Skip] {
            for verb in [Verb::Turn, Verb::Edit] {
                for fault in [Fault::Before, Fault::After, Fault::Hang] {
                    for call in 1..=calls {
                        let (base, backend) = (base.clone(), h.backend());
                        let kill = Kill { misfire, overlap, verb, fault, call };
                        kills.spawn(async move { killed(&base, backend, kill).await });
                    }
                }
            }
        }
    }
    let mut struck = 0;
    while let Some(kill) = kills.join_next().await {
        struck += u64::from(kill.expect("a kill"));
    }
    // Some lives are over before their last call; most are not.
    assert!(struck > 80, "{struck}");
}

/// Answers whether the worker was killed before it was done.
async fn killed(base: &Bench, backend: Arc<dyn Backend>, kill: Kill) -> bool {
    let Kill { misfire, overlap, verb, fault, call } = kill;
    let name = format!("{misfire:?}-{overlap:?}-{verb:?}-{fault:?}-{call}").replace([':', ' '], "");
    let b = bench(base, backend.clone(), &name);
    put(&b.given, hourly(misfire, overlap), OLDEST).await;
    let slots = expected(misfire).len().max(1);
    let worker = |b: &Bench| {
        let worker = b.worker().lock_for(Duration::from_secs(1)).rescue_every(Duration::from_millis(200));
        worker.on::<Text>(|_: Active<Text>| async { Ok(0) })
    };
    let over = || async { tokio::join!(until_ahead(&b), b.until_ended(slots)) };
    let faulty = Faulty::over(backend);
    let script = std::iter::repeat_n(None, call - 1).chain([Some(fault)]);
    faulty.plan(verb, script);
    let first = worker(&bench(base, faulty.clone(), &name)).build().expect("a worker");
    tokio::select! {
        biased;
        () = faulty.struck() => {}
        _ = Box::pin(first.run_until(std::future::pending::<()>())) => {}
        _ = over() => {}
    }
    during(worker(&b), over()).await;
    expect_each_slot_once(&b, kill, slots).await;
    faulty.faults() > 0
}

async fn expect_each_slot_once(b: &Bench, kill: Kill, slots: usize) {
    let stands = b.queue.scheduled("r").await.expect("a read").expect("a scheduler");
    assert_eq!((stands.slot, stands.count), (Some(at(AHEAD)), slots as u64 + 1), "{kill:?}");
    let counts = b.queue.counts().await.expect("counts");
    let rest = (counts.waiting, counts.active, counts.delayed, counts.completed + counts.failed);
    assert_eq!(rest, (0, 0, 1, slots as u64), "{kill:?}");
    let mut told: HashMap<JobId, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (place, (_, event)) in b.given.events_after(Position::START).await.iter().enumerate() {
        match event {
            Event::Added { id, .. } => told.entry(id.clone()).or_default().0.push(place),
            Event::Completed { id, .. } | Event::Failed { id, .. } => told.entry(id.clone()).or_default().1.push(place),
            _ => {}
        }
    }
    let order: Vec<(usize, usize)> = (0..slots as i64)
        .map(|n| match told.get(&JobId::of_iteration("r", at(OLDEST + n * HOUR))) {
            Some((added, ended)) if added.len() == 1 && ended.len() == 1 => (added[0], ended[0]),
            other => panic!("slot {n}: {other:?}, {kill:?}"),
        })
        .collect();
    assert_eq!(told.len(), slots + 1, "{kill:?}");
    let apart = order.windows(2).all(|pair| pair[0].1 < pair[1].0);
    assert!(kill.overlap == Overlap::Allow || apart, "{order:?}, {kill:?}");
    let ticks = brief(&b.queue.ticks("r", 100).await.expect("ticks"));
    let wanted = ledger(kill.misfire, kill.overlap);
    // What was taken to be failed as expired, and was not before the kill, is run.
    let same = |(is, wanted): (&(Fate, i64, u64), &(Fate, i64, u64))| {
        is == wanted
            || (kill.misfire == SKIP && *is == (Fate::Late, OLDEST, 1) && *wanted == (Fate::Skipped, OLDEST, 1))
    };
    assert!(ticks.len() == wanted.len() && ticks.iter().zip(&wanted).all(same), "{ticks:?}, {kill:?}");
}
