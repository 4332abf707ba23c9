//! What a round does while the queue cannot be worked with.

use launchkit_queue::Store;

use super::*;
use crate::ledger::tests::new_job;
use crate::ledger::{Claim, Create, Created, DatabaseUrl, OpenOptions};

const DAY: i64 = 24 * 3_600_000;

/// A row that the queue does not hold, and a key that has run out, in the round of a deployment whose queue is another's.
#[tokio::test]
async fn rows_keep_their_lives_while_the_queue_is_anothers_and_the_database_is_looked_after() {
    let folder = tempfile::tempdir().unwrap();
    let (store, url) = (Store::memory(), DatabaseUrl::Sqlite(folder.path().join("launchkit.db")));
    let queue = Queue::new(&store, "ai-jobs").unwrap();
    let old = queue.clock().now().millis() - DAY;
    let ledger = Ledger::open(&url, OpenOptions::default(), old).await.unwrap();
    let org = ledger.ensure_default_org(old).await.unwrap().id;
    let create = Create { org: org.clone(), jobs: vec![new_job()], idempotency: None };
    let Created::Created(rows) = ledger.create(vec![create], old).await.unwrap().remove(0) else { panic!("accepted") };
    let id = rows[0].id.clone();
    ledger.dispatched(Kind::Job, &[(id.clone(), 1)], old).await.unwrap();
    assert_eq!(ledger.claim("s", "k", "one", old).await.unwrap(), Claim::Fresh);

    let owner = Arc::new(Owner::new(&store, ledger.deployment_id()));
    let skew = Arc::new(Skew::default());
    let holder = "holder".to_owned();
    let watched = Watched { ledger: ledger.clone(), queue, owner, holder, skew };
    let round = || look(&watched, Duration::ZERO, Duration::ZERO, 0);
    let generation = async || ledger.get(&org, &id).await.unwrap().unwrap().generation;

    let other = store.claim("another").await.unwrap();
    assert_eq!(&*other, "another");
    round().await.unwrap();
    assert_eq!(generation().await, 1);
    assert!(!watched.owner.is_us());
    assert_eq!(ledger.claim("s", "k", "two", old).await.unwrap(), Claim::Fresh, "the key was purged");

    // The same, with a queue that is its own.
    let store = Store::memory();
    let (queue, owner) = (Queue::new(&store, "ai-jobs").unwrap(), Owner::new(&store, ledger.deployment_id()));
    let watched = Watched { queue, owner: Arc::new(owner), ..watched };
    look(&watched, Duration::ZERO, Duration::ZERO, 0).await.unwrap();
    assert_eq!(generation().await, 2);

    // A store that does not answer is an error of the round, which has looked after the database by then.
    assert_eq!(ledger.claim("s", "l", "one", old).await.unwrap(), Claim::Fresh);
    store.close().await;
    assert!(look(&watched, Duration::ZERO, Duration::ZERO, 0).await.is_err());
    assert_eq!(ledger.claim("s", "l", "two", old).await.unwrap(), Claim::Fresh, "the key was purged");
}
