//! Whole workers on a store that fails, in simulated time: jobs that succeed, fail, panic, hang and outlive their locks; workers
//! that are born and die; a store whose answers are lost, late, or never come. Everything random follows from a seed, and one
//! seed replays a run to the last event. `SIM_SEEDS` says how many seeds are run, `SIM_SEED` runs one alone and shows it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::memory::Memory;
use launchkit_testkit::wrong::Wrong;
use launchkit_testkit::{Lie, tell, wish};

mod checks;
mod scene;
mod script;

use scene::{Seen, run};

/// Seeds, unless told otherwise.
const SEEDS: u64 = 200;
/// Seeds that are run twice.
const REPLAYED: u64 = 25;
/// Seeds within which a planted bug must be found.
const PLANTED: u64 = 1_000;

fn right() -> Arc<dyn Backend> {
    Arc::new(Memory::new())
}

#[test]
fn whatever_fails_every_job_ends_once_and_in_time() {
    if let Some(seed) = wish("SIM_SEED") {
        let seen = run(seed, right());
        println!("{seen:#?}");
        return assert!(seen.wrong.is_empty(), "seed {seed}: {:#?}", seen.wrong);
    }
    let mut all = Seen::default();
    let seeds = wish("SIM_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let seen = run(seed, right());
        assert!(seen.wrong.is_empty(), "seed {seed} (SIM_SEED={seed} runs it alone): {:#?}", seen.wrong);
        all.add(&seen);
    }
    tell(&format!("simulated: {seeds} seeds, {all}"));
    assert!(all.faults > 0 && all.rescues > 0 && all.lost > 0, "everything was tried: {all}");
}

#[test]
fn one_seed_replays_a_run() {
    for seed in 0..REPLAYED {
        let (once, again) = (run(seed, right()), run(seed, right()));
        let differs = once.told.iter().zip(&again.told).position(|(one, other)| one != other);
        assert!(
            differs.is_none(),
            "seed {seed}: {differs:?}: {:#?}",
            differs.map(|at| (&once.told[at], &again.told[at]))
        );
        assert_eq!(once.told.len(), again.told.len(), "seed {seed}");
    }
}

/// A simulation that finds nothing proves nothing: stores that break one promise are found out.
#[test]
fn planted_bugs_are_found() {
    for lie in [Lie::ForgetsTokens, Lie::DropsTheLast, Lie::CountsWhatIsPutOff, Lie::RescuesForEver, Lie::RenewsNothing]
    {
        let found = (0..PLANTED).find(|seed| !run(*seed, Arc::new(Wrong::new(lie))).wrong.is_empty());
        tell(&format!("planted in the store: {lie:?}, found by seed {found:?}"));
        assert!(found.is_some(), "{lie:?} is found within {PLANTED} seeds");
    }
}
