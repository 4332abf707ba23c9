//! Renews the locks of all held jobs, hears who is asked to stop, and carries progress and log lines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::active::Cause;
use super::held::Run;
use crate::backend::{Beat, Edit, EditAll, Lock, MAX_BEAT, MAX_EDIT};
use crate::job::JobId;
use crate::time::Timestamp;

/// How often notes of handlers are carried to the store: at most four times a second for each job.
const NOTES_EVERY: Duration = Duration::from_millis(250);
/// How often a worker with jobs asks who is to stop: canceled handlers are told within a second.
const BEAT_BUSY: Duration = Duration::from_millis(500);

/// Works until `ended`; the first beat, which registers the worker, comes at once, and then `seen` is told.
pub(super) async fn run(shared: Arc<Shared>, seen: CancellationToken, ended: CancellationToken) {
    let clock = shared.queue.clock().clone();
    let beat_idle = shared.settings.lock_for / 3;
    let mut heard = clock.now();
    let mut beaten: Option<Timestamp> = None;
    loop {
        // Locks first: notes may wait for a store that has no room for them.
        let now = clock.now();
        let busy = !shared.held.is_empty();
        let wait = if busy { BEAT_BUSY.min(beat_idle) } else { beat_idle };
        // A clock that was set back must not stop the beats until it has caught up.
        if beaten.is_none_or(|last| now < last || now.since(last) >= wait) {
            beaten = Some(now);
            match ended.run_until_cancelled(beat(&shared, now)).await {
                Some(true) => heard = now,
                Some(false) => {}
                None => return,
            }
            seen.cancel();
        }
        give_up_expired(&shared, heard);
        if busy && ended.run_until_cancelled(carry_notes(&shared)).await.is_none() {
            return;
        }
        tokio::select! {
            biased;
            _ = ended.cancelled() => return,
            _ = tokio::time::sleep(NOTES_EVERY) => {}
        }
    }
}

/// Sends what handlers that go on have noted.
async fn carry_notes(shared: &Shared) {
    let runs = shared.held.all();
    let (mut edits, mut sending) = (Vec::new(), Vec::new());
    for run in &runs {
        // Taken, its notes are on their way already, and an end waits for them.
        if let Ok(turn) = run.sending.try_lock()
            && run.take_notes(&mut edits)
        {
            sending.push(turn);
        }
    }
    patiently(shared, send_all(shared, edits)).await;
}

/// Sends what handlers that have ended noted, and waits for what the keeper is sending of theirs: no end overtakes it.
pub(super) async fn last_notes(shared: &Shared, runs: impl Iterator<Item = &Arc<Run>>) {
    let all = async {
        let mut edits = Vec::new();
        for run in runs {
            drop(run.sending.lock().await);
            run.take_notes(&mut edits);
        }
        send_all(shared, edits).await;
    };
    patiently(shared, all).await;
}

/// Notes never fail a job: what cannot be stored within the keeper's patience is logged and gone.
async fn patiently(shared: &Shared, send: impl Future<Output = ()>) {
    if tokio::time::timeout(patience(shared), send).await.is_err() {
        tracing::warn!(queue = %shared.queue.name(), "progress and log lines may be lost: no answer");
    }
}

async fn send_all(shared: &Shared, mut edits: Vec<Edit>) {
    while !edits.is_empty() {
        let rest = edits.split_off(edits.len().min(MAX_EDIT));
        let all = EditAll { queue: shared.queue.name().clone(), edits };
        if let Err(failed) = shared.queue.backend().edit(all, shared.queue.clock().now()).await {
            tracing::warn!(queue = %shared.queue.name(), error = %failed.why, "progress and log lines were lost");
        }
        edits = rest;
    }
}

/// A sign of life for every lock; answers whether the store answered for all.
async fn beat(shared: &Shared, now: Timestamp) -> bool {
    let runs = shared.held.all();
    let mut chunks = runs.chunks(MAX_BEAT);
    // Also without a lock, the worker is to be seen.
    let mut answered = beat_some(shared, chunks.next().unwrap_or_default(), now).await;
    for chunk in chunks {
        answered &= beat_some(shared, chunk, now).await;
    }
    answered
}

async fn beat_some(shared: &Shared, runs: &[Arc<Run>], now: Timestamp) -> bool {
    let locks: Vec<Lock> = runs.iter().map(|run| run.lock.clone()).collect();
    let beat = Beat {
        queue: shared.queue.name().clone(),
        worker: shared.info.clone(),
        locks,
        lock_for: shared.settings.lock_for,
    };
    match tokio::time::timeout(patience(shared), shared.queue.backend().beat(beat, now)).await {
        Ok(Ok(beaten)) => {
            // Those that were asked about: a job may have been taken anew while the answer was under way.
            for (ids, cause) in [(beaten.lost, Cause::LockLost), (beaten.cancel, Cause::Canceled)] {
                let ids: HashSet<JobId> = ids.into_iter().collect();
                runs.iter().filter(|run| ids.contains(&run.lock.id)).for_each(|run| run.cancel(cause));
            }
            true
        }
        Ok(Err(failed)) => {
            tracing::warn!(queue = %shared.queue.name(), error = %failed.why, "locks were not renewed");
            false
        }
        Err(_) => {
            tracing::warn!(queue = %shared.queue.name(), "locks may not be renewed: no answer");
            false
        }
    }
}

/// How long the keeper waits for an answer: a store that hangs must not keep it from seeing that locks run out.
fn patience(shared: &Shared) -> Duration {
    shared.settings.lock_for / 3
}

/// Locks that nobody could renew for their whole time are lost, even if the store cannot say so.
fn give_up_expired(shared: &Shared, heard: Timestamp) {
    let now = shared.queue.clock().now();
    let lock_for = shared.settings.lock_for;
    if now.since(heard) < lock_for {
        return;
    }
    let held = shared.held.all();
    held.iter().filter(|run| now.since(run.taken) >= lock_for).for_each(|run| run.cancel(Cause::LockLost));
}
