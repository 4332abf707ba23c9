//! A process that holds a SQLite store, for tests that kill it, trace it, and fill its disk: `disk FILE`. Each line that it reads
//! is an order, and each that it writes an acknowledgement, written after the store has answered:
//!
//! | order | acknowledgements |
//! |---|---|
//! | `add BYTES` | `added ID`, one job with so many bytes of payload, or `refused WHY` |
//! | `end` | `ended ID`, the next job, taken and completed, or `refused WHY` |
//! | `work` | both of these, over and over, until it is killed |
#![allow(clippy::unwrap_used, clippy::expect_used)] // of the test kit, never shipped: what cannot be done ends the process, which its test sees

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use launchkit_queue::backend::sqlite::Sqlite;
use launchkit_queue::backend::{Add, Backend, Turn};
use launchkit_queue::{Clock, JobOptions, Outcome, QueueName, StoreError};
use launchkit_testkit::Given;
use launchkit_testkit::given::{job, json, verdict};

struct Disk {
    given: Given,
    clock: Clock,
}

impl Disk {
    async fn add(&self, bytes: usize) -> Result<String, StoreError> {
        let data = json(&format!("{:?}", "x".repeat(bytes)));
        let jobs = vec![launchkit_queue::backend::NewJob { data, ..job(JobOptions::default()) }];
        let added = self.given.backend.add(Add { queue: self.given.queue.clone(), jobs }, self.clock.now()).await;
        Ok(format!("added {}", added.map_err(|failed| failed.why)?[0].id()))
    }

    async fn end(&self) -> Result<String, StoreError> {
        let turn = |ends, take| Turn { queue: self.given.queue.clone(), worker: "disk".into(), ends, take };
        let go = async |turn| self.given.backend.turn(turn, self.clock.now()).await.map_err(|failed| failed.why);
        let held = go(turn(Vec::new(), Some(self.given.wish(1)))).await?.held.pop().expect("a job is there");
        let done = Outcome::Done(json("null"));
        go(turn(vec![verdict(&held.lock, done)], None)).await?;
        Ok(format!("ended {}", held.lock.id))
    }
}

fn say(answer: Result<String, StoreError>) {
    // In one write, which is what a trace looks for.
    let line = answer.unwrap_or_else(|why| format!("refused {why:?}")) + "\n";
    std::io::stdout().write_all(line.as_bytes()).expect("somebody reads");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let file = std::env::args().nth(1).expect("disk FILE");
    let store: Arc<dyn Backend> = Arc::new(Sqlite::open(Path::new(&file)).await.expect("the file opens"));
    let disk = Disk { given: Given::over(store, QueueName::new("disk").unwrap()), clock: Clock::system() };
    for order in std::io::stdin().lock().lines() {
        let order = order.expect("an order");
        match order.split_once(' ') {
            Some(("add", bytes)) => say(disk.add(bytes.parse().expect("a number")).await),
            None if order == "end" => say(disk.end().await),
            None if order == "work" => loop {
                say(disk.add(100).await);
                say(disk.end().await);
            },
            _ => panic!("no order: {order}"),
        }
    }
}
