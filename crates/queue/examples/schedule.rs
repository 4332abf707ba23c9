//! Jobs that come again and again: every second, twice in all; and by a cron pattern in a time zone that changes its
//! clocks. What is put in place at each start of a program is there once. `ticks` tells what became of each time.
//!
//! `cargo run -p launchkit-queue --features sqlite --example schedule`

use std::error::Error;
use std::time::Duration;

use chrono::DateTime;
use chrono_tz::Europe::Berlin;
use launchkit_queue::{
    Active, Exit, Fate, JobKind, Misfire, Overlap, Payload, Queue, Repeat, Schedule, Store, Timestamp, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Measure(u32);

impl JobKind for Measure {
    const NAME: &'static str = "measure";
    type Output = ();
}

fn in_berlin(at: Timestamp) -> Result<String, Box<dyn Error>> {
    let at = DateTime::from_timestamp_millis(at.millis()).ok_or("no such time")?;
    Ok(at.with_timezone(&Berlin).to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "sensors")?;

    // Each second has its reading, however late, and no two run at once.
    let pulse = Repeat {
        limit: Some(2),
        misfire: Misfire::All,
        overlap: Overlap::Skip,
        ..Repeat::new("pulse", Schedule::Every(SECOND), &Measure(7))?
    };
    let first = queue.schedule(pulse.clone()).await?.ok_or("nothing is due")?;
    println!("pulse: first at {}", in_berlin(first)?);

    // The program starts again: nothing is doubled, also when the data has changed.
    assert_eq!(queue.schedule(pulse.clone()).await?, Some(first));
    let changed = Repeat { data: Payload::encode(&Measure(8))?, ..pulse };
    assert_eq!(queue.schedule(changed).await?, Some(first));

    // Half past two at night in Berlin; what no worker has started an hour later is not run.
    let nightly = Repeat {
        misfire: Misfire::Skip { after: 3_600 * SECOND },
        ..Repeat::new("nightly", Schedule::cron_in("30 2 * * *", "Europe/Berlin"), &Measure(1))?
    };
    for _ in 0..2 {
        queue.schedule(nightly.clone()).await?.ok_or("nothing is due")?;
    }
    let counts = queue.counts().await?;
    let names: Vec<_> = queue.schedules(None, 100).await?.iter().map(|found| found.repeat.id.clone()).collect();
    println!("schedulers {names:?}; {} jobs wait, {} are delayed", counts.waiting, counts.delayed);
    assert_eq!((names, counts.waiting + counts.delayed), (vec!["nightly".into(), "pulse".into()], 2));

    // The next times may be asked from any moment on: around the night of 29 March 2026, which has no half past two.
    let mut at = Timestamp::from_millis(1_774_656_000_000); // 2026-03-28T00:00Z
    let mut nights = Vec::new();
    for _ in 0..3 {
        at = nightly.next(at, at).ok_or("no more nights")?;
        nights.push(in_berlin(at)?);
    }
    println!("nightly: {nights:?}");
    let after_the_gap = "2026-03-29 03:00:00 CEST";
    assert_eq!(nights, ["2026-03-28 02:30:00 CET", after_the_gap, "2026-03-30 02:30:00 CEST"]);
    assert!(queue.unschedule("nightly").await? && queue.counts().await?.delayed == 0);

    let (ran, mut runs) = mpsc::unbounded_channel();
    let measure = move |job: Active<Measure>| {
        let ran = ran.clone();
        async move {
            ran.send((job.id().clone(), job.data().0))?;
            Ok::<_, Exit>(())
        }
    };
    let worker = Worker::builder(&queue).concurrency(2).on::<Measure>(measure).build()?.start();
    for number in 0..2 {
        let (id, sensor) = runs.recv().await.ok_or("the worker has stopped")?;
        println!("{id} measures sensor {sensor}");
        assert_eq!((id.iteration(), sensor), (Some(("pulse", first.plus(number * SECOND))), 8));
    }
    assert_eq!(worker.stop().await.done, 2);

    // Newest first. With its limit reached, the scheduler rests.
    let ticks = queue.ticks("pulse", 10).await?;
    for tick in &ticks {
        println!("tick of {}: {:?}, started {:?} later", in_berlin(tick.first)?, tick.fate, tick.at.since(tick.first));
    }
    let slots: Vec<_> = ticks.iter().map(|tick| (tick.first, tick.fate, tick.count)).collect();
    assert_eq!(slots, [(first.plus(SECOND), Fate::Run, 1), (first, Fate::Run, 1)]);
    let pulse = queue.scheduled("pulse").await?.ok_or("the scheduler is gone")?;
    assert_eq!((pulse.slot, pulse.count), (None, 2));
    Ok(())
}
