//! Metrics as workers make them.

use super::*;
use crate::given::*;

/// A handler that takes 30 ms; one that is not called, and one that is not there.
pub async fn a_handlers_time_is_measured(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 1, plain()).await;
    let doomed = b.add("doomed", 2, plain()).await;
    b.queue.cancel(&doomed).await.expect("cancel");
    b.queue.add_named("strange", 3).await.expect("add");
    let worker = b.worker().on::<Text>(async |_: Active<Text>| {
        tokio::time::sleep(Duration::from_millis(30)).await; // the work itself
        Ok(0)
    });
    let (outcome, _) = during(worker, async { (b.outcome(&id).await, b.failure(&doomed).await).0 }).await;
    outcome.expect("a result");
    let minutes = b.queue.metrics(None, 10).await.expect("metrics");
    let sum = |count: fn(&launchkit_queue::Minute) -> u64| minutes.iter().map(count).sum::<u64>();
    assert_eq!(
        (sum(|m| m.completed), sum(|m| m.failed), sum(|m| m.run.count()), sum(|m| m.wait.count())),
        (1, 1, 1, 3)
    );
    assert!((30..5_000).contains(&sum(|m| m.run.sum)), "{minutes:?}");
}
