//! Many jobs become one. A storm of "the user is typing" jobs is debounced: only the last runs, once it has been quiet. A
//! reindex that is asked for while one runs is remembered, once, and runs when that one has ended.
//!
//! `cargo run -p launchkit-queue --features sqlite --example deduplicate`

use std::error::Error;
use std::time::Duration;

use launchkit_queue::{Active, Added, Dedup, Event, Exit, JobKind, Position, Queue, Store, Told, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const QUIET: Duration = Duration::from_millis(500);

#[derive(Serialize, Deserialize)]
struct SaveDraft {
    text: String,
}

impl JobKind for SaveDraft {
    const NAME: &'static str = "save-draft";
    type Output = String;
}

async fn save_draft(job: Active<SaveDraft>) -> Result<String, Exit> {
    Ok(job.into_data().text)
}

#[derive(Serialize, Deserialize)]
struct Reindex {
    revision: u32,
}

impl JobKind for Reindex {
    const NAME: &'static str = "reindex";
    type Output = u32;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "editor")?;

    // A reindex runs until it is let go, so that the others certainly come while it does.
    let (started, mut starts) = mpsc::unbounded_channel();
    let go = CancellationToken::new();
    let reindex = {
        let go = go.clone();
        move |job: Active<Reindex>| {
            let (started, go) = (started.clone(), go.clone());
            async move {
                started.send(job.data().revision)?;
                go.cancelled().await;
                Ok::<_, Exit>(job.data().revision)
            }
        }
    };
    let worker =
        Worker::builder(&queue).concurrency(2).on::<SaveDraft>(save_draft).on::<Reindex>(reindex).build()?.start();

    let text = "Dear Ada, thank you";
    let mut last = None;
    for end in 1..=text.len() {
        let job = SaveDraft { text: text[..end].into() };
        last = Some(queue.add(job).delay(QUIET).deduplicate(Dedup::debounce("draft 7", QUIET)).await?);
    }
    let last = last.ok_or("nothing typed")?;
    println!("{} keys typed, {} job waits", text.len(), queue.counts().await?.delayed);
    let saved = queue.outcome::<SaveDraft>(last.id(), Duration::from_secs(2)).await?;
    println!("saved {saved:?}");
    assert_eq!(saved, text);

    let add = |revision| queue.add(Reindex { revision }).deduplicate(Dedup::keep_last("index"));
    let first = add(1).await?;
    assert_eq!(starts.recv().await, Some(1));
    for revision in 2..=5 {
        let added = add(revision).await?;
        println!("revision {revision}: {added:?}");
        assert_eq!(added, Added::Deduplicated(first.id().clone()));
    }
    go.cancel();
    queue.outcome::<Reindex>(first.id(), Duration::from_secs(2)).await?;
    assert_eq!(starts.recv().await, Some(5), "the last one, and only that");

    // Follow what happened until nothing is left to do.
    let mut events = queue.events(Position::START);
    let (mut completed, mut dropped) = (0, 0);
    while completed < 3 {
        match events.next().await? {
            Told::Event(_, Event::Completed { result, .. }) => {
                println!("completed with {}", result.as_ref().map_or("null", |result| result.as_str()));
                completed += 1;
            }
            Told::Event(_, Event::Deduplicated { .. }) => dropped += 1,
            _ => {}
        }
    }
    let report = worker.stop().await;
    println!("{dropped} jobs were not needed");
    assert_eq!(report.done, 3);
    assert_eq!(dropped, text.len() - 1 + 4);
    assert_eq!(queue.counts().await?.completed, 3);
    Ok(())
}
