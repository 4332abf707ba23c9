//! Step 8 of the protocol, the part that no crash may skip: runs whose row was told to stop are told through the queue,
//! whether or not the request that asked for it lived to do so.

use std::collections::HashSet;
use std::time::Duration;

use launchkit_queue::{EditError, JobId, Queue};
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use crate::ledger::{Ledger, LedgerError, queue_id};

/// How often to look. Together with a worker's beat, a handler hears of it within a second.
const EVERY: Duration = Duration::from_millis(400);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A run by its job's id, generation and number.
type Run = (String, i64, i64);

/// Tells this holder's runs until `stop`.
pub async fn tell_canceled(ledger: Ledger, queue: Queue, holder: String, stop: CancellationToken) {
    let mut told = HashSet::new();
    let mut wait = EVERY;
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(wait) => {}
        }
        let look = async {
            let runs: HashSet<Run> = ledger.told_to_stop(&holder).await?.into_iter().collect();
            // Those that have ended need not be remembered.
            told.retain(|run| runs.contains(run));
            for run in runs.into_iter().filter(|run| !told.contains(run)).collect::<Vec<Run>>() {
                match tokio::time::timeout(PATIENCE, tell(&queue, &run)).await {
                    Ok(true) => drop(told.insert(run)),
                    Ok(false) => {}
                    // The others would wait as long.
                    Err(_) => break,
                }
            }
            Ok::<(), LedgerError>(())
        };
        wait = match stop.run_until_cancelled(look).await {
            None => return,
            Some(Ok(())) => EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "could not look for jobs that are to stop; trying again");
                (wait * 2).min(LONGEST_WAIT)
            }
        };
    }
}

/// Whether the queue knows. A job that has ended meanwhile need not be told.
async fn tell(queue: &Queue, (id, generation, _): &Run) -> bool {
    let Ok(queued) = JobId::parse(&queue_id(id, *generation)) else { return true };
    match queue.cancel(&queued).await {
        Ok(()) | Err(EditError::Missing | EditError::WrongState(_)) => true,
        Err(error) => {
            tracing::debug!(job = id, %error, "a job that is to stop was not told");
            false
        }
    }
}
