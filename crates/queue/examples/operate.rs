//! An operator's day: pause and resume, ask why a job does not run, cancel one that does, look at failed jobs, run a choice
//! of them again, and read the numbers of the minute.
//!
//! `cargo run -p launchkit-queue --features sqlite --example operate`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use launchkit_queue::{
    Active, Event, Exit, FailureKind, JobKind, List, OutcomeError, Pick, Queue, State, Store, Told, Why, Worker,
};
use serde::{Deserialize, Serialize};

const WAIT: Duration = Duration::from_secs(3);

/// Sends a mail: "slow" ones take for ever, "bad" ones have no address, all others need a server that is down at first.
#[derive(Serialize, Deserialize)]
struct Mail(String);

impl JobKind for Mail {
    const NAME: &'static str = "mail";
    type Output = ();
}

async fn send(job: Active<Mail>, server_is_up: Arc<AtomicBool>) -> Result<(), Exit> {
    match job.data().0.as_str() {
        "slow" => {
            let cause = job.canceled().await;
            println!("the handler is told to stop: {cause:?}");
            Err("stopped half way".into())
        }
        "bad" => Err(Exit::give_up("no such address")),
        _ if server_is_up.load(Ordering::Relaxed) => Ok(()),
        _ => Err("the server timed out".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "mails")?;
    let admin = queue.admin();
    let server_is_up = Arc::new(AtomicBool::new(false));

    let up = server_is_up.clone();
    let worker = Worker::builder(&queue).on::<Mail>(move |job| send(job, up.clone())).build()?.start();

    // Paused: the job stays, and the queue says why.
    admin.pause().await?;
    let slow = queue.add(Mail("slow".into())).await?.id().clone();
    let ada = queue.add(Mail("ada".into())).await?.id().clone();
    let why = queue.explain(&slow).await?.reasons;
    println!("paused: {}", why[0].message);
    assert_eq!(why[0].code, Why::QueuePaused);

    // Resumed: one job runs, and the other waits behind it.
    let mut events = queue.events(queue.newest_event().await?);
    admin.resume().await?;
    while !matches!(events.next().await?, Told::Event(_, Event::Active { id, .. }) if id == slow) {}
    let why = queue.explain(&ada).await?.reasons;
    println!("resumed: {}", why[0].message); // "no worker", until the new worker's first sign of life
    assert!(why.iter().any(|reason| reason.code == Why::BehindOthers));

    // Cancel what runs; the others go on.
    queue.cancel(&slow).await?;
    let canceled = queue.outcome::<Mail>(&slow, WAIT).await;
    println!("canceled: {canceled:?}");
    assert!(matches!(canceled, Err(OutcomeError::Failed(failure)) if failure.kind == FailureKind::Canceled));

    let bad = queue.add(Mail("bad".into())).await?.id().clone();
    let bob = queue.add(Mail("bob".into())).await?.id().clone();
    for id in [&ada, &bad, &bob] {
        assert!(matches!(queue.outcome::<Mail>(id, WAIT).await, Err(OutcomeError::Failed(_))));
    }

    // Look at what failed, newest first; then run the timeouts again, now that the server is back.
    for job in queue.list(&List { state: State::Failed, after: None, most: 100 }).await?.jobs {
        let message = job.failure.as_ref().map_or("", |failure| &*failure.message);
        println!("failed: {} to {}: {message}", job.id, job.data.decode::<Mail>()?.0);
    }
    server_is_up.store(true, Ordering::Relaxed);
    let timeouts = Pick { error: Some("timed out".into()), ..Pick::default() };
    let (mut letters, mut again) = (admin.dead_letters(timeouts), Vec::new());
    while let Some(step) = letters.retry().await? {
        println!("{} of {} failed jobs run again", step.done.len(), step.scanned);
        again.extend(step.done);
    }
    assert_eq!(again, [ada, bob]);
    for id in &again {
        queue.outcome::<Mail>(id, WAIT).await?;
    }
    worker.stop().await;

    let counts = queue.counts().await?;
    assert_eq!((counts.completed, counts.failed), (2, 2));
    let (mut completed, mut failed) = (0, 0); // of two minutes, should a new one have begun meanwhile
    for minute in queue.metrics(None, 2).await? {
        println!("{}: {} completed, {} failed, {} ms run", minute.at, minute.completed, minute.failed, minute.run.sum);
        completed += minute.completed;
        failed += minute.failed;
    }
    assert_eq!((completed, failed), (2, 4));
    Ok(())
}
