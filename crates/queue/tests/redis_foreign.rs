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

/// Another client's drain leaves ids without a job: the pump must not ask for them again and again.
#[tokio::test]
async fn ids_without_a_job_are_no_reason_to_look_again_at_once() {
    let (server, q) = case().await;
    server.command(&["RPUSH", "bull:q:wait", "gone-1", "gone-2"]).expect("ids");
    let looked = q.turn(Vec::new(), Some(q.wish(1)), at(5)).await;
    assert!(looked.held.is_empty() && looked.next == Next::At(at(1_005)), "{looked:?}");
    assert_eq!(server.command(&["EXISTS", "bull:q:marker", "bull:q:gone-1"]).expect("an answer").trim(), "0");
    // One with a record behind them is found, if later.
    q.waiting(&["j"], at(6)).await;
    let mut found = Vec::new();
    for now in [7, 1_007, 2_007] {
        found.extend(q.take_ids(1, at(now)).await);
    }
    assert_eq!(found, ["j"]);
}

/// A service whose prefix another program used before is known by its worker's first sign of life.
#[tokio::test]
async fn a_queue_that_others_filled_first_is_listed_by_its_workers_beat() {
    let (server, q) = case().await;
    server.command(&["SET", "bull:q:id", "5"]).expect("a counter");
    q.add(vec![job(plain())], at(0)).await;
    q.beat(Vec::new(), at(1)).await;
    assert_eq!(q.backend.queues().await.expect("queues"), std::slice::from_ref(&q.queue));
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

/// Ends of one call are taken off the active list together. Those before and behind them stay, those without a lock too, and
/// one that another client has taken off is lost.
#[tokio::test]
async fn what_ends_together_leaves_the_others_active_in_their_order() {
    let (server, q) = case().await;
    let names: Vec<String> = (0..24).map(|n| format!("j{n}")).collect();
    q.waiting(&names.iter().map(String::as_str).collect::<Vec<_>>(), at(0)).await;
    let held = q.take(24, at(1)).await;
    let ask = |command: &str| server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer");
    ask("DEL bull:q:j4:lock");
    ask("LREM bull:q:active 1 j6");
    // The sixteen oldest are looked at together; j20 to j22 are younger.
    let ending = [2, 4, 5, 6, 7, 8, 20, 21, 22];
    let ends = ending.iter().map(|&n: &usize| verdict(&held[n].lock, done())).collect();
    let ended = q.turn(ends, None, at(2)).await.ends;
    let lost = |n: usize| [4, 6].contains(&n);
    let expected: Vec<End> = ending.iter().map(|&n| if lost(n) { End::LockLost } else { End::Applied }).collect();
    assert_eq!(ended, expected);
    let stay = (0..24).rev().filter(|n| *n == 4 || !ending.contains(n)).map(|n| format!("j{n}"));
    assert_eq!(
        ask("LRANGE bull:q:active 0 -1").lines().map(str::to_owned).collect::<Vec<_>>(),
        stay.collect::<Vec<_>>()
    );
    assert_eq!(q.list(State::Completed).await.len(), 7);
}
