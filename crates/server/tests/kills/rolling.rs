//! Two processes on the same stores: one is frozen for longer than its locks hold and goes on, both are replaced one after the
//! other, twice.

use std::time::Duration;

use launchkit_testkit::postgres::{Durability, Postgres};
use launchkit_testkit::redis::{Kind, RedisSetup};
use launchkit_testkit::tell;
use tokio::process::Command;

use super::support::{Books, Home, Load, Server, Stores};

/// Three times as long as locks hold here.
const FROZEN: Duration = Duration::from_secs(3);

async fn on_postgres_and_redis() -> (Postgres, Home) {
    let postgres = Postgres::start(Durability::None).expect("a private PostgreSQL server");
    let redis = RedisSetup::new(Kind::Redis).start().expect("a private Redis server");
    let stores = Stores { postgres: Some(postgres.database().expect("a fresh database")), redis: Some(redis) };
    (postgres, Home::new(stores).await)
}

async fn signal(server: &Server, name: &str) {
    let pid = server.child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_frozen_past_its_locks_ends_and_bills_nothing_twice() {
    let (_postgres, home) = on_postgres_and_redis().await;
    let (load, clients) = Load::begin(&home);
    let (frozen, other) = (Server::start(&home).await, Server::start(&home).await);
    // Both work on what the other one accepts.
    load.open(&other.url);
    load.work_in_flight().await;
    signal(&frozen, "-STOP").await;
    tokio::time::sleep(FROZEN).await; // the fault itself
    load.open(&other.url);
    load.work_in_flight().await;
    signal(&frozen, "-CONT").await;
    load.open(&other.url);
    load.work_in_flight().await;
    let ends = load.end(clients, &home, &other.url).await;
    frozen.stop().await;
    other.stop().await;
    let books = Books::read(&home).await;
    tell(&format!(
        "a process frozen past its locks: {} accepted, {ends:?}, {} ran more than once and were billed once",
        load.accepted().len(),
        books.rerun
    ));
    books.assert_balanced();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rolling_restarts_lose_nothing_and_run_nothing_twice_on_postgres_and_redis() {
    let (_postgres, home) = on_postgres_and_redis().await;
    rolls_twice(home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rolling_restarts_lose_nothing_and_run_nothing_twice_on_sqlite() {
    rolls_twice(Home::new(Stores::default()).await).await;
}

/// With locks that a busy machine does not outlast: what runs twice does so because of a restart.
async fn rolls_twice(mut home: Home) {
    home.lock = "30s";
    let home = &home;
    let (load, clients) = Load::begin(home);
    let mut fleet = [Server::start(home).await, Server::start(home).await];
    for _ in 0..2 {
        for at in 0..fleet.len() {
            load.open(&fleet[1 - at].url);
            load.work_in_flight().await;
            let next = Server::start(home).await;
            std::mem::replace(&mut fleet[at], next).stop().await;
        }
    }
    let [one, other] = fleet;
    let ends = load.end(clients, home, &one.url).await;
    one.stop().await;
    other.stop().await;
    let books = Books::read(home).await;
    tell(&format!("two rolling restarts: {} accepted, {ends:?}, {} ran twice", load.accepted().len(), books.rerun));
    books.assert_balanced();
    assert_eq!(books.rerun, 0);
    let log = home.log();
    assert!(
        !log.contains("put back jobs whose worker vanished") && !log.contains("the queue had lost this job"),
        "{log}"
    );
}
