//! Long histories by many clients at once: each notes when it asked for what, and what it was answered; afterwards the notes of
//! all are held together. No job is lost, none has two holders, each run ends once, and who was first is taken first.
//! `HISTORY_ROUNDS` says how long they are, `HISTORY_SEED` which dice they begin with.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use launchkit_testkit::wrong::Wrong;
use launchkit_testkit::{Harness, Lie, MemoryHarness, RedisHarness, SqliteHarness, ValkeyHarness, tell, wish};

mod check;
mod clients;
mod notes;

use check::Checked;

/// Rounds of a history, unless told otherwise.
const ROUNDS: u64 = 60;
/// Histories within which a planted bug must be found.
const PLANTED: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn on_memory() {
    history::<MemoryHarness>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    history::<SqliteHarness>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis() {
    history::<RedisHarness>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_valkey() {
    history::<ValkeyHarness>().await;
}

/// Notes that fit any store prove nothing: those of stores that break one promise do not fit.
#[tokio::test(flavor = "multi_thread")]
async fn planted_bugs_are_found() {
    let lies = [
        Lie::ForgetsTokens,
        Lie::RenewsNothing,
        Lie::ComesBackEarly,
        Lie::CountsWhatIsPutOff,
        Lie::DropsTheLast,
        Lie::TakesOneMore,
        Lie::ForgetsCancels,
    ];
    for lie in lies {
        let mut seeds = 0..PLANTED;
        let fits = async |seed| {
            let notes = clients::work(Arc::new(Wrong::new(lie)), seed, ROUNDS).await;
            std::panic::catch_unwind(|| notes.check()).is_ok()
        };
        let found = loop {
            match seeds.next() {
                Some(seed) if fits(seed).await => {}
                found => break found,
            }
        };
        tell(&format!("planted in the store: {lie:?}, found by history {found:?}"));
        assert!(found.is_some(), "{lie:?} is found within {PLANTED} histories");
    }
}

async fn history<H: Harness>() {
    let harness = H::fresh().await;
    let seed = wish("HISTORY_SEED").unwrap_or(1);
    let notes = clients::work(harness.backend(), seed, wish("HISTORY_ROUNDS").unwrap_or(ROUNDS)).await;
    let Checked { calls, jobs, runs, rescued, refused } = notes.check();
    assert!(rescued > 0 && refused > 0, "no trouble: {rescued} rescued, {refused} ends refused");
    tell(&format!(
        "a history of {} clients on {}: {calls} calls, {jobs} jobs, {runs} runs, {rescued} rescued, {refused} ends refused",
        clients::CLIENTS,
        H::NAME
    ));
}
