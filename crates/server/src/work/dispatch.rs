//! Step 2 of the protocol: rows that the queue does not have are put there. Any process may do it, as often as it likes:
//! a job that the queue has already is answered as such.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::{Backoff, JobOptions, Keep, MAX_DELAY, Planned, Queue, Timestamp};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::owner::Owner;
use super::reconcile::Pulse;
use super::{Anything, answered};
use crate::failpoint::{self, Point};
use crate::ledger::{Kind, Ledger, Undispatched, queue_id};

/// Rows in one trip.
const BATCH: usize = 500;
/// How often to look without being woken: rows of another process, or of a crash.
const LOOK: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long finished jobs stay readable in the queue; the database keeps its own history.
const KEEP_COMPLETED: Keep = Keep::younger(Duration::from_secs(3_600));
const KEEP_FAILED: Keep = Keep::younger(Duration::from_secs(7 * 24 * 3_600));
/// The base of the waits between tries; the row decides when a try is due, this is what the queue itself would do.
const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2));

/// What the queue carries of a job: no text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ticket<'a> {
    job_id: &'a str,
    #[serde(rename = "gen")]
    generation: i64,
    org_id: &'a str,
    #[serde(rename = "type")]
    job_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// What is carried where.
pub struct Carried {
    /// The rows.
    pub ledger: Ledger,
    /// The queue that is to have them.
    pub queue: Queue,
    /// Whose the queue is.
    pub owner: Arc<Owner>,
    /// Told when a row waits.
    pub wake: Arc<Notify>,
    /// Told of each round.
    pub pulse: Arc<Pulse>,
}

/// Carries rows to the queue until `stop`. While it is another deployment's they wait in the database.
pub async fn dispatch(carried: Carried, stop: CancellationToken) {
    let Carried { ledger, queue, owner, wake, pulse } = carried;
    let mut wait = LOOK;
    loop {
        let carried = if owner.is_us() { carry(&ledger, &queue).await } else { Ok(0) };
        // A store that fails does not make this process unhealthy: to be started again would not help.
        pulse.beat(queue.clock().now());
        let more = match carried {
            Ok(carried) => {
                wait = LOOK;
                carried == BATCH
            }
            Err(error) => {
                tracing::error!(%error, "jobs could not be put into the queue; trying again");
                wait = (wait * 2).min(LONGEST_WAIT);
                false
            }
        };
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            biased;
            _ = stop.cancelled() => return,
            _ = wake.notified() => {}
            _ = tokio::time::sleep(wait) => {}
        }
    }
}

async fn carry(ledger: &Ledger, queue: &Queue) -> Result<usize, Anything> {
    let rows = ledger.undispatched(Kind::Job, BATCH).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    failpoint::pass(Point::Dispatching);
    let now = queue.clock().now();
    let planned = rows.iter().map(|row| plan(row, now)).collect();
    answered(queue.add_all(planned)).await?;
    failpoint::pass(Point::Dispatched);
    let noted: Vec<(String, i64)> = rows.iter().map(|row| (row.id.clone(), row.generation)).collect();
    ledger.dispatched(Kind::Job, &noted, queue.clock().now().millis()).await?;
    Ok(rows.len())
}

fn plan(row: &Undispatched, now: Timestamp) -> Planned {
    let ticket = Ticket {
        job_id: &row.id,
        generation: row.generation,
        org_id: &row.org,
        job_type: &row.job_type,
        traceparent: row.traceparent.as_deref(),
    };
    let options = JobOptions {
        priority: u32::try_from(row.priority).unwrap_or(0),
        // A clock that was set back must not make a delay that the queue refuses, and with it the whole batch.
        delay: row.run_at.map_or(Duration::ZERO, |at| Timestamp::from_millis(at).since(now)).min(MAX_DELAY),
        attempts: u32::try_from(row.max_attempts).unwrap_or(1),
        backoff: BACKOFF,
        keep_completed: KEEP_COMPLETED,
        keep_failed: KEEP_FAILED,
        timeout: row.timeout.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0).map(Duration::from_millis),
        start_before: row.start_before.map(Timestamp::from_millis),
        ..JobOptions::default()
    };
    Planned::named(&row.job_type, &ticket).id(queue_id(&row.id, row.generation)).options(options)
}
