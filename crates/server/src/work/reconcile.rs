//! Steps 10, 11 and 14 of the protocol: rows that the queue lost are given a new life, counters are compared with what
//! they count, clocks with the database's. One process at a time does it, by a lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use launchkit_queue::{JobId, Queue, Record, Timestamp};
use tokio_util::sync::CancellationToken;

use super::skew::Skew;
use crate::ledger::{Kind, Ledger, OpenRow, PURGED, Relived, queue_id};

/// How often to look.
const EVERY: Duration = Duration::from_secs(30);
/// How long the lease holds: a process that dies is replaced after two looks.
const LEASE: Duration = Duration::from_secs(75);
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

/// Looks after the rows until `stop`. `lock_for` is the workers': rows touched within three lock times are left alone.
pub async fn reconcile(
    ledger: Ledger,
    queue: Queue,
    holder: String,
    lock_for: Duration,
    skew: Arc<Skew>,
    stop: CancellationToken,
) {
    let mut round = 0u32;
    loop {
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(EVERY) => {}
        }
        // A walk over many rows must not hold up a stop; every step of it is a transaction of its own.
        let Some(looked) = stop.run_until_cancelled(look(&ledger, &queue, &holder, lock_for, &skew, round)).await
        else {
            return;
        };
        if let Err(error) = looked {
            tracing::error!(%error, "rows could not be compared with the queue; trying again later");
        }
        round = round.wrapping_add(1);
    }
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

async fn look(
    ledger: &Ledger,
    queue: &Queue,
    holder: &str,
    lock_for: Duration,
    skew: &Skew,
    round: u32,
) -> Result<(), Anything> {
    let now = queue.clock().now();
    skew.measure(ledger, queue.clock()).await?;
    let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    if !ledger.lease("reconcile", holder, lease, now.millis()).await? {
        return Ok(());
    }
    let untouched = now.minus(lock_for * 3).millis();
    let mut after = None;
    loop {
        let page = ledger.stale(Kind::Job, untouched, after.as_ref()).await?;
        relive(ledger, queue, page.rows).await?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if round.is_multiple_of(COUNTERS_EVERY) {
        let repairs = ledger.repair_counters(now.millis()).await?;
        if repairs.repaired > 0 {
            tracing::warn!(repaired = repairs.repaired, "period counters were wrong and have been put right");
        }
    }
    // As many as there are: keys come as fast as requests.
    while ledger.purge_idempotency(now.millis()).await? == PURGED {}
    Ok(())
}

/// Gives a new life to those of the rows that the queue does not hold any more.
async fn relive(ledger: &Ledger, queue: &Queue, rows: Vec<OpenRow>) -> Result<(), Anything> {
    let ids = rows.iter().map(|row| JobId::custom(&queue_id(&row.id, row.generation)));
    let ids = ids.collect::<Result<Vec<JobId>, _>>()?;
    let held = queue.get_all(&ids).await?;
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
