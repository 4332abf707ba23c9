//! Step 8 of the protocol, the part that no crash may skip: runs whose row was told to stop are told through the queue,
//! whether or not the request that asked for it lived to do so.

use std::time::Duration;

use launchkit_queue::{JobId, Queue};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Ledger, queue_id};

/// How often to look. Together with a worker's beat, a handler hears of it within a second.
const EVERY: Duration = Duration::from_millis(400);

/// Tells this holder's runs until `stop`.
pub async fn tell_canceled(ledger: Ledger, queue: Queue, holder: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(EVERY) => {}
        }
        match ledger.told_to_stop(&holder).await {
            Ok(runs) => tell(&queue, &runs).await,
            Err(error) => tracing::warn!(%error, "could not look for jobs that are to stop; trying again"),
        }
    }
}

/// Telling twice does no harm; a job that has ended meanwhile is not there to be told.
async fn tell(queue: &Queue, runs: &[(String, i64, i64)]) {
    for (id, generation, _) in runs {
        if let Ok(queued) = JobId::parse(&queue_id(id, *generation))
            && let Err(error) = queue.cancel(&queued).await
        {
            tracing::debug!(job = id, %error, "a job that is to stop was not told");
        }
    }
}
