//! Tenants that share a queue take turns: who comes after a tenant with 1,000 jobs does not wait for them. A tenant may
//! have more turns than others, only so many jobs at a time, or none at all for a while.
//!
//! `cargo run -p launchkit-queue --features sqlite --example groups`

use std::error::Error;
use std::num::NonZeroU32;

use launchkit_queue::{
    Active, Exit, GroupSettings, GroupStatus, JobKind, JobOptions, Planned, Queue, Store, Why, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

#[derive(Serialize, Deserialize)]
struct Index(String);

impl JobKind for Index {
    const NAME: &'static str = "index";
    type Output = ();
}

fn index(tenant: &str) -> Index {
    Index(tenant.into())
}

/// Tells who ran, and goes on when it is let.
async fn run(job: Active<Index>, ran: UnboundedSender<String>, go: CancellationToken) -> Result<(), Exit> {
    ran.send(job.into_data().0)?;
    go.cancelled().await;
    Ok(())
}

async fn next(runs: &mut UnboundedReceiver<String>, many: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let mut order = Vec::new();
    while order.len() < many {
        order.push(runs.recv().await.ok_or("the worker has stopped")?);
    }
    Ok(order)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "index")?;
    let groups = queue.groups();

    let options = JobOptions { group: Some("big".into()), ..JobOptions::default() };
    queue.add_all((0..1_000).map(|_| Planned::new(&index("big")).options(options.clone())).collect()).await?;
    queue.add(index("ada")).group("ada").await?;
    queue.add(index("bob")).group("bob").await?;
    groups.pause("late").await?;
    let late = queue.add(index("late")).group("late").await?;

    // One slot: one job after the other, in the order of the turns.
    let (ran, mut runs) = unbounded_channel();
    let (open, sender) = (CancellationToken::new(), ran.clone());
    open.cancel();
    let worker =
        Worker::builder(&queue).on::<Index>(move |job| run(job, sender.clone(), open.clone())).build()?.start();

    let all = next(&mut runs, 1_002).await?;
    println!("first of 1,002: {:?}", &all[..5]);
    for tenant in ["ada", "bob"] {
        assert!(all[..5].iter().any(|one| one == tenant), "{tenant} has a turn at once");
    }

    // All have run but the paused one.
    let why = queue.explain(late.id()).await?.reasons;
    println!("late: {}", why[0].message);
    assert_eq!(why[0].code, Why::GroupPaused);
    groups.resume("late").await?;
    assert_eq!(next(&mut runs, 1).await?, ["late"]);
    assert_eq!(worker.stop().await.done, 1_003);

    // Gold has three turns for one of silver; bronze has at most two jobs at a time.
    groups.set("gold", GroupSettings { weight: 3, ..GroupSettings::default() }).await?;
    groups.set("bronze", GroupSettings { concurrency: NonZeroU32::new(2), ..GroupSettings::default() }).await?;
    for _ in 0..20 {
        for tenant in ["gold", "silver", "bronze"] {
            queue.add(index(tenant)).group(tenant).await?;
        }
    }
    let go = CancellationToken::new();
    let hold = go.clone();
    let worker = Worker::builder(&queue)
        .concurrency(14)
        .on::<Index>(move |job| run(job, ran.clone(), hold.clone()))
        .build()?
        .start();

    next(&mut runs, 14).await?; // these run until they are let go
    let now = queue.clock().now();
    let list = groups.list(None, 100).await?;
    for group in &list {
        let (weight, status) = (group.settings.weight, group.status(now));
        println!("{}: weight {weight}, {} active, {} wait, {status:?}", group.id, group.active, group.waiting);
    }
    let found: Vec<_> =
        list.iter().map(|group| (group.id.as_str(), group.active, group.waiting, group.status(now))).collect();
    let (open, full) = (GroupStatus::Open, GroupStatus::Full);
    assert_eq!(found, [("bronze", 2, 18, full), ("gold", 9, 11, open), ("silver", 3, 17, open)]);

    go.cancel();
    next(&mut runs, 46).await?;
    assert_eq!(worker.stop().await.done, 60);
    Ok(())
}
