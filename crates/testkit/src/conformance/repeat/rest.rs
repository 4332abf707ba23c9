//! Schedulers that rest, stand still, are read, refused and kept.

use launchkit_queue::{BadRepeat, Event, Keep, Position, ScheduleError};

use super::*;

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
    assert_eq!(names(&stuck(&q, 500, None, 10).await), ["ended", "active", "kept not"]);
    assert_eq!(names(&stuck(&q, 501, None, 10).await), ["ended", "active", "kept not", "removed"]);
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = stuck(&q, 501, after, 2).await;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (["ended", "active", "kept not", "removed"].map(str::to_owned).to_vec(), 3));
    for (name, slot) in [("ended", 0), ("active", 1), ("kept not", 2), ("removed", 500)] {
        assert_eq!(advance(&q, name, slot, Some(9_000), 600).await, Edited::Due(at(9_000)));
    }
    assert_eq!(names(&stuck(&q, 700, None, 10).await), [] as [&str; 0]);
    q.settle(&held, done(), at(601)).await;
    // Put again, one whose job was removed before its time gets it back.
    q.edit(Edit::Remove(id(&job_of("ended", 9_000))), at(602)).await;
    assert_eq!(put(&q, hourly("ended"), 700, 603).await, Edited::Due(at(9_000)));
    assert_eq!(q.counts().await.delayed, 4);
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
    let events = q.events_after(Position::START).await;
    assert!(matches!(events.last(), Some((_, Event::Delayed { due, .. })) if *due == at(500)));
    assert_eq!(put(&q, repeat, 700, 2).await, Edited::Due(at(500)));
}
