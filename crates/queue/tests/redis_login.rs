//! Who may reach a server, and how: encrypted lines, and users with few rights.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::{Active, Exit, JobKind, Queue, Store, StoreError, Worker};
use launchkit_testkit::redis::{Kind, RedisServer, RedisSetup};
use serde::{Deserialize, Serialize};

const SHIPPED: &str = include_str!("../../../deploy/redis.conf");
const DEPLOY: &str = include_str!("../../../docs/deploy.md");

/// The rights that deploy/redis.conf gives to the user of a fleet.
fn rights() -> &'static str {
    let user = SHIPPED.lines().find_map(|line| line.strip_prefix("# user launchkit on >CHANGE-ME "));
    user.expect("the file has the user")
}

#[derive(Serialize, Deserialize)]
struct Double(u32);

impl JobKind for Double {
    const NAME: &'static str = "double";
    type Output = u32;
}

/// A whole life: added, waited for on a blocking line, run, answered, told.
async fn works(store: Store) {
    let queue = Queue::new(&store, "q").expect("a name");
    let double = async |job: Active<Double>| -> Result<u32, Exit> { Ok(job.data().0 * 2) };
    let worker = Worker::builder(&queue).on(double).build().expect("a worker").start();
    for n in 0..3 {
        let added = queue.add(Double(n)).await.expect("added");
        let answer = queue.outcome::<Double>(added.id(), Duration::from_secs(10)).await.expect("an outcome");
        assert_eq!(answer, n * 2);
    }
    worker.stop().await;
    store.close().await;
}

fn options(server: &RedisServer) -> RedisOptions {
    RedisOptions::parse(&server.url()).expect("a URL").answer_within(Duration::from_secs(5))
}

async fn refused(options: RedisOptions) -> String {
    match Store::redis(&options).await {
        Err(StoreError::Refused(why)) => why,
        other => panic!("it is refused: {other:?}"),
    }
}

/// On Redis alone: the packaged Valkey is built without TLS.
#[tokio::test]
async fn an_encrypted_server_is_reached_by_who_has_the_papers() {
    let server =
        RedisSetup::new(Kind::Redis).encrypted().and_then(RedisSetup::start).unwrap_or_else(|why| panic!("{why}"));
    let papers = server.papers().expect("it is encrypted");
    let (own, key) = papers.client.clone();
    let known = options(&server).root_certificates(papers.authority.clone());
    works(Store::redis(&known.clone().client_certificate(own.clone(), key.clone())).await.expect("it opens")).await;
    // Who does not show itself, and who does not know the authority.
    let why = refused(known).await;
    assert!(why.contains("127.0.0.1") && why.to_lowercase().contains("certificate"), "{why}");
    let why = refused(options(&server).client_certificate(own, key)).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    // What is no certificate at all.
    let why = refused(options(&server).root_certificates("no PEM")).await;
    assert!(!why.is_empty());
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    assert!(DEPLOY.contains(rights()), "docs/deploy.md gives the same rights");
    for kind in [Kind::Redis, Kind::Valkey] {
        let server = RedisServer::start(kind).unwrap_or_else(|why| panic!("{why}"));
        let rights = format!("ACL SETUSER fleet on >secret {}", rights());
        server.command(&rights.split(' ').collect::<Vec<_>>()).expect("a user");
        let login = || options(&server).user("fleet");
        works(Store::redis(&login().password("secret")).await.expect("it opens")).await;
        let why = refused(login().password("guessed")).await;
        assert!(why.contains("WRONGPASS") && !why.contains("guessed"), "{why}");
    }
}

/// By the first call that needs it.
#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let server = RedisServer::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
    let rights = format!("ACL SETUSER fleet on >secret {} -xadd", rights());
    server.command(&rights.split(' ').collect::<Vec<_>>()).expect("a user");
    let store = Store::redis(&options(&server).user("fleet").password("secret")).await.expect("it opens");
    let queue = Queue::new(&store, "q").expect("a name");
    let why = queue.add(Double(1)).await.expect_err("it may not").to_string();
    assert!(why.contains("its ACL lacks a command"), "{why}");
}
