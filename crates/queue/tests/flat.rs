//! Memory does not grow with the jobs that have gone through: nobody reads events, the newest hundred jobs are kept, and what the
//! process has resident stays. `FLAT_JOBS` says how many jobs for each store; from a million on, what one job leaves behind is
//! measured too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::memory::Memory;
use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::sqlite::Sqlite;
use launchkit_queue::*;
use launchkit_testkit::redis::{Kind, RedisServer};
use launchkit_testkit::{tell, wish};
use serde::{Deserialize, Serialize};

const BATCH: u64 = 1_000;
/// Batches that wait or run at the most.
const AHEAD: usize = 4;
/// Looks at the memory; those of the first quarter, in which buffers and caches grow to their size, are left out.
const LOOKS: u64 = 40;

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

impl JobKind for Text {
    const NAME: &'static str = "text";
    type Output = u32;
}

/// Bytes that this process has resident.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: f64 = pages.split(' ').nth(1).expect("resident pages").parse().expect("a number");
    pages * 4096.0
}

/// How much the second number grows with the first, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / n, sum.1 + point.1 / n));
    let (over, under) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + (point.0 - x) * (point.1 - y), sum.1 + (point.0 - x) * (point.0 - x)));
    over / under
}

async fn flat(name: &str, backend: Arc<dyn Backend>, jobs: u64) {
    let store = Store::over(backend, Clock::system());
    let queue = Queue::new(&store, "texts").expect("a name");
    let (done, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |job: Active<Text>| {
        done.send(()).expect("somebody counts");
        async move { Ok::<_, Exit>(job.data().text.len() as u32) }
    };
    let worker = Worker::builder(&queue).concurrency(100).on(answer).build().expect("a worker").start();
    let options = Arc::new(JobOptions { keep_completed: Keep::newest(100), ..JobOptions::default() });
    let (mut added, mut over, mut points) = (0, 0, Vec::new());
    while over < jobs {
        while added < jobs && added - over < BATCH * AHEAD as u64 {
            let texts =
                (added..added + BATCH).map(|n| Text { text: format!("text {n} of many, as long as texts are") });
            queue
                .add_all(texts.map(|text| Planned::new(&text).options(options.clone())).collect())
                .await
                .expect("added");
            added += BATCH;
        }
        ended.recv().await.expect("a job");
        over += 1;
        if over % (jobs / LOOKS) == 0 {
            points.push((over as f64, resident()));
        }
    }
    worker.stop().await;
    store.close().await;
    let steady = &points[points.len() / 4..];
    let most = steady.iter().map(|point| point.1).fold(0.0, f64::max);
    let (grown, each) = (most - steady[0].1, slope(steady));
    tell(&format!(
        "{jobs} jobs through {name}, nobody reads events: {:.1} MB resident after a quarter, {:.1} MB at the most later, {each:.3} \
         bytes for each job",
        steady[0].1 / 1e6,
        most / 1e6,
    ));
    assert!(grown < 16e6, "{name} grew by {grown} bytes: {points:?}");
    assert!(jobs < 1_000_000 || each < 1.0, "{name} keeps {each} bytes of each job: {points:?}");
}

/// One after the other: they share a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_however_many_jobs_go_through() {
    let jobs = wish("FLAT_JOBS").unwrap_or(20_000);
    flat("memory", Arc::new(Memory::new()), jobs).await;
    let folder = tempfile::tempdir().expect("a folder");
    flat("SQLite", Arc::new(Sqlite::open(&folder.path().join("queue.db")).await.expect("a file")), jobs).await;
    let server = RedisServer::start(Kind::Redis).expect("a server");
    let redis = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    flat("Redis", Arc::new(redis), jobs).await;
}
