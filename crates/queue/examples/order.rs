//! In which order jobs run: LIFO before FIFO, both before priorities (1 is the most urgent), delayed ones when due.
//!
//! `cargo run -p launchkit-queue --features sqlite --example order`

use std::error::Error;
use std::time::Duration;

use launchkit_queue::{Active, Exit, JobKind, List, Queue, State, Store, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Serialize, Deserialize)]
struct Print(String);

impl JobKind for Print {
    const NAME: &'static str = "print";
    type Output = ();
}

fn print(text: &str) -> Print {
    Print(text.into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "printer")?;

    queue.add(print("nightly, in 200 ms")).priority(9).delay(Duration::from_millis(200)).await?;
    queue.add(print("backup, in 100 ms")).priority(9).delay(Duration::from_millis(100)).await?;
    queue.add(print("newsletter, priority 5")).priority(5).await?;
    queue.add(print("invoice, priority 1")).priority(1).await?;
    queue.add(print("reminder, priority 5")).priority(5).await?;
    queue.add(print("letter")).await?;
    queue.add(print("postcard")).await?;
    queue.add(print("urgent")).lifo().await?;
    queue.add(print("more urgent")).lifo().await?;

    let counts = queue.counts().await?;
    println!("{} wait, {} have a priority, {} are delayed", counts.waiting, counts.prioritized, counts.delayed);
    assert_eq!((counts.waiting, counts.prioritized, counts.delayed), (4, 3, 2));

    // What will run next can be read before anything runs.
    let next = queue.list(&List { state: State::Waiting, after: None, most: 1 }).await?;
    let next = next.jobs.first().ok_or("nothing waits")?.data.decode::<Print>()?;
    println!("next: {}", next.0);
    assert_eq!(next.0, "more urgent");

    // One slot, so that one job runs after the other; each tells us that it ran.
    let (printed, mut prints) = mpsc::unbounded_channel();
    let handler = move |job: Active<Print>| {
        let printed = printed.clone();
        async move {
            printed.send(job.into_data().0)?;
            Ok::<_, Exit>(())
        }
    };
    let worker = Worker::builder(&queue).concurrency(1).on::<Print>(handler).build()?.start();

    let mut order = Vec::new();
    while order.len() < 9 {
        let text = prints.recv().await.ok_or("the worker has stopped")?;
        println!("printed {text}");
        order.push(text);
    }
    let report = worker.stop().await;

    let expected = [
        "more urgent",
        "urgent",
        "letter",
        "postcard",
        "invoice, priority 1",
        "newsletter, priority 5",
        "reminder, priority 5",
        "backup, in 100 ms",
        "nightly, in 200 ms",
    ];
    assert_eq!(order, expected);
    assert_eq!(report.done, 9);
    Ok(())
}
