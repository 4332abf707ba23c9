//! Job schedulers: one job at a time, never doubled, never stuck.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Clock, Fate, JobId, JobOptions, Queue, Repeat, Schedule, State, Store, Tick, Timestamp};

use crate::Harness;
use crate::given::*;

mod policies;
mod rest;
mod ticks;

pub use policies::*;
pub use rest::*;
pub use ticks::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A scheduler that makes a job each hour.
fn hourly(id: &str) -> Repeat {
    Repeat::named(id, Schedule::Every(HOUR), "text", &1).expect("JSON")
}

fn put_at(repeat: Repeat, first: Timestamp) -> Edit {
    Edit::Schedule(Put { repeat: Arc::new(repeat), first })
}

async fn put(q: &Given, repeat: Repeat, first: i64, now: i64) -> Edited {
    q.edit(put_at(repeat, at(first)), at(now)).await
}

async fn advance(q: &Given, id: &str, slot: i64, next: Option<i64>, now: i64) -> Edited {
    q.edit(step(id, slot, next, Fate::Run, now), at(now)).await
}

fn step(id: &str, slot: i64, next: Option<i64>, fate: Fate, now: i64) -> Edit {
    let tick = Tick::one(fate, at(slot), at(now));
    Edit::Advance(Advance { id: id.into(), slot: at(slot), next: next.map(at), tick, left: None })
}

/// The id of a scheduler's job.
fn job_of(id: &str, slot: i64) -> String {
    JobId::of_iteration(id, at(slot)).to_string()
}

async fn find(q: &Given, id: &str) -> Option<Scheduled> {
    let page = q.backend.repeats(&q.queue, &Repeats::Ids(vec![id.into()]), 1).await;
    page.expect("a read").found.pop()
}

/// Where a scheduler stands: its slot and how many jobs it has made.
async fn stands(q: &Given, id: &str) -> (Option<Timestamp>, u64) {
    let found = find(q, id).await.expect("a scheduler");
    (found.slot, found.count)
}

async fn stuck(q: &Given, before: i64, after: Option<(Timestamp, Arc<str>)>, most: u32) -> RepeatPage {
    let wanted = Repeats::Stuck { before: at(before), after };
    q.backend.repeats(&q.queue, &wanted, most).await.expect("a read")
}

fn names(page: &RepeatPage) -> Vec<&str> {
    page.found.iter().map(|one| &*one.repeat.id).collect()
}

/// Delayed to its slot, or ready when that has come; with the template's name, data and options; counted like an add.
pub async fn a_scheduler_makes_one_job_for_its_first_slot(h: &impl Harness) {
    let q = Given::on(h);
    let options = JobOptions { attempts: 3, priority: 2, ..plain() };
    let repeat = Repeat { options: options.clone(), ..hourly("a:b") };
    assert_eq!(put(&q, repeat.clone(), 500, 0).await, Edited::Due(at(500)));
    let name = job_of("a:b", 500);
    assert_eq!(q.events().await, [format!("added:{name}"), format!("delayed:{name}")]);
    let job = q.get(&name).await;
    assert_eq!((job.state, job.due, job.timestamp), (State::Delayed, Some(at(500)), T0));
    assert_eq!((&*job.name, job.data.as_str()), ("text", "1"));
    assert_eq!(*job.options, JobOptions { delay: Duration::from_millis(500), ..options });
    let found = find(&q, "a:b").await.expect("a scheduler");
    assert_eq!((&*found.repeat, found.slot, found.count), (&repeat, Some(at(500)), 1));
    assert_eq!(put(&q, hourly("now"), 1, 1).await, Edited::Due(at(1)));
    assert_eq!(q.list(State::Waiting).await, [job_of("now", 1)]);
    assert_eq!(q.add(vec![job_plain()], at(2)).await, [Added::New(id("3"))]);
}

fn job_plain() -> NewJob {
    job(plain())
}

/// Any number of times, with whatever first time; the waiting job keeps its slot and takes on the new template.
pub async fn the_same_times_again_keep_the_slot_and_double_nothing(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 500, 0).await;
    let before = q.newest().await;
    let other = Repeat { data: json("2"), name: "other".into(), limit: Some(9), ..hourly("r") };
    assert_eq!(put(&q, other, 700, 10).await, Edited::Due(at(500)));
    let name = job_of("r", 500);
    assert_eq!(q.told(before).await, [format!("removed:{name}"), format!("added:{name}"), format!("delayed:{name}")]);
    let job = q.get(&name).await;
    assert_eq!((&*job.name, job.data.as_str(), job.due), ("other", "2", Some(at(500))));
    // Also while it is ready and not taken.
    q.edit(Edit::Promote(id(&name)), at(20)).await;
    assert_eq!(put(&q, hourly("r"), 700, 600).await, Edited::Due(at(500)));
    assert_eq!((q.counts().await.total(), stands(&q, "r").await), (1, (Some(at(500)), 1)));
    assert_eq!(q.list(State::Waiting).await, [name]);
    // The very same again: not even told.
    let newest = q.newest().await;
    assert_eq!(put(&q, hourly("r"), 800, 610).await, Edited::Due(at(500)));
    assert_eq!(q.newest().await, newest);
}

/// Schedule, start and end: the old slot's job goes, delayed or ready, and the count begins anew.
pub async fn other_times_keep_no_old_slot(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 500, 0).await;
    let others = [
        Repeat { schedule: Schedule::Every(HOUR * 2), ..hourly("r") },
        Repeat { schedule: Schedule::cron("0 * * * *"), ..hourly("r") },
        Repeat { start: Some(at(5)), ..hourly("r") },
        Repeat { end: Some(at(9_000)), ..hourly("r") },
    ];
    for (other, slot) in others.into_iter().zip(1_000..) {
        assert_eq!(put(&q, other, slot, 10).await, Edited::Due(at(slot)));
        assert_eq!(q.list(State::Delayed).await, [job_of("r", slot)]);
        assert_eq!(stands(&q, "r").await, (Some(at(slot)), 1));
    }
    q.edit(Edit::Promote(id(&job_of("r", 1_003))), at(20)).await;
    put(&q, hourly("r"), 2_000, 30).await;
    assert_eq!((q.counts().await.total(), q.list(State::Delayed).await), (1, vec![job_of("r", 2_000)]));
}

/// However often it is asked, taken again, or rescued in between.
pub async fn each_slot_leads_to_one_next_job(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 0, 0).await;
    q.one(T0).await;
    let later = T0.plus(LOCK);
    q.rescue(5, later).await;
    let lock = q.one(later).await.lock;
    let before = q.newest().await;
    assert_eq!(advance(&q, "r", 0, Some(90_000), 30_001).await, Edited::Due(at(90_000)));
    for next in [Some(90_000), Some(95_000), None] {
        assert_eq!(advance(&q, "r", 0, next, 30_002).await, Edited::Missing);
    }
    let name = job_of("r", 90_000);
    assert_eq!(q.told(before).await, [format!("added:{name}"), format!("delayed:{name}")]);
    q.settle(&lock, retry(at(30_010)), at(30_003)).await;
    let again = q.one(at(30_010)).await.lock;
    assert_eq!(advance(&q, "r", 0, Some(99_000), 30_011).await, Edited::Missing);
    q.settle(&again, done(), at(30_012)).await;
    assert_eq!((q.list(State::Delayed).await, stands(&q, "r").await), (vec![name], (Some(at(90_000)), 2)));
}

/// Unknown ids, other slots, dropped definitions.
pub async fn a_step_from_any_other_slot_changes_nothing(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 0, 0).await;
    let before = q.newest().await;
    assert_eq!(advance(&q, "r", 1, Some(500), 1).await, Edited::Missing);
    assert_eq!(advance(&q, "s", 0, Some(500), 1).await, Edited::Missing);
    assert_eq!((q.told(before).await.len(), stands(&q, "r").await), (0, (Some(T0), 1)));
    assert_eq!(q.edit(Edit::Unschedule("r".into()), at(2)).await, Edited::Done);
    assert_eq!(advance(&q, "r", 0, Some(500), 3).await, Edited::Missing);
    assert_eq!((q.counts().await.total(), find(&q, "r").await), (1, None));
}

/// A ready or an active one stays, and nothing follows it.
pub async fn dropping_a_scheduler_takes_its_delayed_job_along(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("active"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    put(&q, hourly("ready"), 1, 1).await;
    put(&q, hourly("delayed"), 500, 1).await;
    let before = q.newest().await;
    for name in ["active", "ready", "delayed"] {
        assert_eq!(q.edit(Edit::Unschedule(name.into()), at(2)).await, Edited::Done);
        assert_eq!(q.edit(Edit::Unschedule(name.into()), at(2)).await, Edited::Missing);
    }
    assert_eq!(q.told(before).await, [format!("removed:{}", job_of("delayed", 500))]);
    q.settle(&lock, done(), at(3)).await;
    assert_eq!(q.take_ids(9, at(900)).await, [job_of("ready", 1)]);
    assert_eq!(q.counts().await.total(), 2);
}

/// It runs on; with the same times it is still the one before the next, with others it is nobody's.
pub async fn a_taken_job_outlives_a_new_definition(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    assert_eq!(put(&q, Repeat { data: json("2"), ..hourly("r") }, 1, 1).await, Edited::Due(T0));
    assert_eq!(q.counts().await.total(), 1);
    assert_eq!(advance(&q, "r", 0, Some(500), 2).await, Edited::Due(at(500)));
    assert_eq!(q.get(&job_of("r", 500)).await.data.as_str(), "2");
    let other = Repeat { schedule: Schedule::Every(HOUR * 2), ..hourly("r") };
    assert_eq!(put(&q, other, 700, 3).await, Edited::Due(at(700)));
    assert_eq!(advance(&q, "r", 0, Some(800), 4).await, Edited::Missing);
    q.settle(&lock, done(), at(5)).await;
    assert_eq!((q.list(State::Delayed).await, q.counts().await.total()), (vec![job_of("r", 700)], 2));
}

/// By a put and by a step: nothing is changed, and the next slot can be tried; the queue does that by itself.
pub async fn a_slot_in_which_a_job_stands_is_refused(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("r"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    advance(&q, "r", 0, Some(500), 1).await;
    q.settle(&lock, done(), at(2)).await;
    let other = || Repeat { schedule: Schedule::Every(HOUR * 2), ..hourly("r") };
    let before = q.newest().await;
    assert_eq!(put(&q, other(), 0, 3).await, Edited::WrongState(State::Completed));
    assert_eq!(advance(&q, "r", 500, Some(0), 3).await, Edited::WrongState(State::Completed));
    assert_eq!((q.told(before).await.len(), stands(&q, "r").await), (0, (Some(at(500)), 2)));
    assert_eq!(find(&q, "r").await.expect("a scheduler").repeat.schedule, Schedule::Every(HOUR));
    assert_eq!(put(&q, other(), 600, 4).await, Edited::Due(at(600)));

    let clock = Clock::runtime(at(1_000));
    let queue = Queue::new(&Store::over(q.backend.clone(), clock.clone()), "cases").expect("a name");
    let start = at(100_000);
    queue.schedule(Repeat { start: Some(start), ..hourly("s") }).await.expect("scheduled");
    let name = JobId::of_iteration("s", start);
    queue.promote(&name).await.expect("promoted");
    q.one(clock.now()).await;
    let moved = queue.schedule(Repeat { start: Some(start), end: Some(start.plus(HOUR)), ..hourly("s") }).await;
    assert_eq!(moved.expect("scheduled"), Some(start.plus(HOUR)));
}
