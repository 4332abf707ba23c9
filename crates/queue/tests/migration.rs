//! A fleet of Node BullMQ is replaced by ours, under load, and comes back: what docs/from-bullmq.md says, with the programs
//! that it shows. Nothing is lost and nothing runs twice.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use launchkit_queue::backend::MAX_READ;
use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::{Clock, Event, JobId, Position, Queue, Record, State, Store, Timestamp, Told};
use launchkit_testkit::Peer;
use launchkit_testkit::redis::{Kind, RedisServer};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Ends that are waited for in each phase.
const PHASE: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/queue is two below").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The fenced block of a language in the document, of which there is one.
fn block<'a>(document: &'a str, language: &str) -> &'a str {
    let begin = format!("\n```{language}\n");
    let mut blocks = document.split(&begin).skip(1);
    let block = blocks.next().and_then(|rest| rest.split("```").next()).expect("a block");
    assert!(blocks.next().is_none(), "there is one block of {language}");
    block
}

/// The programs of the document are those that the next test runs.
#[test]
fn the_document_shows_the_programs_that_are_run() {
    let document = read("docs/from-bullmq.md");
    let ours = read("crates/queue/examples/from_bullmq.rs");
    let (_, ours) = ours.split_once("\n\n").expect("a header");
    assert_eq!(block(&document, "rust"), ours);
    let theirs = read("peers/node/letters.mjs");
    let (_, theirs) = theirs.split_once("// --- docs/from-bullmq.md ---\n").expect("a line");
    let import = "import { Queue, Worker } from 'bullmq';\n\n";
    assert_eq!(block(&document, "js"), format!("{import}{theirs}"));
}

/// One of our workers, a process of its own. It is killed when dropped.
struct Rust(Child);

impl Rust {
    fn join(server: &RedisServer, name: &str) -> Self {
        let myself = std::env::current_exe().expect("a path");
        let program = myself.parent().and_then(Path::parent).expect("target/PROFILE").join("examples/from_bullmq");
        let mut command = Command::new(&program);
        command.env("REDIS_URL", server.url()).env("WORKER_NAME", name).stdin(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn();
        Self(child.unwrap_or_else(|why| {
            panic!("{} does not start ({why}): cargo build -p launchkit-queue --examples", program.display())
        }))
    }

    /// Lets its running jobs end.
    async fn leave(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().await.expect("it can be waited for");
        assert!(status.success(), "{status}");
    }
}

/// Follows the events and counts the ends of each job.
struct Ends {
    many: watch::Receiver<usize>,
    stop: watch::Sender<usize>,
    reader: tokio::task::JoinHandle<BTreeMap<String, Vec<&'static str>>>,
}

impl Ends {
    fn follow(queue: &Queue) -> Self {
        let (tell, many) = watch::channel(0);
        let (stop, mut wanted) = watch::channel(usize::MAX);
        let mut events = queue.events(Position::START);
        let reader = tokio::spawn(async move {
            let mut ends: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
            loop {
                let told = tokio::select! {
                    biased;
                    told = events.next() => told.expect("events"),
                    _ = wanted.changed() => {
                        if *wanted.borrow() <= ends.len() { return ends }
                        continue;
                    }
                };
                match told {
                    Told::Event(_, event @ (Event::Completed { .. } | Event::Failed { .. })) => {
                        let id = event.job().expect("a job").to_string();
                        ends.entry(id).or_default().push(event.name());
                    }
                    Told::Event(..) => {}
                    Told::Gap(at) => panic!("events are missing before {at}"),
                }
                tell.send_replace(ends.len());
                if *wanted.borrow() <= ends.len() {
                    return ends;
                }
            }
        });
        Self { many, stop, reader }
    }

    /// Waits for so many more ends.
    async fn more(&mut self, many: usize) {
        let wanted = *self.many.borrow() + many;
        self.many.wait_for(|ends| *ends >= wanted).await.expect("the reader lives");
    }

    /// All ends, as soon as there are so many.
    async fn all(self, many: usize) -> BTreeMap<String, Vec<&'static str>> {
        self.stop.send(many).expect("the reader lives");
        self.reader.await.expect("read")
    }
}

fn now() -> Timestamp {
    Clock::system().now()
}

async fn every(queue: &Queue, ids: &[JobId]) -> Vec<Record> {
    let mut all = Vec::new();
    for ids in ids.chunks(MAX_READ as usize) {
        all.extend(queue.get_all(ids).await.expect("a read").into_iter().map(|job| job.expect("nothing is lost")));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_moves_over_and_back_under_load_and_loses_nothing() {
    let server = RedisServer::start(Kind::Redis).expect("a server");
    let store = Store::redis(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    let letters = Queue::new(&store, "letters").expect("a name");
    let mut ends = Ends::follow(&letters);
    let node = Peer::start("migrate.mjs", node_program(&server));

    // Their fleet under load.
    node.ask("join", json!({ "name": "node-1" })).await;
    node.ask("join", json!({ "name": "node-2" })).await;
    node.ask("begin", json!({ "prefix": "n" })).await;
    ends.more(PHASE).await;
    // One of ours beside it, then more of ours and fewer of theirs.
    let first = Rust::join(&server, "rust-1");
    ends.more(2 * PHASE).await;
    let second = Rust::join(&server, "rust-2");
    node.ask("leave", json!({ "name": "node-1" })).await;
    ends.more(PHASE).await;
    // Node works no more.
    node.ask("leave", json!({ "name": "node-2" })).await;
    let ours_from = now();
    ends.more(PHASE).await;
    let ours_to = now();
    // And back again.
    node.ask("join", json!({ "name": "node-3" })).await;
    ends.more(PHASE).await;
    first.leave().await;
    second.leave().await;
    let theirs_from = now();
    ends.more(PHASE).await;
    let theirs_to = now();

    let added = node.ask("end", Value::Null).await.as_u64().expect("a number") as usize;
    let ids: Vec<JobId> = (0..added).map(|n| JobId::parse(&format!("n-{n}")).expect("an id")).collect();
    let all = ids.len() + 1; // and the one that ours added
    let told = tokio::time::timeout(std::time::Duration::from_secs(20), ends.all(all)).await.expect("all end");
    node.end().await;

    let jobs = every(&letters, &ids).await;
    check(&jobs, &told);
    let between = |from: Timestamp, to: Timestamp| -> BTreeSet<String> {
        let then = jobs.iter().filter(|job| job.processed_on.is_some_and(|on| on > from && on < to));
        then.map(|job| job.processed_by.as_deref().unwrap_or("nobody").to_owned()).collect()
    };
    assert_eq!(between(ours_from, ours_to), ["rust-1", "rust-2"].map(str::to_owned).into());
    assert_eq!(between(theirs_from, theirs_to), ["node-3"].map(str::to_owned).into());
    let workers: BTreeSet<Arc<str>> = jobs.iter().filter_map(|job| job.processed_by.clone()).collect();
    assert_eq!(workers.len(), 5, "all of them worked: {workers:?}");
    let counts = letters.counts().await.expect("counts");
    assert_eq!((counts.completed + counts.failed, counts.total()), (all as u64, all as u64));
    println!("{added} jobs of Node, {} of them failed as they should", counts.failed);
}

/// Each job has ended once, after as many runs as it takes, the way it should.
fn check(jobs: &[Record], told: &BTreeMap<String, Vec<&'static str>>) {
    assert_eq!(told.len(), jobs.len() + 1);
    for job in jobs {
        let never = job.data.as_str().contains("never");
        let runs = if never { 3 } else { 1 + u32::from(job.data.as_str().contains("later")) };
        let (state, word) = if never { (State::Failed, "failed") } else { (State::Completed, "completed") };
        assert_eq!((job.state, job.started, job.made), (state, runs, runs), "{}", job.id);
        assert_eq!(told.get(job.id.as_str()), Some(&vec![word]), "{}", job.id);
    }
    assert_eq!(told.get("hello-from-rust"), Some(&vec!["completed"]));
}

fn node_program(server: &RedisServer) -> Command {
    let packages = root().join("target/peers/node");
    assert!(packages.is_dir(), "{} is missing: `scripts/setup test` fetches it", packages.display());
    let mut command = Command::new("node");
    command.arg(root().join("peers/node/migrate.mjs")).current_dir(packages).env("REDIS_URL", server.url());
    command
}
