//! What a handler may answer: an error that is tried again after a growing wait, a final "give up", and "run me later",
//! which is no failure. At the end, what the records say of each.
//!
//! `cargo run -p launchkit-queue --features sqlite --example retries`

use std::error::Error;
use std::time::{Duration, Instant};

use launchkit_queue::{
    Active, Backoff, Exit, FailureKind, JobKind, JobOptions, OutcomeError, Queue, State, Store, Worker,
};
use serde::{Deserialize, Serialize};

const WAIT: Duration = Duration::from_secs(3);

/// Asks a service that is down for the first two times.
#[derive(Serialize, Deserialize)]
struct Fetch;

impl JobKind for Fetch {
    const NAME: &'static str = "fetch";
    type Output = String;

    fn options() -> JobOptions {
        JobOptions { attempts: 5, backoff: Backoff::exponential(Duration::from_millis(50)), ..JobOptions::default() }
    }
}

async fn fetch(job: Active<Fetch>) -> Result<String, Exit> {
    println!("fetch: attempt {}", job.attempt());
    if job.attempt() < 3 {
        return Err("connection refused".into());
    }
    Ok("<html>".into())
}

/// Reads a number; another try would read the same text.
#[derive(Serialize, Deserialize)]
struct Parse(String);

impl JobKind for Parse {
    const NAME: &'static str = "parse";
    type Output = u32;
}

async fn parse(job: Active<Parse>) -> Result<u32, Exit> {
    println!("parse: attempt {}", job.attempt());
    job.data().0.parse().map_err(|error| Exit::give_up(format!("{:?}: {error}", job.data().0)))
}

/// Waits for a report that is not ready when it is first asked for.
#[derive(Serialize, Deserialize)]
struct Report;

impl JobKind for Report {
    const NAME: &'static str = "report";
    type Output = ();
}

async fn report(job: Active<Report>) -> Result<(), Exit> {
    println!("report: attempt {}, start {}", job.attempt(), job.started());
    if job.started() == 1 { Err(Exit::Later(Duration::from_millis(100))) } else { Ok(()) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new(&Store::memory(), "retries")?;
    let worker = Worker::builder(&queue).on::<Fetch>(fetch).on::<Parse>(parse).on::<Report>(report).build()?.start();

    let began = Instant::now();
    let fetched = queue.add(Fetch).await?;
    let parsed = queue.add(Parse("seven".into())).attempts(5).await?;
    let reported = queue.add(Report).await?;

    let page = queue.outcome::<Fetch>(fetched.id(), WAIT).await?;
    println!("fetched {page:?} after {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(50 + 100));

    let Err(OutcomeError::Failed(failure)) = queue.outcome::<Parse>(parsed.id(), WAIT).await else {
        return Err("a text was read as a number".into());
    };
    println!("not parsed: {}", failure.message);
    queue.outcome::<Report>(reported.id(), WAIT).await?;

    let done = worker.stop().await;
    println!("{} completed, {} tried again, {} failed, {} put off", done.done, done.retried, done.dead, done.returned);

    for added in [&fetched, &parsed, &reported] {
        let job = queue.get(added.id()).await?.ok_or("a job is gone")?;
        let failure = job.failure.as_ref().map(|failure| (failure.kind, &*failure.message));
        println!("{}: {}, {} counted of {} started, {failure:?}", job.name, job.state.name(), job.made, job.started);
        match &*job.name {
            // The last failure stays readable after the success.
            "fetch" => assert_eq!(failure, Some((FailureKind::Error, "connection refused"))),
            "parse" => assert_eq!(failure.map(|(kind, _)| kind), Some(FailureKind::GaveUp)),
            _ => assert_eq!(failure, None),
        }
        let expected = match &*job.name {
            "fetch" => (State::Completed, 3, 3),
            "parse" => (State::Failed, 1, 1), // four tries left unused
            _ => (State::Completed, 1, 2),    // being put off is no attempt
        };
        assert_eq!((job.state, job.made, job.started), expected);
    }
    Ok(())
}
