//! Backups taken under load, and what becomes of them: put back whole, and crossed, with a queue that is older or newer than
//! its database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use launchkit_testkit::tell;

use super::support::{Accepted, Books, Home, Load, PATIENCE, Server, Stores};

/// Backups of a deployment under load, in order, each with what had been accepted before it was begun.
async fn backups(home: &Home, count: usize) -> Vec<(PathBuf, Vec<Accepted>)> {
    let (load, clients): (Arc<Load>, _) = Load::begin(home);
    let server = Server::start(home).await;
    let mut taken = Vec::new();
    for n in 0..count {
        load.open(&server.url);
        load.work_in_flight().await;
        let (accepted, into) = (load.accepted(), home.folder.path().join(format!("backup-{n}")));
        run(home, "backup", &into).await;
        taken.push((into, accepted));
    }
    load.end(clients, home, &server.url).await;
    server.stop().await;
    taken
}

async fn run(home: &Home, command: &str, path: &Path) {
    let ran = home.command(&[command, path.to_str().unwrap(), "--json"]).output().await.unwrap();
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Starts what was put back, waits until all that was accepted has ended and the queue is empty, and looks into the books.
async fn ends_everything(restored: &Home, accepted: Vec<Accepted>) {
    let (before, expected) = (Books::read(restored).await, accepted.len() as u64);
    assert!(before.open > 0, "something was open");
    let server = Server::start(restored).await;
    let ends = Load::of(accepted).end(Vec::new(), restored, &server.url).await;
    assert_eq!(ends.values().sum::<u64>(), expected);
    let empty = async {
        while Books::read(restored).await.in_queue > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, empty).await.expect("the queue is worked to its end");
    server.stop().await;
    tell(&format!("a backup under load: {} open when it was taken, {ends:?} where it was restored", before.open));
    Books::read(restored).await.assert_balanced();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_backed_up_under_load_ends_where_it_is_restored() {
    let home = Home::new(Stores::default()).await;
    let (backup, accepted) = backups(&home, 1).await.pop().unwrap();
    let restored = Home::empty(&home.key);
    run(&restored, "restore", &backup).await;
    ends_everything(&restored, accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_queue_or_database_is_brought_up_to_the_other() {
    let home = Home::new(Stores::default()).await;
    let [(older, before), (newer, since)] = backups(&home, 2).await.try_into().expect("two");
    for (queue, database, accepted) in [(&older, &newer, since), (&newer, &older, before)] {
        let crossed = Home::empty(&home.key);
        let data = crossed.folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::copy(queue.join("queue.db"), data.join("queue.db")).unwrap();
        for name in ["launchkit.db", "jwt-secret", "secret-key"] {
            // Secrets are made when they are first needed.
            let _ = std::fs::copy(database.join(name), data.join(name));
        }
        ends_everything(&crossed, accepted).await;
    }
}
