//! Redis itself is killed, and emptied, under load, while one server goes on; and several processes share one Redis.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use launchkit_testkit::postgres::{Durability, Postgres};
use launchkit_testkit::redis::{Kind, RedisSetup};
use launchkit_testkit::tell;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;

use crate::support::{Books, Home, Load, PATIENCE, Server, Stores};

/// Jobs that are sent while Redis is away.
const MEANWHILE: usize = 20;
/// A process has had its share when it has done so many.
const SHARE: usize = 10;

async fn home() -> (Postgres, Home) {
    let postgres = Postgres::start(Durability::None).expect("a private PostgreSQL server");
    let redis = RedisSetup::new(Kind::Redis).durable().start().expect("a private Redis server");
    let stores = Stores { postgres: Some(postgres.database().expect("a fresh database")), redis: Some(redis) };
    (postgres, Home::new(stores).await)
}

/// Its log is written to its disk at each write, so that what it has answered is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_outlives_its_redis_and_loses_nothing() {
    let (_postgres, home) = home().await;
    let (load, clients) = Load::begin(&home);
    let server = Server::start(&home).await;
    for outage in 1..=2 {
        load.open(&server.url);
        load.work_in_flight().await;
        home.redis().kill();
        let why = health(&server.url, "/readyz", 503).await;
        assert!(why["detail"].as_str().unwrap().starts_with("The queue does not answer: "), "{why}");
        for number in 0..MEANWHILE {
            let made = send(home.key.clone(), server.url.clone(), number).await;
            load.note(&made, false);
        }
        health(&server.url, "/healthz", 200).await;
        home.redis().restart().expect("it starts again");
        health(&server.url, "/readyz", 200).await;
        load.open(&server.url);
        load.work_in_flight().await;
        let log = home.log();
        assert!(log.matches("the connection to Redis is lost").count() >= outage, "{log}");
        assert!(log.matches("connected to Redis again").count() >= outage, "{log}");
    }
    // Neither dead nor alive: connections stay open and nothing is answered.
    home.redis().freeze().expect("it stands still");
    let why = health(&server.url, "/readyz", 503).await;
    assert!(why["detail"].as_str().unwrap().contains("no answer within 2 s"), "{why}");
    load.note(&send(home.key.clone(), server.url.clone(), MEANWHILE).await, false);
    home.redis().thaw().expect("it goes on");
    health(&server.url, "/readyz", 200).await;
    let ends = load.end(clients, &home, &server.url).await;
    server.stop().await;
    tell(&format!("Redis killed twice and frozen: {} accepted, {ends:?}", load.accepted().len()));
    assert!(!ends.contains_key("FAILED"), "{ends:?}");
    Books::read(&home).await.assert_balanced();
}

/// The database has every accepted job: the queue is built again from it, without anybody's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_emptied_under_load_is_rebuilt_from_the_database() {
    let (_postgres, home) = home().await;
    let (load, clients) = Load::begin(&home);
    let server = Server::start(&home).await;
    for _ in 0..2 {
        load.open(&server.url);
        load.work_in_flight().await;
        home.redis().command(&["FLUSHALL"]).expect("it is emptied");
        // Whoever waits for a job that was lost waits until it was found missing.
        load.open(&server.url);
        load.work_in_flight().await;
    }
    let delayed = json!({"text": "Write to later@example.com.", "options": {"delay": 1_000}});
    load.note(&create(&home.key, &server.url, &delayed).await, false);
    home.redis().command(&["FLUSHALL"]).expect("it is emptied");
    let ends = load.end(clients, &home, &server.url).await;
    // The store that was emptied knows again whose it is.
    let owner = home.redis().command(&["GET", "bull::lk-deployment"]).expect("an answer");
    assert!(!owner.is_empty());
    server.stop().await;
    let relived = home.log().matches("the queue had lost this job: queued again").count();
    tell(&format!("Redis emptied 3 times: {} accepted, {ends:?}, {relived} lives given back", load.accepted().len()));
    assert!(relived > 0 && !ends.contains_key("FAILED"), "{relived} {ends:?}");
    Books::read(&home).await.assert_balanced();
}

/// A stop does not wait for a store that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_can_be_stopped_while_redis_is_away() {
    let (_postgres, home) = home().await;
    let server = Server::start(&home).await;
    home.redis().kill();
    health(&server.url, "/readyz", 503).await;
    send(home.key.clone(), server.url.clone(), 0).await;
    let begun = std::time::Instant::now();
    server.stop().await;
    // The default grace is for jobs that run; none does.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_and_a_worker_share_the_load_and_each_job_ends_once() {
    let (_postgres, home) = home().await;
    let (one, one_log, one_url) = process(&home, "serve").await;
    let (other, other_log, other_url) = process(&home, "serve").await;
    let (worker, worker_log, _) = process(&home, "worker").await;
    let logs = [&one_log, &other_log, &worker_log];
    let mut sent = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while logs.iter().any(|log| done(log).len() < SHARE) {
        assert!(tokio::time::Instant::now() < deadline, "{:?} of {}", logs.map(|log| done(log).len()), sent.len());
        // To both servers at once, so that more waits than one of the three can hold.
        let mut batch = JoinSet::new();
        for number in 0..60 {
            batch.spawn(send(home.key.clone(), [&one_url, &other_url][number % 2].clone(), number));
        }
        sent.extend(batch.join_all().await);
    }
    let load = Load::default();
    sent.iter().for_each(|id| load.note(id, false));
    let ends = load.end(Vec::new(), &home, &one_url).await;
    assert_eq!(ends, BTreeMap::from([("SUCCEEDED".to_owned(), sent.len() as u64)]));
    for child in [one, other, worker] {
        Server { child, url: String::new() }.stop().await;
    }
    let mut told: Vec<String> = logs.iter().flat_map(|log| done(log)).collect();
    eprintln!("{} jobs, done by each: {:?}", sent.len(), logs.map(|log| done(log).len()));
    told.sort_unstable();
    sent.sort_unstable();
    assert_eq!(told, sent, "each job was done once, by one of them");
    Books::read(&home).await.assert_balanced();
}

/// A process that has started, with a log of its own; of a server also its address.
async fn process(home: &Home, what: &str) -> (Child, PathBuf, String) {
    let log = home.folder.path().join(format!("{what}-{:016x}.log", rand::random::<u64>()));
    let mut command = home.command(&[what]);
    command.env("RUST_LOG", "info").env("LOG_FILE", &log).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    if what == "serve" {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the server starts").unwrap();
        let url = line.as_deref().and_then(|line| line.strip_prefix("Listening on ")).expect("an address").to_owned();
        return (child, log, url);
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("QueueService initialized") {
        assert!(tokio::time::Instant::now() < deadline, "the worker starts");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (child, log, String::new())
}

/// The jobs that a process has done, by its log.
fn done(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    let told = |line: &str| Some(line.split_once(" Job ")?.1.split_once(" completed successfully")?.0.to_owned());
    text.lines().filter_map(told).collect()
}

async fn send(key: String, url: String, number: usize) -> String {
    create(&key, &url, &json!({"text": format!("Write to meanwhile{number}@example.com.")})).await
}

async fn create(key: &str, url: &str, body: &Value) -> String {
    let made = reqwest::Client::new().post(format!("{url}/v1/jobs/extract")).bearer_auth(key).json(body);
    let made = made.send().await.unwrap();
    assert_eq!(made.status(), 202, "accepted, whatever the queue does");
    made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

/// Asks until the answer has this status.
async fn health(url: &str, path: &str, status: u16) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
        if answer.status() == status {
            return answer.json().await.unwrap();
        }
        assert!(tokio::time::Instant::now() < deadline, "{path} is not {status}: {}", answer.text().await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
