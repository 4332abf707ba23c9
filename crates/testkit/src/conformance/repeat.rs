//! Job schedulers: one job at a time, never doubled, never stuck.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{
    BadRepeat, Clock, Event, JobId, JobOptions, Keep, Queue, Repeat, Schedule, ScheduleError, State, Store, Timestamp,
};

use crate::Harness;
use crate::given::*;

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
    q.edit(Edit::Advance(Advance { id: id.into(), slot: at(slot), next: next.map(at) }), at(now)).await
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

/// The limit counts jobs made; nothing more is made, the definition stays, and a higher limit goes on.
pub async fn a_scheduler_at_its_limit_or_end_rests(h: &impl Harness) {
    let q = Given::on(h);
    let limited = |limit| Repeat { limit: Some(limit), ..hourly("r") };
    put(&q, limited(2), 0, 0).await;
    put(&q, limited(2), 0, 0).await;
    q.take(1, T0).await;
    assert_eq!(advance(&q, "r", 0, Some(500), 1).await, Edited::Due(at(500)));
    q.take(1, at(500)).await;
    assert_eq!(advance(&q, "r", 500, Some(900), 501).await, Edited::Done);
    assert_eq!(stands(&q, "r").await, (None, 2));
    assert_eq!(put(&q, limited(2), 900, 502).await, Edited::Done);
    assert_eq!((stands(&q, "r").await, q.counts().await.total()), ((None, 2), 2));
    assert_eq!(put(&q, limited(3), 900, 503).await, Edited::Due(at(900)));
    assert_eq!(stands(&q, "r").await, (Some(at(900)), 3));

    put(&q, hourly("e"), 0, 510).await;
    assert_eq!(advance(&q, "e", 0, None, 511).await, Edited::Done);
    assert_eq!((stands(&q, "e").await, stuck(&q, 800, None, 10).await.found.len()), ((None, 1), 0));
}

/// Removed, cleaned, or ended before the step; not while it waits or runs. The page is bounded by what is looked at.
pub async fn a_scheduler_without_a_live_job_is_found_and_moved_on(h: &impl Harness) {
    let q = Given::on(h);
    put(&q, hourly("ended"), 0, 0).await;
    let lock = q.one(T0).await.lock;
    q.settle(&lock, done(), at(1)).await;
    put(&q, hourly("active"), 1, 1).await;
    let held = q.one(at(1)).await.lock;
    put(&q, hourly("kept not"), 2, 2).await;
    let lock = q.one(at(2)).await.lock;
    assert_eq!(q.end_keeping(&lock, dead(), Keep::NONE, at(3)).await, End::Applied);
    put(&q, hourly("ready"), 4, 4).await;
    put(&q, hourly("removed"), 500, 4).await;
    assert_eq!(q.edit(Edit::Remove(id(&job_of("removed", 500))), at(5)).await, Edited::Done);
    assert_eq!(names(&stuck(&q, 0, None, 10).await), [] as [&str; 0]);
    assert_eq!(names(&stuck(&q, 500, None, 10).await), ["ended", "kept not"]);
    assert_eq!(names(&stuck(&q, 501, None, 10).await), ["ended", "kept not", "removed"]);
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = stuck(&q, 501, after, 2).await;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (["ended", "kept not", "removed"].map(str::to_owned).to_vec(), 3));
    for (name, slot) in [("ended", 0), ("kept not", 2), ("removed", 500)] {
        assert_eq!(advance(&q, name, slot, Some(9_000), 600).await, Edited::Due(at(9_000)));
    }
    assert_eq!(names(&stuck(&q, 700, None, 10).await), [] as [&str; 0]);
    q.settle(&held, done(), at(601)).await;
    // Put again, one whose job was removed before its time gets it back.
    q.edit(Edit::Remove(id(&job_of("ended", 9_000))), at(602)).await;
    assert_eq!(put(&q, hourly("ended"), 700, 603).await, Edited::Due(at(9_000)));
    assert_eq!(q.counts().await.delayed, 3);
}

/// By id, joined without gap; more than the bound is refused.
pub async fn schedulers_are_read_in_pages_by_id(h: &impl Harness) {
    let q = Given::on(h);
    let mut expected: Vec<String> = (0..7).map(|n| format!("r{n}")).collect();
    for name in expected.iter().rev() {
        put(&q, hourly(name), 500, 0).await;
    }
    put(&Given::queue(h, "other"), hourly("r9"), 500, 0).await;
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().map(|last| last.as_str().into());
        let page = q.backend.repeats(&q.queue, &Repeats::After(after), 3).await.expect("a page");
        if page.found.is_empty() {
            break;
        }
        seen.extend(names(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, expected);
    let wanted = Repeats::Ids(["r5", "nobody", "r2"].map(Into::into).to_vec());
    expected = vec!["r5".into(), "r2".into()];
    assert_eq!(names(&q.backend.repeats(&q.queue, &wanted, 3).await.expect("a read")), expected);
    let many = q.backend.repeats(&q.queue, &Repeats::After(None), MAX_READ + 1).await;
    assert!(many.is_err());
    assert_eq!(q.edit(Edit::Unschedule("r9".into()), at(1)).await, Edited::Missing);
}

/// Through the queue: nothing is stored, no job is made.
pub async fn unfit_schedulers_are_refused(h: &impl Harness) {
    let q = Given::on(h);
    let queue = Queue::new(&Store::over(q.backend.clone(), Clock::runtime(T0)), "cases").expect("a name");
    let bad = [
        Repeat { id: "".into(), ..hourly("r") },
        Repeat { schedule: Schedule::Every(Duration::from_millis(999)), ..hourly("r") },
        Repeat { schedule: Schedule::cron("* * *"), ..hourly("r") },
        Repeat { schedule: Schedule::cron_in("* * * * *", "Mars"), ..hourly("r") },
        Repeat { options: delay(1), ..hourly("r") },
        Repeat { limit: Some(0), ..hourly("r") },
    ];
    for repeat in bad {
        assert!(matches!(queue.schedule(repeat.clone()).await, Err(ScheduleError::Bad(_))), "{repeat:?}");
    }
    let template = Repeat { options: delay(1), ..hourly("r") };
    assert_eq!(template.check(), Err(BadRepeat::Template("delay")));
    for ended in
        [Repeat { end: Some(at(-1)), ..hourly("r") }, Repeat { schedule: Schedule::cron("0 0 30 2 *"), ..hourly("r") }]
    {
        assert!(matches!(queue.schedule(ended).await, Err(ScheduleError::Ended)));
    }
    assert_eq!((queue.schedules(None, 10).await.expect("a page").len(), q.counts().await.total()), (0, 0));
    assert!(!queue.unschedule("r").await.expect("unscheduled"));
}

/// Definition, slot, count and the waiting job.
pub async fn schedulers_are_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let q = Given::on(&h);
    let repeat = Repeat { schedule: Schedule::cron_in("0 0 * * *", "Europe/Berlin"), limit: Some(7), ..hourly("r") };
    put(&q, repeat.clone(), 0, 0).await;
    q.take(1, T0).await;
    advance(&q, "r", 0, Some(500), 1).await;
    let Some(h) = h.reopen().await else { return };
    let q = Given::on(&h);
    let found = find(&q, "r").await.expect("a scheduler");
    assert_eq!((&*found.repeat, found.slot, found.count), (&repeat, Some(at(500)), 2));
    let events = q.events_after(launchkit_queue::Position::START).await;
    assert!(matches!(events.last(), Some((_, Event::Delayed { due, .. })) if *due == at(500)));
    assert_eq!(put(&q, repeat, 700, 2).await, Edited::Due(at(500)));
}
