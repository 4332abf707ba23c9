//! What other clients may leave under the keys of a queue, and what a script must bear.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, FailureKind, JobOptions, Keep, Outcome, Queue, QueueName, State, Store};
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

mod garbage;
mod heads;
mod jobs;
mod many;

/// Between the scores of two priorities.
const CLASS: f64 = 4_294_967_296.0;

fn ask(server: &RedisServer, command: &str) -> String {
    server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer").trim().to_owned()
}

/// What a client without a check of priorities adds.
fn adds(server: &RedisServer, id: &str, priority: i64, opts: &str) {
    let hash = format!("HSET bull:q:{id} name other data 1 opts {opts} timestamp {T0} delay 0 priority {priority}");
    ask(server, &hash);
    ask(server, &format!("ZADD bull:q:prioritized {} {id}", priority as f64 * CLASS + 1.0));
}

async fn next_of(q: &Given, now: launchkit_queue::Timestamp) -> (Vec<String>, Next) {
    let turned = q.turn(Vec::new(), Some(q.wish(9)), now).await;
    (ids(&turned.held), turned.next)
}

fn of(group: &str) -> JobOptions {
    JobOptions { group: Some(group.into()), ..plain() }
}

async fn case() -> (RedisServer, Given) {
    let server = RedisServer::start(Kind::Redis).expect("a server");
    let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    (server, Given::over(Arc::new(store), QueueName::new("q").expect("a name")))
}
