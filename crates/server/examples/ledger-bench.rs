//! What the ledger does in a second: creates one by one by 64 tasks through a grouper, creates in bulk, and runs begun and
//! ended in batches of 1, 10 and 100, each with few and with many jobs stored.
//!
//! `cargo run --profile demo -p launchkit --example ledger-bench -- [WHERE] [STORED]`: WHERE is `sqlite` (a file in a temporary
//! directory), `postgres` (a private server with fsync) or a DATABASE_URL; STORED jobs (default 10,000) are made and ended
//! first.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use launchkit::ledger::{
    Begun, Create, Created, DatabaseUrl, Finish, Kind, Ledger, NewJob, OpenOptions, Start, Usage, What,
};
use launchkit_testkit::postgres::{Durability, Postgres};
use tokio::sync::{mpsc, oneshot};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NOW: i64 = 1_794_744_000_000;
const TEXT: &str = "This is a test job to verify the queue system is working properly. It should be processed \
    asynchronously by a worker.";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut args = std::env::args().skip(1);
    let file = format!("sqlite://{}/ledger.db", directory.path().display());
    let wanted = args.next().unwrap_or_else(|| "sqlite".to_owned());
    let server = match wanted.as_str() {
        "postgres" => Some(Postgres::start(Durability::Fsync)?),
        _ => None,
    };
    let url = match (&server, wanted.as_str()) {
        (Some(server), _) => server.database()?,
        (None, "sqlite") => file,
        (None, given) => given.to_owned(),
    };
    let stored: usize = args.next().map_or(Ok(10_000), |number| number.parse())?;
    let ledger = Ledger::open(&DatabaseUrl::parse(&url)?, OpenOptions::default(), NOW).await?;
    let org = ledger.ensure_default_org(NOW).await?.id;
    sync_speed(directory.path())?;
    for batch in full_batches(stored) {
        let starts = bulk(&ledger, &org, batch).await?;
        cycle(&ledger, &starts, 100).await?;
    }
    println!("{stored} jobs stored");
    single_creates(&ledger, &org, 64, Duration::from_secs(5)).await?;
    let stretch = Stretch::begin();
    let mut starts = Vec::new();
    for _ in 0..20 {
        starts.extend(bulk(&ledger, &org, 1_000).await?);
    }
    stretch.report("created in bulk of 1,000", 20_000);
    let stretch = Stretch::begin();
    let noted: Vec<(String, i64)> = starts.iter().map(|start| (start.id.clone(), 1)).collect();
    for noted in noted.chunks(100) {
        ledger.dispatched(Kind::Job, noted, NOW).await?;
    }
    stretch.report("noted as dispatched by 100", 20_000);
    for (batch, count) in [(100, 12_000), (10, 4_000), (1, 1_000)] {
        let stretch = Stretch::begin();
        let some: Vec<Start> = starts.drain(..count).collect();
        let (beginning, ending) = cycle(&ledger, &some, batch).await?;
        stretch.report(&format!("begun and ended by {batch}"), count);
        println!("    begin {beginning:?}, end {ending:?} a batch");
    }
    ledger.close().await;
    Ok(())
}

fn full_batches(mut total: usize) -> Vec<usize> {
    let mut batches = Vec::new();
    while total > 0 {
        batches.push(total.min(1_000));
        total -= total.min(1_000);
    }
    batches
}

/// A stretch of work: how long it took and how much processor time of this process.
struct Stretch {
    began: Instant,
    busy: f64,
}

impl Stretch {
    fn begin() -> Stretch {
        Stretch { began: Instant::now(), busy: busy_seconds() }
    }

    fn report(&self, what: &str, count: usize) {
        let rate = count as f64 / self.began.elapsed().as_secs_f64();
        let busy = (busy_seconds() - self.busy) * 1e6 / count as f64;
        println!("{rate:>9.0}/s {what} ({busy:.1} µs of processor time each)");
    }
}

/// Processor time of this process, exact to a hundredth of a second; 0 where it cannot be read.
fn busy_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(12).take(2);
    ticks.filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// How long the disk takes to make 4 kB durable.
fn sync_speed(directory: &std::path::Path) -> Result<(), Failure> {
    let mut file = File::create(directory.join("sync"))?;
    let mut took = Vec::new();
    for _ in 0..500 {
        file.write_all(&[7; 4_096])?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!("fdatasync p50 {:?} p99 {:?}", took[250], took[495]);
    Ok(())
}

fn request(org: &str, jobs: usize) -> Create {
    let job = NewJob {
        job_type: "SUMMARIZE".to_owned(),
        input: format!(r#"{{"text":"{TEXT}"}}"#),
        priority: 0,
        max_attempts: 3,
        metadata: "{}".to_owned(),
        run_at: None,
        timeout: None,
        start_before: None,
        webhook_url: None,
        provider: None,
        traceparent: None,
        reserve_tokens: 100,
    };
    Create { org: org.to_owned(), jobs: vec![job; jobs], idempotency: None }
}

async fn bulk(ledger: &Ledger, org: &str, jobs: usize) -> Result<Vec<Start>, Failure> {
    let mut starts = Vec::with_capacity(jobs);
    for created in ledger.create(vec![request(org, jobs)], NOW).await? {
        let Created::Created(rows) = created else {
            return Err("not created".into());
        };
        starts.extend(rows.into_iter().map(|row| Start { id: row.id, generation: row.generation, made: 0 }));
    }
    Ok(starts)
}

/// Begins and ends; answers how long each took on average for a batch.
async fn cycle(ledger: &Ledger, starts: &[Start], batch: usize) -> Result<(Duration, Duration), Failure> {
    let (mut beginning, mut ending, mut batches) = (Duration::ZERO, Duration::ZERO, 0);
    for starts in starts.chunks(batch) {
        let began = Instant::now();
        let begun = ledger.begin(Kind::Job, starts, "bench", NOW).await?;
        beginning += began.elapsed();
        let ends = begun.into_iter().map(finish).collect::<Result<_, _>>()?;
        let began = Instant::now();
        ledger.end(Kind::Job, ends, NOW).await?;
        ending += began.elapsed();
        batches += 1;
    }
    Ok((beginning / batches, ending / batches))
}

fn finish(begun: Begun) -> Result<Finish, Failure> {
    let Begun::Run(run) = begun else {
        return Err("not begun".into());
    };
    Ok(Finish {
        id: run.id,
        generation: run.generation,
        run: run.run,
        what: What::Succeeded {
            output: r#"{"summary":"A test job.","originalLength":123,"summaryLength":11}"#.to_owned(),
            usage: Some(Usage {
                input_tokens: 30,
                output_tokens: 15,
                provider: "local".to_owned(),
                model: "lexrank".to_owned(),
                cost_micros: 0,
            }),
        },
    })
}

/// Tasks that each create one job after the other; one doer commits what has come while the last commit ran.
async fn single_creates(ledger: &Ledger, org: &str, tasks: usize, time: Duration) -> Result<(), Failure> {
    let (sender, mut requests) = mpsc::channel::<(Create, oneshot::Sender<Created>)>(256);
    let doer = {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let mut commits = 0_u64;
            let mut waiting = Vec::new();
            while requests.recv_many(&mut waiting, 256).await > 0 {
                let (group, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
                let created = ledger.create(group, NOW).await?;
                for (answer, created) in answers.into_iter().zip(created) {
                    drop(answer.send(created));
                }
                commits += 1;
            }
            Ok::<u64, Failure>(commits)
        })
    };
    let stretch = Stretch::begin();
    let began = stretch.began;
    let mut running = Vec::new();
    for _ in 0..tasks {
        let (sender, org) = (sender.clone(), org.to_owned());
        running.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < time {
                let (answer, answered) = oneshot::channel();
                let asked = Instant::now();
                sender.send((request(&org, 1), answer)).await?;
                let Created::Created(_) = answered.await? else {
                    return Err::<_, Failure>("not created".into());
                };
                took.push(asked.elapsed());
            }
            Ok(took)
        }));
    }
    drop(sender);
    let mut took = Vec::new();
    for task in running {
        took.extend(task.await??);
    }
    stretch.report(&format!("created singly by {tasks} tasks"), took.len());
    let commits = doer.await??;
    took.sort_unstable();
    println!(
        "    p50 {:?} p99 {:?}, {:.1} in a commit",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took.len() as f64 / commits as f64
    );
    Ok(())
}
