//! The journal's word on ends, asked for until it comes.
//!
//! A journal that takes nothing at all (its database is away) is waited for, ten lock times long: the keeper renews the locks
//! meanwhile. A journal that takes other ends and goes on refusing one is not, for more than one: that end would hold up
//! everything behind it. It is let go of, its lock runs out, and the job runs again, as after a crash.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;

use super::Shared;
use super::runner::Caught;
use super::trip::{Finished, WAITS};
use crate::backend::ANSWER;
use crate::journal::JournalError;

/// Rounds in which the journal takes others and refuses an end, before it is let go of.
const ROUNDS: u32 = 4;
/// Ends in a row without an answer, after which a round is over.
const SILENT: u32 = 2;
/// Lock times for which a journal is asked that takes nothing at all.
const LOCK_TIMES: u32 = 10;

/// Has these ends written, together or, after a refusal, one by one; answers those that are.
pub(super) async fn written(shared: &Shared, fresh: Vec<Finished>) -> Vec<Finished> {
    let journaled = || shared.tally.journaled.load(Ordering::Relaxed);
    let mut seen = journaled();
    let patience = |rounds| shared.settings.lock_for.saturating_mul(if rounds == 0 { LOCK_TIMES } else { 1 });
    let now = || shared.queue.clock().now();
    let begun = now();
    let (mut done, mut rounds, mut wait) = (Vec::new(), 0u32, WAITS.0);
    let (mut fresh, mut alone) = (fresh, false);
    loop {
        let mut refused = Vec::new();
        let mut left: VecDeque<Vec<Finished>> = match alone {
            true => fresh.into_iter().map(|one| vec![one]).collect(),
            false => VecDeque::from([fresh]),
        };
        let mut silent = 0;
        while let Some(some) = left.pop_front() {
            match together(shared, some).await {
                Ok(written) => {
                    silent = 0;
                    done.extend(written);
                    continue;
                }
                Err((some, Unheard::Refused(_))) if some.len() > 1 => {
                    left.extend(some.into_iter().map(|one| vec![one]));
                }
                Err((some, Unheard::Refused(_))) => refused.extend(some),
                Err((some, Unheard::Silent)) => {
                    refused.extend(some);
                    silent += 1;
                }
            }
            alone = true;
            // One that hangs keeps no other waiting; where all do, nobody need find out.
            if silent == SILENT {
                refused.extend(left.drain(..).flatten());
            }
        }
        // In this round the journal took others, of this batch or of the trip beside it: it is there, and refuses these.
        rounds += u32::from(std::mem::replace(&mut seen, journaled()) != seen);
        if refused.is_empty() || rounds == ROUNDS || now().since(begun) > patience(rounds) {
            refused.iter().for_each(|one| let_go(shared, one));
            return done;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAITS.1);
        fresh = refused;
    }
}

/// One call for these ends; one that fails hands them back.
async fn together(shared: &Shared, fresh: Vec<Finished>) -> Result<Vec<Finished>, (Vec<Finished>, Unheard)> {
    let (runs, mut endings): (Vec<_>, Vec<_>) = fresh.into_iter().map(|one| ((one.run, one.ran), one.ending)).unzip();
    let heard = heard(async { shared.journal.end(&mut endings).await }).await;
    let journaled = heard.is_ok();
    let finished = |((run, ran), ending)| Finished { run, ending, ran, journaled };
    let finished: Vec<Finished> = runs.into_iter().zip(endings).map(finished).collect();
    match heard {
        Ok(()) => {
            shared.tally.journaled.fetch_add(1, Ordering::Relaxed);
            Ok(finished)
        }
        Err(error) => {
            let queue = shared.queue.name();
            tracing::error!(%queue, jobs = finished.len(), %error, "ends are not in the books yet");
            Err((finished, error))
        }
    }
}

fn let_go(shared: &Shared, one: &Finished) {
    tracing::error!(queue = %shared.queue.name(), job = %one.run.lock.id, "the journal refuses this end: the job will run again");
    shared.held.remove(&one.run);
    shared.tally.lost.fetch_add(1, Ordering::Relaxed);
}

/// Why a journal's word is missing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error(transparent)]
    Refused(JournalError),
    #[error("the journal did not answer")]
    Silent,
}

/// A call of the journal, whose panics are refusals, and which is given up after [`ANSWER`].
pub(super) async fn heard<O>(call: impl Future<Output = Result<O, JournalError>>) -> Result<O, Unheard> {
    match tokio::time::timeout(ANSWER, Caught(pin!(call))).await {
        Ok(Ok(answer)) => answer.map_err(Unheard::Refused),
        Ok(Err(_)) => Err(Unheard::Refused(JournalError("it panicked".to_owned()))),
        Err(_) => Err(Unheard::Silent),
    }
}
