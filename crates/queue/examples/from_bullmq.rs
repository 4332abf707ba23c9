//! A worker beside a fleet of Node BullMQ, on the same queue; docs/from-bullmq.md shows both.
//!
//! `REDIS_URL=redis://localhost:6379 cargo run -p launchkit-queue --features redis --example from_bullmq`

use std::error::Error;
use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::{Active, Backoff, Exit, JobKind, JobOptions, Keep, Queue, Store, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Letter {
    words: Vec<String>,
}

impl JobKind for Letter {
    const NAME: &'static str = "letter"; // the name that Node's jobs have
    type Output = usize;

    fn options() -> JobOptions {
        JobOptions {
            attempts: 3,
            backoff: Backoff::fixed(Duration::from_millis(100)),
            keep_failed: Keep::newest(1000),
            ..JobOptions::default()
        }
    }
}

async fn send(letter: Active<Letter>) -> Result<usize, Exit> {
    let words = &letter.data().words;
    if words.iter().any(|word| word == "later") && letter.attempt() == 1 {
        return Err("not at the first try".into());
    }
    if words.iter().any(|word| word == "never") {
        return Err("not at any try".into());
    }
    Ok(words.len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let store = Store::redis(&RedisOptions::parse(&url)?.prefix("bull")).await?; // BullMQ's prefix, unless you set another
    let letters = Queue::new(&store, "letters")?;
    letters.add(Letter { words: vec!["from".into(), "Rust".into()] }).id("hello-from-rust").await?;

    let name = std::env::var("WORKER_NAME").unwrap_or("rust-1".into());
    let worker = Worker::builder(&letters).name(name).concurrency(5).on(send).build()?;
    let report = worker.run_until(input_ends()).await; // running jobs end first
    println!("completed {}, failed {}", report.done, report.dead);
    store.close().await;
    Ok(())
}

/// When whoever started this program closes its input.
async fn input_ends() {
    let read = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    if let Ok(Err(error)) = read.await {
        eprintln!("the input cannot be read: {error}");
    }
}
