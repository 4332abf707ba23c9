//! One trip to the store: ends go out, jobs come in. In this order: what handlers noted, the journal's word on ends, the
//! store's turn, the journal's word on what was taken.
//!
//! A trip is repeated until it is answered: its verdicts and its token make every repetition harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::held::Run;
use super::{Shared, books, keeper};
use crate::backend::{ANSWER, End, Held, Next, Take, TakeMode, Token, Turn, Turned, Verdict};
use crate::error::Happened;
use crate::exit::Outcome;
use crate::journal::{Begin, Carry, Ending};
use crate::options::Keep;
use crate::queue::Passed;

/// The first and the longest wait before something that failed is tried again.
pub(super) const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often a trip asks for the next jobs of schedulers.
const ADVANCES: u32 = 3;
/// How long the steps of schedulers may hold up a trip, and with it what runs and ends beside them.
const PATIENCE: Duration = Duration::from_secs(1);

/// A run that has ended and is not settled yet.
pub(super) struct Finished {
    pub(super) run: Arc<Run>,
    pub(super) ending: Ending,
    /// How long its handler ran, if it did.
    pub(super) ran: Option<Duration>,
    /// Whether the journal has had its say.
    pub(super) journaled: bool,
}

/// A job to be run.
pub(super) struct Started {
    pub(super) held: Held,
    pub(super) run: Arc<Run>,
    pub(super) carry: Carry,
}

/// What a trip brought.
pub(super) struct Trip {
    pub(super) asked: usize,
    pub(super) started: Vec<Started>,
    /// Jobs that were taken but are not to be run: they end with the next trip.
    pub(super) skipped: Vec<Finished>,
    pub(super) next: Next,
}

/// Goes once; `give_up` ends the repetitions of what does not succeed, `stopping` those that only ask for jobs.
pub(super) async fn go(
    shared: Arc<Shared>,
    finished: Vec<Finished>,
    asked: usize,
    number: u64,
    stopping: CancellationToken,
    give_up: CancellationToken,
) -> Trip {
    let nothing = Trip { asked, started: Vec::new(), skipped: Vec::new(), next: Next::Empty };
    let Some(finished) = give_up.run_until_cancelled(told(&shared, finished)).await else {
        return nothing;
    };
    let take = (asked > 0).then(|| Take {
        token: Token::new(format!("{}:{number}", shared.info.id)),
        mode: TakeMode::Fresh,
        most: asked,
        lock_for: shared.settings.lock_for,
        rate: shared.info.rate,
    });
    let ends = finished.iter().map(verdict).collect();
    let turn = Turn { queue: shared.queue.name().clone(), worker: shared.info.name.clone(), ends, take };
    let Some(Some((turned, repeated))) = give_up.run_until_cancelled(turned(&shared, turn, &stopping)).await else {
        return nothing;
    };
    let mut passed: Vec<Passed<'_>> = turned.held.iter().map(|held| taken(&shared, held)).collect();
    for (finished, end) in finished.iter().zip(&turned.ends) {
        // After a repetition, a job that is not kept is gone because its end was carried out.
        let end = if repeated && *end == End::Gone { End::AlreadyApplied } else { *end };
        count(&shared, finished, end);
        passed.extend(ended(finished, end));
        shared.held.remove(&finished.run);
    }
    passed.retain(|one| one.job.iteration().is_some());
    let patience = PATIENCE.min(shared.settings.lock_for / 3);
    let advanced = give_up.run_until_cancelled(advanced(&shared, &passed));
    if !matches!(tokio::time::timeout(patience, advanced).await, Ok(Some(()))) {
        tracing::warn!(queue = %shared.queue.name(), "schedulers may not have been moved on: no answer");
    }
    let next = turned.next;
    let (started, skipped) = begun(&shared, turned.held, &give_up).await;
    Trip { asked, started, skipped, next }
}

/// What the handlers noted is stored, and the journal has had its say.
async fn told(shared: &Shared, mut finished: Vec<Finished>) -> Vec<Finished> {
    keeper::last_notes(shared, finished.iter().map(|one| &one.run)).await;
    let (done, fresh): (Vec<_>, Vec<_>) = finished.drain(..).partition(|one| one.journaled);
    let fresh = if fresh.is_empty() { fresh } else { books::written(shared, fresh).await };
    done.into_iter().chain(fresh).collect()
}

/// The store's answer, asked for until it comes, and whether it was asked for more than once. `None` when the worker stops
/// and there was nothing but jobs to ask for, of which the store certainly gave none: it may be away for long.
async fn turned(shared: &Shared, mut turn: Turn, stopping: &CancellationToken) -> Option<(Turned, bool)> {
    let mut wait = WAITS.0;
    let (mut repeated, mut unsure) = (false, false);
    let queue = shared.queue.name();
    loop {
        let now = shared.queue.clock().now();
        match tokio::time::timeout(ANSWER, shared.queue.backend().turn(turn.clone(), now)).await {
            Ok(Ok(turned)) => {
                for held in &turned.held {
                    shared.held.insert(&held.lock, now);
                }
                return Some((turned, repeated));
            }
            Ok(Err(failed)) => {
                tracing::error!(%queue, error = %failed.why, "the store refused a turn; asking again");
                unsure |= failed.happened == Happened::Unknown;
            }
            Err(_) => {
                tracing::error!(%queue, "the store did not answer; asking again");
                unsure = true;
            }
        }
        repeated = true;
        if let Some(take) = &mut turn.take {
            take.mode = TakeMode::Resume;
        }
        let needless = turn.ends.is_empty() && !unsure;
        tokio::select! {
            biased;
            _ = stopping.cancelled(), if needless => return None,
            _ = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(WAITS.1);
    }
}

fn taken<'a>(shared: &Shared, held: &'a Held) -> Passed<'a> {
    let taken = shared.held.get(&held.lock, shared.queue.clock().now()).taken;
    Passed { job: &held.lock.id, taken, unrun: held.failed_already.as_ref().map(|why| why.kind) }
}

/// A job that has ended for good, by this end.
fn ended(finished: &Finished, end: End) -> Option<Passed<'_>> {
    let applied = matches!(end, End::Applied | End::AlreadyApplied);
    let why = match &finished.ending.outcome {
        Outcome::Done(_) => None,
        Outcome::Dead(failure) => Some(failure.kind),
        _ => return None,
    };
    let unrun = why.filter(|_| finished.ran.is_none());
    applied.then_some(Passed { job: &finished.run.lock.id, taken: finished.run.taken, unrun })
}

/// The schedulers whose jobs were taken have their next ones made before anything runs, or once those have ended, as their
/// policy says. What the store refuses for long is left to the rescuer, which moves on schedulers that stand still.
async fn advanced(shared: &Shared, passed: &[Passed<'_>]) {
    if passed.is_empty() {
        return;
    }
    let mut wait = WAITS.0;
    for attempt in 1..=ADVANCES {
        let Err(error) = shared.queue.advance(passed).await else { return };
        tracing::error!(queue = %shared.queue.name(), %error, "schedulers have not been moved on");
        if attempt < ADVANCES {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }
}

/// What the journal makes of the jobs that were taken.
async fn begun(shared: &Shared, held: Vec<Held>, give_up: &CancellationToken) -> (Vec<Started>, Vec<Finished>) {
    if held.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let decisions = give_up.run_until_cancelled(decided(shared, &held)).await;
    // Stopping without the journal's word: nothing was begun, so everything goes back.
    let decisions = decisions.unwrap_or_else(|| held.iter().map(|_| Begin::Skip(Outcome::Back)).collect());
    let (mut started, mut skipped) = (Vec::new(), Vec::new());
    for (held, decision) in held.into_iter().zip(decisions) {
        let run = shared.held.get(&held.lock, shared.queue.clock().now());
        match decision {
            Begin::Run(carry) => started.push(Started { held, run, carry }),
            Begin::Skip(outcome) => {
                run.set_ending();
                let ending = Ending { held, carry: Arc::new(()), outcome };
                skipped.push(Finished { run, ending, ran: None, journaled: true });
            }
        }
    }
    (started, skipped)
}

async fn decided(shared: &Shared, held: &[Held]) -> Vec<Begin> {
    let mut wait = WAITS.0;
    loop {
        match books::heard(async { shared.journal.begin(held).await }).await {
            Ok(decisions) if decisions.len() == held.len() => return decisions,
            Ok(decisions) => {
                tracing::error!(
                    asked = held.len(),
                    answered = decisions.len(),
                    "the journal did not answer for every job"
                );
            }
            Err(error) => {
                tracing::error!(queue = %shared.queue.name(), jobs = held.len(), %error, "starts are not in the books yet");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAITS.1);
    }
}

fn verdict(finished: &Finished) -> Verdict {
    let ending = &finished.ending;
    let keep = match ending.outcome {
        Outcome::Done(_) => ending.held.options.keep_completed,
        Outcome::Dead(_) => ending.held.options.keep_failed,
        _ => Keep::ALL,
    };
    Verdict { lock: finished.run.lock.clone(), outcome: ending.outcome.clone(), keep, ran: finished.ran }
}

fn count(shared: &Shared, finished: &Finished, end: End) {
    let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
    let tally = &shared.tally;
    match end {
        End::Applied | End::AlreadyApplied => match finished.ending.outcome {
            Outcome::Done(_) => add(&tally.done),
            Outcome::Retry { .. } => add(&tally.retried),
            Outcome::Dead(_) => add(&tally.dead),
            Outcome::Later(_)
            | Outcome::Back
            | Outcome::SlowDown(_)
            | Outcome::SlowDownGroup(_)
            | Outcome::AwaitChildren => add(&tally.returned),
        },
        End::LockLost | End::Gone => {
            tracing::warn!(queue = %shared.queue.name(), job = %finished.run.lock.id, ?end, "an end came too late and was dropped");
            add(&tally.lost)
        }
    };
}
