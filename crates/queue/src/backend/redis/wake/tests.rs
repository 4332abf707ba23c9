use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::super::link::Link;
use super::super::link::tests::server::{Server, cluster, cmd};
use super::Bells;
use crate::error::StoreError;
use crate::event::Position;
use crate::job::QueueName;

const LONG: Duration = Duration::from_secs(20);
const MARKER: &str = "bull:mail:marker";
const EVENTS: &str = "bull:mail:events";

static QUEUE: LazyLock<QueueName> = LazyLock::new(|| QueueName::new("mail").expect("a name"));

async fn bells(server: &Server) -> (Arc<Link>, Arc<Bells>) {
    let link = Arc::new(Link::open(&server.options()).await.unwrap_or_else(|error| panic!("{error}")));
    (link.clone(), Arc::new(Bells::new(link, "bull")))
}

async fn soon<T>(doing: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), doing).await.expect("soon")
}

async fn mark(server: &Server, member: &str, score: &str) {
    server.ask(&["ZADD", MARKER, score, member]).await;
}

#[tokio::test]
async fn a_marker_wakes_a_waiter() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    for (member, score) in [("0", "0"), ("1", "1700000000000"), ("1", "99999999999999.25")] {
        let (woken, ()) = soon(async {
            tokio::join!(bells.wait(&QUEUE, LONG), async {
                server.blocked(1).await;
                mark(&server, member, score).await;
            })
        })
        .await;
        woken.expect("woken");
        assert_eq!(server.ask(&["ZCARD", MARKER]).await, Value::Int(0));
    }
    // A marker that lies there wakes the next waiter at once.
    mark(&server, "0", "0").await;
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");
}

#[tokio::test]
async fn waiters_share_a_line_and_each_marker_wakes_one() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    let wait = || {
        let bells = bells.clone();
        tokio::spawn(async move { bells.wait(&QUEUE, LONG).await })
    };
    let (mut one, mut two) = (wait(), wait());
    server.blocked(1).await;
    mark(&server, "0", "0").await;
    let first = soon(async {
        tokio::select! {
            biased;
            woken = &mut one => { woken.expect("no panic").expect("woken"); true }
            woken = &mut two => { woken.expect("no panic").expect("woken"); false }
        }
    })
    .await;
    let rest = if first { two } else { one };
    server.blocked(1).await;
    assert!(!rest.is_finished());
    mark(&server, "0", "0").await;
    soon(rest).await.expect("no panic").expect("woken");
}

#[tokio::test]
async fn a_marker_that_nobody_waits_for_is_given_back() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    let waiter = {
        let bells = bells.clone();
        tokio::spawn(async move { bells.wait(&QUEUE, LONG).await })
    };
    server.blocked(1).await;
    waiter.abort();
    assert!(waiter.await.is_err());
    mark(&server, "1", "99999999999999.25").await;
    server.until(&["ZSCORE", MARKER, "1"], |score| score.starts_with("99999999999999.2")).await;
    server.blocked(0).await;
    // It is neither popped again while nobody waits, nor lost for the next waiter.
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");
}

#[tokio::test]
async fn a_line_ends_when_nobody_has_waited_for_a_while() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    bells.wait(&QUEUE, Duration::from_millis(10)).await.expect("nothing came");
    server.until(&["CLIENT", "LIST"], |list| list.contains("name=bull:bWFpbA== ")).await;
    server.until(&["CLIENT", "LIST"], |list| !list.contains("name=bull:")).await;
    // And comes again.
    mark(&server, "0", "0").await;
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");
}

#[tokio::test]
async fn lines_bear_the_names_of_workers() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    bells.called(&QUEUE, "mailer 1\n");
    let waiter = {
        let bells = bells.clone();
        tokio::spawn(async move { bells.wait(&QUEUE, LONG).await })
    };
    server.until(&["CLIENT", "LIST"], |list| list.contains("name=bull:bWFpbA==:w:mailer-1- ")).await;
    bells.called(&QUEUE, "mailer-2");
    server.until(&["CLIENT", "LIST"], |list| list.contains("name=bull:bWFpbA==:w:mailer-2 ")).await;
    waiter.abort();
}

#[tokio::test]
async fn killed_and_hung_lines_are_made_again() {
    let mut server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    let (woken, ()) = soon(async {
        tokio::join!(bells.wait(&QUEUE, LONG), async {
            server.blocked(1).await;
            server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        })
    })
    .await;
    // A marker may have been popped for the dead line: somebody looks.
    woken.expect("woken");

    server.signal("-STOP");
    let hung = soon(bells.wait(&QUEUE, Duration::from_millis(1500))).await;
    assert!(matches!(hung, Err(StoreError::Unavailable(_))), "{hung:?}");
    server.signal("-CONT");
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");

    server.stop();
    let down = soon(bells.wait(&QUEUE, Duration::from_millis(100))).await;
    assert!(matches!(down, Err(StoreError::Unavailable(_))), "{down:?}");
    server.again();
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");
}

#[tokio::test]
async fn closing_wakes_everybody_and_loses_no_marker() {
    let server = Server::start(&[]);
    let (link, bells) = bells(&server).await;
    let (closed, ()) = soon(async {
        tokio::join!(bells.wait(&QUEUE, LONG), async {
            server.blocked(1).await;
            bells.close().await;
        })
    })
    .await;
    assert!(matches!(closed, Err(StoreError::Closed)), "{closed:?}");
    mark(&server, "0", "0").await;
    assert_eq!(server.ask(&["ZCARD", MARKER]).await, Value::Int(1));
    assert!(matches!(soon(bells.wait(&QUEUE, LONG)).await, Err(StoreError::Closed)));
    link.close().await;
    server.until(&["INFO", "clients"], |text| text.contains("connected_clients:1\r\n")).await;
}

#[tokio::test]
async fn events_wake_their_readers() {
    let server = Server::start(&[]);
    let (_, bells) = bells(&server).await;
    let add = |id: &'static str| {
        let server = &server;
        async move {
            server.ask(&["XADD", EVENTS, id, "event", "added"]).await;
        }
    };
    let at = |seq, index| Position { seq, index };
    add("5-1").await;
    // What lies there already is news to who has not read it.
    soon(bells.wait_events(&QUEUE, Position::START, LONG)).await.expect("news");
    soon(bells.wait_events(&QUEUE, at(5, 0), LONG)).await.expect("news");
    assert!(timeout(Duration::from_millis(100), bells.wait_events(&QUEUE, at(5, 1), LONG)).await.is_err());
    let (news, list) = soon(async {
        tokio::join!(bells.wait_events(&QUEUE, at(5, 1), LONG), async {
            server.blocked(1).await;
            let list = server.until(&["CLIENT", "LIST"], |_| true).await;
            add("5-2").await;
            list
        })
    })
    .await;
    news.expect("news");
    assert!(list.contains("name=bull:bWFpbA==:qe "), "{list}");
    // Several readers hear the same event; one is killed on the way and comes back.
    let (one, two, ()) = soon(async {
        tokio::join!(bells.wait_events(&QUEUE, at(5, 2), LONG), bells.wait_events(&QUEUE, at(5, 2), LONG), async {
            server.blocked(1).await;
            server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            add("6-0").await;
        })
    })
    .await;
    one.and(two).expect("news");
    bells.wait_events(&QUEUE, at(6, 0), Duration::from_millis(20)).await.expect("nothing came");
}

#[tokio::test]
async fn bells_ring_in_a_cluster() {
    let server = cluster().await;
    let url = format!("redis-cluster://127.0.0.1:{}", server.port);
    let options = super::super::link::tests::server::quick(&url).prefix("{bull}");
    let link = Arc::new(Link::open(&options).await.unwrap_or_else(|error| panic!("{error}")));
    let bells = Bells::new(link.clone(), "{bull}");
    link.send(&cmd(&["ZADD", "{bull}:mail:marker", "0", "0"])).await.expect("marked");
    soon(bells.wait(&QUEUE, LONG)).await.expect("woken");
    bells.close().await;
}
