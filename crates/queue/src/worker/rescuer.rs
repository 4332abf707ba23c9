//! Looks for jobs whose worker vanished, anybody's, and puts them back; moves on schedulers that have no job any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::backend::{ANSWER, Rescue};
use crate::error::StoreError;

/// Jobs put back in one call.
const STEP: u32 = 200;

/// Works until `ended`; the first look comes at once, as in BullMQ.
pub(super) async fn run(shared: Arc<Shared>, ended: CancellationToken) {
    let mut place = None;
    loop {
        // A store that does not answer must not keep a worker from stopping; an answer that nobody waits for is lost.
        let Some(looked) = ended.run_until_cancelled(look(&shared)).await else {
            return;
        };
        if let Err(error) = looked {
            tracing::warn!(queue = %shared.queue.name(), %error, "could not look for stalled jobs");
        }
        // One bounded step in each look; after the last of them from the beginning.
        let Some(mended) = ended.run_until_cancelled(answered(shared.queue.mend(place.take()))).await else {
            return;
        };
        match mended {
            Ok(next) => place = next,
            Err(error) => {
                tracing::warn!(queue = %shared.queue.name(), %error, "could not look for schedulers that stand still")
            }
        }
        let pause = shared.dice.about(shared.settings.rescue_every);
        tokio::select! {
            biased;
            _ = ended.cancelled() => return,
            _ = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a store that does not answer says.
async fn answered<O>(call: impl Future<Output = Result<O, StoreError>>) -> Result<O, StoreError> {
    let given_up = |_| Err(StoreError::Unavailable("it did not answer".to_owned()));
    tokio::time::timeout(ANSWER, call).await.unwrap_or_else(given_up)
}

async fn look(shared: &Shared) -> Result<(), StoreError> {
    loop {
        let rescue =
            Rescue { queue: shared.queue.name().clone(), max_stalled: shared.settings.max_stalled, most: STEP };
        let rescued = answered(shared.queue.backend().rescue(rescue, shared.queue.clock().now())).await?;
        if !rescued.jobs.is_empty() {
            shared.tally.rescued.fetch_add(rescued.jobs.len() as u64, Ordering::Relaxed);
            tracing::warn!(queue = %shared.queue.name(), jobs = rescued.jobs.len(), "put back jobs whose worker vanished");
        }
        if !rescued.more {
            return Ok(());
        }
    }
}
