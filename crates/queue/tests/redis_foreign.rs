//! What other clients may leave under the keys of a queue, and what a script must bear.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, FailureKind, JobOptions, QueueName, State};
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

async fn case() -> (RedisServer, Given) {
    let server = RedisServer::start(Kind::Redis).expect("a server");
    let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    (server, Given::over(Arc::new(store), QueueName::new("q").expect("a name")))
}

/// What is kept for after an owner's end is stored as far as it can be read; the end itself stands, and so do the others.
#[tokio::test]
async fn a_kept_job_with_unreadable_options_harms_no_end() {
    let (server, q) = case().await;
    let options = JobOptions { deduplication: Some(Dedup::keep_last("d")), ..plain() };
    q.add(vec![named("owner", options), named("other", plain())], at(0)).await;
    let held = q.take(2, at(1)).await;
    server.command(&["HSET", "bull:q:dn:d", "name", "n", "data", "1", "opts", "{", "jid", "last"]).expect("kept");
    let ends = held.iter().map(|held| verdict(&held.lock, done())).collect();
    assert_eq!(q.turn(ends, None, at(2)).await.ends, [End::Applied, End::Applied]);
    assert_eq!(q.list(State::Completed).await.len(), 2);
    let last = q.one(at(3)).await;
    let kind = last.failed_already.map(|failure| failure.kind);
    assert_eq!((last.lock.id.as_str(), kind), ("last", Some(FailureKind::Damaged)));
}

/// More than one call of a script's could take.
#[tokio::test]
async fn of_very_many_log_lines_the_last_thousand_are_kept() {
    let (_server, q) = case().await;
    q.waiting(&["j"], at(0)).await;
    let lines = (0..20_000).map(|n| n.to_string().into()).collect();
    assert_eq!(q.edit(Edit::Log(id("j"), lines), at(1)).await, Edited::Done);
    let (kept, total) = q.lines("j").await;
    assert_eq!(
        (kept.first().map(String::as_str), kept.last().map(String::as_str), total),
        (Some("19000"), Some("19999"), 1_000)
    );
}
