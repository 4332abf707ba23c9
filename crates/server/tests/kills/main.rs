//! `kill -9` under load: by the clients' own list, every accepted job ends once, and no usage is billed twice. At random
//! times and at each named step of the protocol, on SQLite and on PostgreSQL, with the embedded queue and with Redis; and
//! the same when it is Redis that is killed or emptied, and when database and queue come out of backups.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod redis;
mod rolling;
mod support;
mod upgrade;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use launchkit::failpoint::Point;
use launchkit_testkit::postgres::{Durability, Postgres};
use launchkit_testkit::redis::{Kind, RedisSetup};
use launchkit_testkit::{tell, wish};

use support::{Books, Home, Load, PATIENCE, Server, Stores};

/// Rounds with a kill at a random time; `KILL_ROUNDS` asks for another number.
const ROUNDS: u64 = 20;
/// With Redis fewer: its own answers are lost in the same ways.
const ROUNDS_ON_REDIS: u64 = 8;
/// The signal of a process that dies at a point.
const ABORTED: i32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_job_ends_once_on_sqlite() {
    kill_rounds(&Home::new(Stores::default()).await, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_job_ends_once_on_postgres() {
    let postgres = Postgres::start(Durability::Fsync).expect("a private PostgreSQL server");
    let stores = Stores { postgres: Some(postgres.database().expect("a fresh database")), redis: None };
    kill_rounds(&Home::new(stores).await, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_job_ends_once_on_redis_and_postgres() {
    let postgres = Postgres::start(Durability::Fsync).expect("a private PostgreSQL server");
    let redis = RedisSetup::new(Kind::Redis).durable().start().expect("a private Redis server");
    let stores = Stores { postgres: Some(postgres.database().expect("a fresh database")), redis: Some(redis) };
    kill_rounds(&Home::new(stores).await, ROUNDS_ON_REDIS).await;
}

async fn kill_rounds(home: &Home, rounds: u64) {
    let (load, clients) = Load::begin(home);
    let rounds = wish("KILL_ROUNDS").unwrap_or(rounds);
    for _ in 0..rounds {
        let mut server = Server::start(home).await;
        load.open(&server.url);
        load.work_in_flight().await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..300))).await;
        server.child.kill().await.expect("kill");
    }
    for point in Point::ALL {
        let (mut child, url) = Server::spawn(home, Some(point)).await;
        // Without an address it died at once: a backlog takes it past some points before it listens.
        if let Some(url) = url {
            load.open(&url);
        }
        let died = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status =
            died.unwrap_or_else(|_| panic!("the server passes {point:?}: {}", home.last_words())).expect("wait");
        assert_eq!(status.signal(), Some(ABORTED), "the server died at {point:?}: {}", home.last_words());
    }
    let server = Server::start(home).await;
    load.open(&server.url);
    let ends = load.end(clients, home, &server.url).await;
    server.stop().await;
    let books = Books::read(home).await;
    tell(&format!(
        "the service killed {rounds} times at random and {} times at named steps: {} accepted, {ends:?}, {} ran more than once and \
         were billed once",
        Point::ALL.len(),
        load.accepted().len(),
        books.rerun,
    ));
    books.assert_balanced();
    assert!(books.rerun > 0, "at least one job ran twice and was billed once");
}
