//! Jobs that wait for others: a report in one queue whose parts are made in two other queues. A part that fails may be
//! ignored; one that fails without a policy holds up its report until somebody retries it, and `explain` names it. And a
//! handler that finds out only while it runs what there is to wait for.
//!
//! `cargo run -p launchkit-queue --features sqlite --example flow`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use launchkit_queue::{
    Active, ChildFailure, Exit, Flow, JobKind, Made, OutcomeError, Queue, State, Store, Why, Worker,
};
use serde::{Deserialize, Serialize};

const WAIT: Duration = Duration::from_secs(3);

macro_rules! kind {
    ($kind:ident($data:ty) as $name:literal -> $output:ty) => {
        #[derive(Serialize, Deserialize)]
        struct $kind($data);
        impl JobKind for $kind {
            const NAME: &'static str = $name;
            type Output = $output;
        }
    };
}

kind!(Text(String) as "text" -> String);
kind!(Chart(String) as "chart" -> String);
kind!(Report(String) as "report" -> Vec<String>);
kind!(Book(u32) as "book" -> usize);

async fn text(job: Active<Text>) -> Result<String, Exit> {
    Ok(format!("text on {}", job.data().0))
}

async fn chart(job: Active<Chart>, data_is_there: Arc<AtomicBool>) -> Result<String, Exit> {
    if data_is_there.load(Ordering::Relaxed) { Ok(format!("chart of {}", job.data().0)) } else { Err("no data".into()) }
}

/// Runs when its parts are done; sees what each of them answered, or why it failed.
async fn report(job: Active<Report>) -> Result<Vec<String>, Exit> {
    let part = |child: launchkit_queue::Child| match (child.result, child.reason) {
        (Some(result), _) => result.decode::<String>(),
        (None, reason) => Ok(format!("without {} {} ({})", child.queue, child.id, reason.as_deref().unwrap_or("?"))),
    };
    Ok(job.children(0, 1_000).await?.children.into_iter().map(part).collect::<Result<_, _>>()?)
}

/// Adds its chapters when it runs first, and counts them when it runs again.
async fn book(job: Active<Book>, texts: Queue) -> Result<usize, Exit> {
    let done = job.children(0, 1_000).await?;
    if done.children.is_empty() {
        let chapter = |n| Flow::new(&texts, Text(format!("chapter {n}"))).id(format!("book-{}-{n}", job.id()));
        job.add_children((1..=job.data().0).map(chapter).collect()).await?;
        return Err(Exit::AwaitChildren);
    }
    Ok(done.children.iter().filter(|child| child.result.is_some()).count())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::memory();
    let (reports, texts) = (Queue::new(&store, "reports")?, Queue::new(&store, "texts")?);
    let (charts, data_is_there) = (Queue::new(&store, "charts")?, Arc::new(AtomicBool::new(false)));
    let (there, chapters) = (data_is_there.clone(), texts.clone());
    let workers = [
        Worker::builder(&reports).on::<Report>(report).on::<Book>(move |job| book(job, chapters.clone())).build()?,
        Worker::builder(&texts).on::<Text>(text).build()?,
        Worker::builder(&charts).on::<Chart>(move |job| chart(job, there.clone())).build()?,
    ];

    // Added at once: a report, and its parts in two other queues. It can do without its chart.
    let flow = Flow::new(&reports, Report("spring".into()))
        .child(Flow::new(&texts, Text("sales".into())))
        .child(Flow::new(&charts, Chart("sales".into())).on_failure(ChildFailure::Ignore));
    let spring = reports.add_flow(flow).await?[0].id().clone();
    let running = workers.map(Worker::start);
    let parts = reports.outcome::<Report>(&spring, WAIT).await?;
    println!("spring: {parts:?}");
    assert_eq!(parts, ["text on sales", "without charts 1 (no data)"]);

    // No policy: the failed chart holds up its report, and the report says so.
    let flow = Flow::new(&reports, Report("summer".into())).child(Flow::new(&charts, Chart("costs".into())));
    let added = reports.add_flow(flow).await?;
    let (summer, costs) = (added[0].id(), added[1].id()); // each job before its children
    assert!(matches!(charts.outcome::<Chart>(costs, WAIT).await, Err(OutcomeError::Failed(_))));
    let why = reports.explain(summer).await?;
    println!("summer: {}", why.reasons[0].message);
    assert_eq!((why.state, why.reasons[0].code), (Some(State::WaitingChildren), Why::WaitingForChildren));
    assert!(why.reasons[0].message.contains(&format!("charts:{costs}")));
    data_is_there.store(true, Ordering::Relaxed);
    charts.retry(costs, Made::Reset).await?;
    let parts = reports.outcome::<Report>(summer, WAIT).await?;
    println!("summer: {parts:?}");
    assert_eq!(parts, ["chart of costs"]);

    let added = reports.add(Book(3)).await?;
    let chapters = reports.outcome::<Book>(added.id(), WAIT).await?;
    println!("a book of {chapters} chapters");
    assert_eq!(chapters, 3);
    for worker in running {
        worker.stop().await;
    }
    Ok(())
}
