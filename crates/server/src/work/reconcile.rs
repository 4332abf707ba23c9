//! Steps 10, 11 and 14 of the protocol: rows that the queue lost are given a new life, counters are compared with what
//! they count, clocks with the database's. One process at a time does it, by a lease; a queue that does not answer, or is
//! another deployment's, keeps nobody from looking after the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use launchkit_queue::{JobId, Queue, Record, Timestamp};
use tokio_util::sync::CancellationToken;

use super::owner::Owner;
use super::skew::Skew;
use super::{Anything, answered};
use crate::ledger::{Kind, Ledger, OpenRow, PURGED, Relived, queue_id};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// How often to look: as often as a lock runs out, within these bounds.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);
/// Rounds between two comparisons of the counters.
const COUNTERS_EVERY: u32 = 20;

/// When a loop last went round: what health is told by.
#[derive(Debug, Default)]
pub struct Pulse(AtomicI64);

impl Pulse {
    /// It goes round now.
    pub fn beat(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::Relaxed);
    }

    /// How long ago it last did.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// What is looked after, and by whom.
pub struct Watched {
    /// The rows.
    pub ledger: Ledger,
    /// The queue that is to have them.
    pub queue: Queue,
    /// Whose the queue is.
    pub owner: Arc<Owner>,
    /// This process.
    pub holder: String,
    /// Where clocks are compared.
    pub skew: Arc<Skew>,
}

/// Looks after the rows until `stop`. `lock_for` is the workers': rows touched within three lock times are left alone.
pub async fn reconcile(watched: Watched, lock_for: Duration, stop: CancellationToken) {
    let every = lock_for.clamp(*EVERY.start(), *EVERY.end());
    let mut round = 0u32;
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(every) => {}
        }
        // A walk over many rows must not hold up a stop; every step of it is a transaction of its own.
        let Some(looked) = stop.run_until_cancelled(look(&watched, lock_for, every, round)).await else { return };
        if let Err(error) = looked {
            tracing::error!(%error, "rows could not be compared with the queue; trying again later");
        }
        round = round.wrapping_add(1);
    }
}

async fn look(watched: &Watched, lock_for: Duration, every: Duration, round: u32) -> Result<(), Anything> {
    let Watched { ledger, queue, owner, holder, skew } = watched;
    let now = queue.clock().now();
    skew.measure(ledger, queue.clock()).await?;
    // A process that dies is replaced after two looks.
    let lease = i64::try_from((every * 5 / 2).as_millis()).unwrap_or(i64::MAX);
    if !ledger.lease("reconcile", holder, lease, now.millis()).await? {
        return Ok(());
    }
    if round.is_multiple_of(COUNTERS_EVERY) {
        let repairs = ledger.repair_counters(now.millis()).await?;
        if repairs.repaired > 0 {
            tracing::warn!(repaired = repairs.repaired, "period counters were wrong and have been put right");
        }
    }
    // As many as there are: keys come as fast as requests.
    while ledger.purge_idempotency(now.millis()).await? == PURGED {}
    // A store that was emptied has forgotten whose it is; before rows are carried there again, it is to know.
    if !answered(owner.look()).await? {
        return Ok(());
    }
    let untouched = now.minus(lock_for * 3).millis();
    let mut after = None;
    loop {
        let page = ledger.stale(Kind::Job, untouched, after.as_ref()).await?;
        relive(ledger, queue, page.rows).await?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Gives a new life to those of the rows that the queue does not hold any more.
async fn relive(ledger: &Ledger, queue: &Queue, rows: Vec<OpenRow>) -> Result<(), Anything> {
    let ids = rows.iter().map(|row| JobId::custom(&queue_id(&row.id, row.generation)));
    let ids = ids.collect::<Result<Vec<JobId>, _>>()?;
    let held = answered(queue.get_all(&ids)).await?;
    let lost = |held: &Option<Record>| held.as_ref().is_none_or(|record| record.state.is_final());
    let missing: Vec<OpenRow> =
        rows.into_iter().zip(&held).filter(|(_, held)| lost(held)).map(|(row, _)| row).collect();
    let lives = ledger.relive(Kind::Job, &missing, queue.clock().now().millis()).await?;
    for (row, life) in missing.iter().zip(lives) {
        match life {
            Relived::Queued { generation } => {
                tracing::warn!(job = %row.id, generation, "the queue had lost this job: queued again");
            }
            Relived::Lost => tracing::error!(job = %row.id, "the queue lost this job too often: failed"),
            Relived::Canceled | Relived::Moved => {}
        }
    }
    Ok(())
}
