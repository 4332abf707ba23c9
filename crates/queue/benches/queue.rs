//! How fast the embedded stores are: `cargo bench -p launchkit-queue --bench queue` (or `make bench`). Words after `--` choose: a
//! store (`memory`, `file`), parts (`add`, `concurrency` or `concurrency 10,`, `evicts`, `groups`, `flows`, `ticks`, `pick-up`,
//! `resident`); `BENCH_STORED` how many finished jobs the file holds.
//!
//! `synchronous=FULL`, the mission document's payload (about 170 bytes), a handler that does nothing, events on, defaults
//! otherwise; nobody reads events. Every figure is the median of three runs on fresh files; the disk's fdatasync stands beside
//! them, since a figure with one commit per job measures the disk. Rates count what is committed: the clock of a backlog stops
//! when the store has completed its very last job.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use launchkit_queue::{
    Active, Backoff, Counts, Exit, Flow, JobOptions, Keep, Payload, Planned, Queue, Repeat, Schedule, Store, Worker,
};
use launchkit_testkit::wish;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

const RUNS: usize = 3;
/// What may be asked for by name.
const STORES: [&str; 2] = ["memory", "file"];
const BULK: usize = 1_000;
const BACKLOG: usize = 50_000;
const FLOWS: usize = 10_000;
const SCHEDULERS: usize = 50_000;
const TICKING: Duration = Duration::from_secs(4);
/// Names the file to a process of this program that is to say how much memory it needs.
const RESIDENT: &str = "LAUNCHKIT_BENCH_RESIDENT";

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if let Some(base) = std::env::var_os(RESIDENT) {
        return println!("{}", holding(Path::new(&base)).await);
    }
    let asked = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (stores, parts): (Vec<String>, Vec<String>) = asked.partition(|word| STORES.contains(&word.as_str()));
    let on = |store: &str| stores.is_empty() || stores.iter().any(|asked| asked == store);
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|asked| name.contains(asked));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("{}", fdatasync(folder.path()));
    if on("memory") {
        println!("\nthe store in memory; rates in jobs/s, median [min-max] of {RUNS}");
        measure(&Base::Memory, wanted).await;
    }
    let sizes = wish("BENCH_STORED").map_or(vec![10_000, 1_000_000], |stored| vec![stored as usize]);
    for stored in sizes.into_iter().filter(|_| on("file")) {
        println!("\n{stored} finished jobs stored; rates in jobs/s, median [min-max] of {RUNS}");
        let path = folder.path().join(format!("base-{stored}.db"));
        fill(&path, stored).await;
        let base = Base::File(&path);
        measure(&base, wanted).await;
        if wanted("pick-up") {
            let (queue, ..) = base.open().await;
            println!("{:<58} {}", "pick-up at 100 jobs/s offered", pick_up(&queue).await);
        }
        if wanted("resident") {
            println!("{:<58} {}", "resident memory of a fresh process that opens it", resident(&path).await);
        }
    }
}

/// What every store is asked.
async fn measure(base: &Base<'_>, wanted: impl Fn(&str) -> bool) {
    if wanted("add") {
        line("added in bulk of 1,000", rates(base, async |q| bulk(q, keep_all()).await).await);
        line("added singly by 64 tasks", rates(base, singly).await);
    }
    for (slots, jobs) in [(1, 5_000), (10, 25_000), (100, BACKLOG)] {
        let name = format!("completed, concurrency {slots}, backlog of {jobs}");
        if wanted(&name) {
            line(&name, rates(base, async |q| complete(q, slots, jobs, keep_all()).await).await);
        }
    }
    if wanted("evicts") {
        let evicting = JobOptions { keep_completed: Keep::newest(1_000), ..keep_all() };
        line(
            "the same, concurrency 100, each finish evicts",
            rates(base, async |q| complete(q, 100, BACKLOG, evicting.clone()).await).await,
        );
    }
    if wanted("groups") {
        for groups in [10, 10_000] {
            let name = format!("completed, concurrency 100, {groups} groups take turns");
            line(&name, rates(base, async |q| take_turns(q, groups).await).await);
        }
    }
    if wanted("flows") {
        let mut added = Vec::new();
        let completed = rates(base, async |q| {
            let (add, complete) = flows(q).await;
            added.push(add);
            complete
        });
        let completed = completed.await;
        added.sort_by(f64::total_cmp);
        line("flows of a parent and four children, added by 64 tasks", added);
        line("the same flows completed, concurrency 100", completed);
    }
    if wanted("ticks") {
        line("ticks of 50,000 schedulers of a second each", rates(base, ticks).await);
    }
}

fn keep_all() -> JobOptions {
    JobOptions { attempts: 3, backoff: Backoff::exponential(Duration::from_secs(2)), ..JobOptions::default() }
}

fn payload() -> serde_json::Value {
    json!({"jobId": "cmwu8ddpw00005rwco3q3as3q", "orgId": "cmwu8ddpw00005rwco3q3as3r", "type": "SUMMARIZE",
           "input": {"text": "x".repeat(66)}})
}

fn planned(options: &Arc<JobOptions>) -> Planned {
    Planned::named("SUMMARIZE", &payload()).options(options.clone())
}

/// A file with this many completed jobs.
async fn fill(path: &Path, jobs: usize) {
    let store = Store::sqlite(path).await.unwrap();
    let queue = Queue::new(&store, "bench").unwrap();
    let options = Arc::new(keep_all());
    for _ in 0..jobs / 10_000 {
        queue.add_all((0..10_000).map(|_| planned(&options)).collect()).await.unwrap();
        work_off(&queue, 500).await;
    }
    store.close().await;
}

/// What each run begins with.
enum Base<'a> {
    Memory,
    /// A copy of this file.
    File(&'a Path),
}

impl Base<'_> {
    /// Opens it; the folder of a copy goes with it.
    async fn open(&self) -> (Queue, Store, Option<tempfile::TempDir>) {
        let (store, folder) = match self {
            Base::Memory => (Store::memory(), None),
            Base::File(base) => {
                let folder = tempfile::tempdir_in(base.parent().unwrap()).unwrap();
                let path = folder.path().join("queue.db");
                std::fs::copy(base, &path).unwrap();
                std::fs::File::open(&path).unwrap().sync_all().unwrap();
                (Store::sqlite(&path).await.unwrap(), Some(folder))
            }
        };
        (Queue::new(&store, "bench").unwrap(), store, folder)
    }
}

/// The rates of some runs of a measurement, each on a fresh store.
async fn rates(base: &Base<'_>, mut measure: impl AsyncFnMut(Queue) -> f64) -> Vec<f64> {
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let (queue, store, _folder) = base.open().await;
        rates.push(measure(queue).await);
        store.close().await;
    }
    rates.sort_by(f64::total_cmp);
    rates
}

fn line(name: &str, rates: Vec<f64>) {
    println!("{name:<58} {:>8.0} [{:.0}-{:.0}]", rates[rates.len() / 2], rates[0], rates[rates.len() - 1]);
}

async fn bulk(queue: Queue, options: JobOptions) -> f64 {
    let options = Arc::new(options);
    let begun = Instant::now();
    for _ in 0..BACKLOG / BULK {
        queue.add_all((0..BULK).map(|_| planned(&options)).collect()).await.unwrap();
    }
    BACKLOG as f64 / begun.elapsed().as_secs_f64()
}

async fn singly(queue: Queue) -> f64 {
    let options = Arc::new(keep_all());
    let each = BACKLOG / 64;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (queue, options) = (queue.clone(), options.clone());
        tasks.spawn(async move {
            for _ in 0..each {
                queue.add_all(vec![planned(&options)]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    (64 * each) as f64 / begun.elapsed().as_secs_f64()
}

async fn complete(queue: Queue, slots: usize, jobs: usize, options: JobOptions) -> f64 {
    let options = Arc::new(options);
    for _ in 0..jobs / BULK {
        queue.add_all((0..BULK).map(|_| planned(&options)).collect()).await.unwrap();
    }
    jobs as f64 / work_off(&queue, slots).await.as_secs_f64()
}

/// The same backlog, spread over groups.
async fn take_turns(queue: Queue, groups: usize) -> f64 {
    let options = |n: usize| Arc::new(JobOptions { group: Some(format!("tenant-{n}").into()), ..keep_all() });
    let options: Vec<Arc<JobOptions>> = (0..groups).map(options).collect();
    for n in 0..BACKLOG / BULK {
        let jobs = (n * BULK..(n + 1) * BULK).map(|n| planned(&options[n % groups]));
        queue.add_all(jobs.collect()).await.unwrap();
    }
    BACKLOG as f64 / work_off(&queue, 100).await.as_secs_f64()
}

/// Flows added and completed in a second.
async fn flows(queue: Queue) -> (f64, f64) {
    let flow = |queue: &Queue| {
        let job = || Flow::named(queue, "SUMMARIZE", &payload()).options(keep_all());
        (0..4).fold(job(), |parent, _| parent.child(job()))
    };
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (queue, flow) = (queue.clone(), flow);
        tasks.spawn(async move {
            for _ in 0..FLOWS / 64 {
                queue.add_flow(flow(&queue)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let count = (FLOWS / 64 * 64) as f64;
    let added = count / begun.elapsed().as_secs_f64();
    (added, count / work_off(&queue, 100).await.as_secs_f64())
}

/// Jobs of schedulers completed in a second, while more are due than can be worked.
async fn ticks(queue: Queue) -> f64 {
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let queue = queue.clone();
        tasks.spawn(async move {
            for n in (task..SCHEDULERS).step_by(64) {
                let every = Schedule::Every(Duration::from_secs(1));
                let repeat = Repeat::named(format!("s{n}"), every, "SUMMARIZE", &payload()).unwrap();
                queue.schedule(repeat).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let before = queue.counts().await.unwrap().completed;
    let begun = Instant::now();
    let worker = Worker::builder(&queue).concurrency(100).on_rest(noop).build().unwrap().start();
    tokio::time::sleep(TICKING).await; // this long it is measured
    let done = queue.counts().await.unwrap().completed - before;
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    worker.stop().await;
    rate
}

/// Works until nothing is left: once the last handler has been called, the store is looked at each half millisecond.
async fn work_off(queue: &Queue, slots: usize) -> Duration {
    let open = |counts: Counts| counts.waiting + counts.prioritized + counts.waiting_children + counts.active;
    let left = Arc::new(AtomicU64::new(open(queue.counts().await.unwrap())));
    let last = Arc::new(Notify::new());
    let called = last.clone();
    let handler = move |_: Active<Payload>| {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            called.notify_one();
        }
        async { Ok(Payload::null()) }
    };
    let worker = Worker::builder(queue).concurrency(slots).on_rest(handler).build().unwrap();
    let begun = Instant::now();
    let worker = worker.start();
    last.notified().await;
    while open(queue.counts().await.unwrap()) > 0 {
        tokio::time::sleep(Duration::from_micros(500)).await; // the look's own period
    }
    let took = begun.elapsed();
    worker.stop().await;
    took
}

async fn noop(_: Active<Payload>) -> Result<Payload, Exit> {
    Ok(Payload::null())
}

/// From the add's acknowledgement to the handler's first instruction.
async fn pick_up(queue: &Queue) -> String {
    let (entered, mut entries) = mpsc::unbounded_channel();
    let handler = move |_: Active<Payload>| {
        entered.send(Instant::now()).unwrap();
        async { Ok(Payload::null()) }
    };
    let worker = Worker::builder(queue).concurrency(100).on_rest(handler).build().unwrap();
    let worker = worker.start();
    let options = Arc::new(keep_all());
    let mut waits = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..1_000 {
        tick.tick().await;
        queue.add_all(vec![planned(&options)]).await.unwrap();
        let acknowledged = Instant::now();
        let entry = entries.recv().await.unwrap();
        waits.push(entry.saturating_duration_since(acknowledged).as_secs_f64() * 1e3);
    }
    worker.stop().await;
    waits.sort_by(f64::total_cmp);
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", waits[500], waits[990], waits[999])
}

/// What a fresh process holds before it opens the file, after, and when it has worked.
async fn resident(base: &Path) -> String {
    let myself = std::env::current_exe().unwrap();
    let child = tokio::process::Command::new(myself).env(RESIDENT, base).output().await.unwrap();
    String::from_utf8(child.stdout).unwrap().trim().to_owned()
}

async fn holding(base: &Path) -> String {
    let before = rss();
    let (queue, store, _folder) = Base::File(base).open().await;
    let opened = rss();
    complete(queue.clone(), 100, 10_000, keep_all()).await;
    let worked = rss();
    store.close().await;
    format!("{before} MB before, {opened} MB opened, {worked} MB after 10,000 more jobs")
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The disk: an overwrite of 4 KiB and its fdatasync, as a commit's.
fn fdatasync(folder: &Path) -> String {
    let path = folder.join("disk");
    std::fs::write(&path, vec![0u8; 4 << 20]).unwrap();
    let mut file = std::fs::File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let mut waits = Vec::new();
    for _ in 0..1_000 {
        file.write_all(&[1u8; 4096]).unwrap();
        let begun = Instant::now();
        file.sync_data().unwrap();
        waits.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    waits.sort_by(f64::total_cmp);
    format!("fdatasync of 4 KiB: p50 {:.0} us, p99 {:.0} us, max {:.0} us", waits[500], waits[990], waits[999])
}
