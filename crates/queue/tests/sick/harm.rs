//! A journal that never answers for one end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use launchkit_queue::backend::{ANSWER, Held};
use launchkit_queue::{Active, Begin, Ending, Journal, JournalError, State};

use super::scene::{Job, play};

struct Stuck;

#[async_trait]
impl Journal for Stuck {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        Ok(held.iter().map(|_| Begin::Run(Arc::new(()))).collect())
    }

    async fn end(&self, endings: &mut [Ending]) -> Result<(), JournalError> {
        if endings.iter().any(|ending| ending.held.lock.id.as_str() == "bad") {
            std::future::pending().await
        }
        Ok(())
    }
}

/// Asked for together with others, it is found out; they keep their locks meanwhile, and end.
#[test]
fn an_end_that_hangs_in_the_books_keeps_no_other_from_ending() {
    let runs = play(|scene| async move {
        let mut ids = Vec::new();
        for id in ["first", "bad", "second", "third"] {
            ids.push(scene.add(id).await);
        }
        let runs = scene.clone();
        let worker = scene.worker(1).concurrency(4).journal(Arc::new(Stuck)).on::<Job>(move |_: Active<Job>| {
            runs.begun();
            async { Ok(()) }
        });
        let worker = worker.build().unwrap().start();
        let others = async {
            for id in ids.iter().filter(|id| id.as_str() != "bad") {
                scene.ended(id).await;
            }
        };
        tokio::time::timeout(ANSWER * 2 + Duration::from_secs(1), others).await.expect("they end");
        let bad = scene.healthy.get(&ids[1]).await.unwrap().unwrap();
        assert_eq!((bad.state, bad.finished_on), (State::Active, None));
        worker.stop().await;
        scene.counted()
    });
    assert_eq!(runs, "4 runs");
}
