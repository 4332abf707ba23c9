//! A long job followed from elsewhere: its progress as events, its log lines read beside them. The follower loses its
//! connection in the middle, remembers only a position, and later goes on from there without missing anything.
//!
//! `cargo run -p launchkit-queue --features sqlite --example progress`

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use launchkit_queue::{Active, Event, Exit, JobId, JobKind, Position, Queue, Store, Told, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Import {
    files: Vec<String>,
}

impl JobKind for Import {
    const NAME: &'static str = "import";
    type Output = usize;
}

async fn import(job: Active<Import>) -> Result<usize, Exit> {
    let files = &job.data().files;
    for (done, file) in files.iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(300)).await; // the work
        job.log(format!("imported {file}"));
        job.progress(&(100 * (done + 1) / files.len()))?;
    }
    Ok(files.len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("jobs.db");
    let store = Store::sqlite(&file).await?;
    let queue = Queue::new(&store, "imports")?;

    let worker = Worker::builder(&queue).on::<Import>(import).build()?.start();

    let files = ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"].map(String::from).to_vec();
    let id = queue.add(Import { files }).await?.id().clone();

    // Another handle on the file, as another process would have it.
    let (before, position) = follow(&file, &id, Position::START, 40).await?;
    println!("disconnected at position {position}");
    queue.outcome::<Import>(&id, Duration::from_secs(4)).await?;
    println!("the job has ended meanwhile; going on");
    let (after, _) = follow(&file, &id, position.to_string().parse()?, 100).await?;

    worker.stop().await;

    // Together the two readers saw each event once, as one reader does who was never away.
    let (whole, _) = follow(&file, &id, Position::START, 100).await?;
    assert_eq!([before, after].concat(), whole);
    assert_eq!(whole.last(), Some(&100));
    assert_eq!(queue.logs(&id, 0, 100).await?.lines.last().map(|line| &**line), Some("imported e.csv"));
    store.close().await;
    Ok(())
}

/// Reads on from a position until so much is done; answers what it saw and where it stands.
async fn follow(file: &Path, id: &JobId, from: Position, until: u32) -> Result<(Vec<u32>, Position), Box<dyn Error>> {
    let store = Store::sqlite(file).await?;
    let queue = Queue::new(&store, "imports")?;
    let mut events = queue.events(from);
    let mut seen = Vec::new();
    loop {
        let (position, event) = match events.next().await? {
            Told::Event(position, event) => (position, event),
            Told::Gap(position) => return Err(format!("events before {position} are gone").into()),
        };
        let Event::Progress { value: Some(value), .. } = &event else {
            println!("  {}", event.name());
            continue;
        };
        let percent = value.decode()?;
        let logs = queue.logs(id, 0, 100).await?;
        println!("  {percent} %, {} log lines so far, the last: {:?}", logs.total, logs.lines.last());
        seen.push(percent);
        if percent >= until {
            store.close().await;
            return Ok((seen, position));
        }
    }
}
