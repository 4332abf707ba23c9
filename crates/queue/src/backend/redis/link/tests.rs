use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use self::server::{Server, cmd, free_port, quick};
use super::super::script::Script;
use super::{Link, Trouble};
use crate::error::{Happened, StoreError};

pub(in super::super) mod server;

const SET: &str = "redis.call('SET', KEYS[1], ARGV[1]) return 1";

async fn open(server: &Server) -> Link {
    Link::open(&server.options()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends until it works, as callers do.
async fn recover(link: &Link) {
    let mut last = None;
    let works = async {
        while let Err(trouble) = link.send(&cmd(&["PING"])).await {
            last = Some(trouble);
        }
    };
    let works = timeout(Duration::from_secs(5), works).await;
    assert!(works.is_ok(), "the line was not mended: {last:?}, {:?}", link.health());
}

async fn fails(link: &Link, words: &[&str]) -> Trouble {
    link.send(&cmd(words)).await.expect_err("it is to fail")
}

async fn mended(link: &Link, times: u64) {
    let mut state = link.inner.state.subscribe();
    let made = state.wait_for(|_| link.health().recoveries >= times);
    timeout(Duration::from_secs(5), made).await.unwrap_or_else(|_| panic!("{:?}", link.health())).expect("it is open");
}

#[tokio::test]
async fn scripts_are_loaded_when_the_server_does_not_know_them() {
    let server = Server::start(&[]);
    let link = open(&server).await;
    let script = Script::new(SET);
    for flush in [false, true] {
        if flush {
            server.ask(&["SCRIPT", "FLUSH"]).await;
        }
        let mut call = script.call(&["a"]);
        call.arg("x");
        assert_eq!(link.call(call).await.expect("it runs"), Value::Int(1));
    }
    assert_eq!(link.health().losses, 0);
    assert_eq!(link.health().server.as_deref().map(|server| &server[..6]), Some("Redis "));
}

/// The server hangs up on an idle line: it is mended before anybody asks.
#[tokio::test]
async fn a_killed_line_is_mended_unasked() {
    let server = Server::start(&[]);
    let link = open(&server).await;
    for kills in 1..=3 {
        server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        mended(&link, kills).await;
        assert_eq!(link.send(&cmd(&["PING"])).await.expect("it is mended"), Value::SimpleString("PONG".into()));
    }
    let health = link.health();
    assert!(health.connected && health.losses == 3 && health.last_error.is_some(), "{health:?}");
}

#[tokio::test]
async fn a_hung_server_costs_one_time_limit_and_then_little() {
    let server = Server::start(&[]);
    let link = open(&server).await;
    server.signal("-STOP");
    let late = fails(&link, &["INCR", "a"]).await;
    assert_eq!(late.happened, Happened::Unknown);
    let next = timeout(Duration::from_millis(550), fails(&link, &["INCR", "a"])).await.expect("a quick answer");
    assert!(matches!(next.why, StoreError::Unavailable(_)) && next.happened == Happened::No, "{next:?}");
    server.signal("-CONT");
    recover(&link).await;
    assert!(link.health().losses >= 1);
}

#[tokio::test]
async fn a_restart_is_survived() {
    let mut server = Server::start(&[]);
    let link = open(&server).await;
    let script = Script::new(SET);
    server.stop();
    let trouble = fails(&link, &["PING"]).await;
    assert!(matches!(trouble.why, StoreError::Unavailable(_)), "{trouble:?}");
    let next = fails(&link, &["PING"]).await;
    assert_eq!(next.happened, Happened::No, "{next:?}");
    assert!(!link.health().connected);
    server.again();
    recover(&link).await;
    let mut call = script.call(&["a"]);
    call.arg("x");
    assert!(link.call(call).await.is_ok());
    assert_eq!((link.health().losses, link.health().recoveries), (1, 1));
}

#[tokio::test]
async fn a_command_that_is_cut_off_may_have_happened() {
    let server = Server::start(&[]);
    let link = open(&server).await;
    let blocked = cmd(&["BLPOP", "nothing", "0"]);
    let (cut, ()) = tokio::join!(link.send(&blocked), async {
        server.blocked(1).await;
        server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    });
    assert_eq!(cut.expect_err("it was cut off").happened, Happened::Unknown);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let server = Server::start(&["--requirepass", "right", "--databases", "4"]);
    let fails = |url: String| async move {
        let Err(error) = Link::open(&quick(&url)).await else { panic!("{url} was let in") };
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
        (matches!(error, StoreError::Refused(_)), text)
    };
    let port = server.port;
    for (url, part) in [
        (format!("redis://:hunter2@127.0.0.1:{port}"), "refuses the user name"),
        (format!("redis://me:hunter2@127.0.0.1:{port}"), "refuses the user name"),
        (format!("redis://127.0.0.1:{port}"), "wants a password"),
        (format!("redis://:right@127.0.0.1:{port}/9"), "database"),
        (format!("redis-cluster://:hunter2@127.0.0.1:{port}"), "refuses the user name"),
        (format!("redis-cluster://127.0.0.1:{port}"), "wants a password"),
    ] {
        let (refused, text) = fails(url).await;
        assert!(refused && text.contains(part), "{text}");
    }
    for (url, part) in [
        (format!("redis://:hunter2@127.0.0.1:{}", free_port()), "no connection"),
        ("redis://:hunter2@nowhere.invalid".to_owned(), "nowhere.invalid"),
        (format!("rediss://:hunter2@127.0.0.1:{port}"), "127.0.0.1"),
        ("unix:/nowhere/at/all".to_owned(), "no connection"),
        (format!("redis-cluster://:hunter2@127.0.0.1:{}", free_port()), "no connection"),
        (format!("redis-sentinel://127.0.0.1:{}/main", free_port()), "sentinels"),
    ] {
        let (refused, text) = fails(url).await;
        assert!(!refused && text.contains(part), "{text}");
    }
    let link = Link::open(&quick(&format!("redis://:right@127.0.0.1:{port}/3"))).await;
    assert!(link.is_ok());
}

#[tokio::test]
async fn a_user_with_few_rights_can_work() {
    let server = Server::start(&[]);
    server.ask(&["ACL", "SETUSER", "few", "on", ">pw", "~bull:*", "+get", "+set"]).await;
    let link = Link::open(&quick(&format!("redis://few:pw@127.0.0.1:{}", server.port))).await.expect("it is let in");
    assert!(link.send(&cmd(&["SET", "bull:a", "x"])).await.is_ok());
    for words in [["SET", "other", "x"].as_slice(), &["DEL", "bull:a"]] {
        let trouble = fails(&link, words).await;
        assert!(trouble.why.to_string().contains("ACL") && trouble.happened == Happened::No, "{trouble:?}");
    }
    assert_eq!(link.health().losses, 0);
}

#[tokio::test]
async fn full_memory_and_long_scripts_are_told_apart() {
    let server = Server::start(&["--busy-reply-threshold", "10"]);
    let link = open(&server).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let script = Script::new(SET);
    let mut call = script.call(&["a"]);
    call.arg("x");
    let full = link.call(call).await.expect_err("there is no room");
    assert!(full.why.to_string().contains("maxmemory") && full.happened == Happened::No, "{full:?}");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;

    let failing = Script::new("redis.call('SET', KEYS[1], 'x') return redis.call('INCR', KEYS[1])");
    let broken = link.call(failing.call(&["a"])).await.expect_err("it is no number");
    assert_eq!(broken.happened, Happened::Unknown, "{broken:?}");

    let mut admin = server.admin().await;
    let endless = cmd(&["EVAL", "while true do end", "0"]);
    let running = tokio::spawn(async move { admin.send_packed_command(&endless).await });
    let busy = loop {
        if let Err(busy) = link.send(&cmd(&["GET", "a"])).await {
            break busy;
        }
    };
    assert!(matches!(busy.why, StoreError::Busy) && busy.happened == Happened::No, "{busy:?}");
    link.send(&cmd(&["SCRIPT", "KILL"])).await.expect("it is killed");
    let _ = running.await;
}

/// A line to a server that became a replica is given up, since its name may lead elsewhere by now.
#[tokio::test]
async fn a_replica_is_left() {
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    let link = open(&server).await;
    server.ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]).await;
    let refused = fails(&link, &["SET", "a", "x"]).await;
    assert!(refused.why.to_string().contains("replica") && refused.happened == Happened::No, "{refused:?}");
    assert_eq!(link.health().losses, 1);
    server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    recover(&link).await;
    assert!(link.send(&cmd(&["SET", "a", "x"])).await.is_ok());
}

#[tokio::test]
async fn closing_lets_calls_end_and_refuses_later_ones() {
    let server = Server::start(&[]);
    let link = open(&server).await;
    let slow = cmd(&["BLPOP", "list", "0"]);
    let (answer, ()) = tokio::join!(link.send(&slow), async {
        server.blocked(1).await;
        tokio::join!(link.close(), server.ask(&["RPUSH", "list", "x"]));
    });
    assert!(answer.is_ok(), "{answer:?}");
    assert!(matches!(fails(&link, &["PING"]).await.why, StoreError::Closed));
    server.until(&["INFO", "clients"], |text| text.contains("connected_clients:1\r\n")).await;
}

#[tokio::test]
async fn a_dropped_link_leaves_nothing_behind() {
    let mut server = Server::start(&[]);
    let link = open(&server).await;
    let (inner, tasks) = (std::sync::Arc::downgrade(&link.inner), link.inner.tasks.clone());
    server.stop();
    fails(&link, &["PING"]).await;
    drop(link);
    tasks.close();
    timeout(Duration::from_secs(2), tasks.wait()).await.expect("nobody mends it");
    assert_eq!(inner.strong_count(), 0);
}

#[tokio::test]
async fn a_cluster_is_used_as_one_server() {
    let mut server = server::cluster().await;
    let url = format!("redis-cluster://127.0.0.1:{}", server.port);
    assert!(matches!(Link::open(&quick(&url).prefix("bull")).await, Err(StoreError::Refused(_))));
    let link = Link::open(&quick(&url).prefix("{bull}")).await.expect("a cluster");
    let script = Script::new(SET);
    let mut call = script.call(&["{bull}:a"]);
    call.arg("x");
    link.call(call).await.expect("it runs");
    let mut own = link.own("{bull}:a", "name").await.expect("a line to the right node");
    assert!(own.ask(&cmd(&["GET", "{bull}:a"]), Duration::from_secs(1)).await.is_ok());
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    recover(&link).await;
    server.stop();
    let down = fails(&link, &["SET", "{bull}:a", "x"]).await;
    assert!(matches!(down.why, StoreError::Unavailable(_)), "{down:?}");
    server.again();
    recover(&link).await;
    server.signal("-STOP");
    assert_eq!(fails(&link, &["SET", "{bull}:a", "x"]).await.happened, Happened::Unknown);
    server.signal("-CONT");
    recover(&link).await;
}

#[tokio::test]
async fn sentinels_lead_to_the_master_and_to_the_next_one() {
    let (one, two) = (Server::start(&["--repl-diskless-sync-delay", "0"]), Server::start(&[]));
    two.ask(&["REPLICAOF", "127.0.0.1", &one.port.to_string()]).await;
    two.until(&["INFO", "replication"], |text| text.contains("master_link_status:up")).await;
    let watch = server::sentinel(one.port);
    watch.until(&["SENTINEL", "REPLICAS", "main"], |text| text.contains(&two.port.to_string())).await;

    let options = quick(&format!("redis-sentinel://127.0.0.1:{}/main", watch.port));
    let link = Link::open(&options).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(link.send(&cmd(&["SET", "a", "x"])).await.is_ok());
    watch.until(&["SENTINEL", "REPLICAS", "main"], |text| text.contains("slave-repl-offset")).await;
    drop(one);
    let moved = async { while link.send(&cmd(&["SET", "a", "y"])).await.is_err() {} };
    timeout(Duration::from_secs(20), moved).await.unwrap_or_else(|_| panic!("{:?}", link.health()));
    let role = two.ask(&["ROLE"]).await;
    assert!(format!("{role:?}").contains("master"), "{role:?}");
}

/// Whatever the others do: a sentinel's refusal lasts.
#[tokio::test]
async fn who_is_not_let_in_by_a_sentinel_or_its_master_is_told_why() {
    let master = Server::start(&["--requirepass", "right"]);
    let (watch, hung) = (server::sentinel(master.port), server::sentinel(master.port));
    watch.ask(&["SENTINEL", "SET", "main", "auth-pass", "right"]).await;
    watch.ask(&["ACL", "SETUSER", "few", "on", ">pw", "+ping", "+role"]).await;
    watch.ask(&["ACL", "SETUSER", "some", "on", ">pw", "+ping", "+role", "+sentinel|masters"]).await;
    watch.ask(&["ACL", "SETUSER", "default", "resetpass", ">open"]).await;
    hung.signal("-STOP");
    let gone = free_port();
    for (login, query, part) in [
        ("", "", "wants a password"),
        (":right@", "?sentinel_password=hunter2", "refuses the user name"),
        (":right@", "?sentinel_user=me&sentinel_password=hunter2", "refuses the user name"),
        (":right@", "?sentinel_user=few&sentinel_password=pw", "sentinel|masters"),
    ] {
        let others = [vec![watch.port], vec![watch.port, gone], vec![gone, watch.port], vec![hung.port, watch.port]];
        for ports in others {
            let at: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            let url = format!("redis-sentinel://{login}{}/main{query}", at.join(","));
            let Err(error) = Link::open(&quick(&url)).await else { panic!("{url} was let in") };
            let text = format!("{error} {error:?}");
            let by = format!("the sentinel 127.0.0.1:{}", watch.port);
            assert!(matches!(error, StoreError::Refused(_)), "{url}: {text}");
            assert!(text.contains(part) && text.contains(&by) && !text.contains("hunter2"), "{url}: {text}");
        }
    }
    for (login, part) in [(":hunter2@", "refuses the user name"), ("", "wants a password")] {
        let url = format!("redis-sentinel://{login}127.0.0.1:{}/main?sentinel_password=open", watch.port);
        let Err(error) = Link::open(&quick(&url)).await else { panic!("{url} was let in") };
        let text = error.to_string();
        assert!(matches!(error, StoreError::Refused(_)) && text.contains(part), "{text}");
        assert!(!text.contains("the sentinel 127") && !text.contains("hunter2"), "{text}");
    }
    // What is needed of a sentinel, and no more.
    let url = format!("redis-sentinel://:right@127.0.0.1:{}/main?sentinel_user=some&sentinel_password=pw", watch.port);
    Link::open(&quick(&url)).await.unwrap_or_else(|error| panic!("{error}"));
    hung.signal("-CONT");
}
