//! A first job: a kind of job, a queue in a SQLite file, a worker, and a caller who waits for the result. Then the
//! program "restarts" (it closes the store and opens the file again), and the result is still there.
//!
//! `cargo run -p launchkit-queue --features sqlite --example first_job`

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use launchkit_queue::{Active, Added, Exit, JobId, JobKind, Queue, State, Store, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct CountWords {
    text: String,
}

impl JobKind for CountWords {
    const NAME: &'static str = "count-words";
    type Output = usize;
}

async fn count_words(job: Active<CountWords>) -> Result<usize, Exit> {
    Ok(job.data().text.split_whitespace().count())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("jobs.db");

    let id = first_life(&file).await?;
    println!("the store is closed; the program starts again");
    second_life(&file, &id).await?;
    Ok(())
}

async fn first_life(file: &Path) -> Result<JobId, Box<dyn Error>> {
    let store = Store::sqlite(file).await?;
    let queue = Queue::new(&store, "texts")?;

    let worker = Worker::builder(&queue).name("first").on::<CountWords>(count_words).build()?.start();

    let added = queue.add(CountWords { text: "a queue is a list with manners".into() }).id("poem").await?;
    println!("added {}", added.id());
    let words = queue.outcome::<CountWords>(added.id(), Duration::from_secs(3)).await?;
    println!("it has {words} words");

    let report = worker.stop().await;
    println!("the worker completed {} job", report.done);
    store.close().await;

    assert_eq!(words, 7);
    assert_eq!(report.done, 1);
    Ok(added.id().clone())
}

async fn second_life(file: &Path, id: &JobId) -> Result<(), Box<dyn Error>> {
    let store = Store::sqlite(file).await?;
    let queue = Queue::new(&store, "texts")?;

    let record = queue.get(id).await?.ok_or("the job is gone")?;
    println!("{id} is {}, run by {:?} in attempt {}", record.state.name(), record.processed_by, record.made);
    let words = queue.outcome::<CountWords>(id, Duration::from_secs(3)).await?;
    println!("it still has {words} words");

    // The same id again is the same job: nothing is done twice.
    let again = queue.add(CountWords { text: "another text".into() }).id("poem").await?;
    println!("added again: {again:?}");
    store.close().await;

    assert_eq!(record.state, State::Completed);
    assert_eq!(words, 7);
    assert_eq!(again, Added::Existing(id.clone()));
    Ok(())
}
