//! Random histories of every verb on two queues: the store in memory is the specification, and Redis and Valkey answer the
//! same and hold the same. `MODEL_RUNS` says how many histories each of them gets; a failure names its seed and its last
//! steps, and `MODEL_SEED` runs that history alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::Timestamp;
use launchkit_queue::backend::Backend;
use launchkit_queue::backend::memory::Memory;
use launchkit_testkit::given::T0;
use launchkit_testkit::{Harness, RedisHarness, SqliteHarness, ValkeyHarness, invariants, wish};

mod dice;
mod plan;
mod side;
mod together;

use dice::Dice;
use plan::Step;
use side::Side;

/// Histories for each store, unless told otherwise; those on a disk take longer.
const RUNS: u64 = 20;
const RUNS_ON_DISK: u64 = 3;
const STEPS: usize = 150;
/// Steps after which everything that is stored is compared.
const LOOK: usize = 10;
/// Steps that are shown.
const SHOWN: usize = 3;

#[tokio::test]
async fn any_history_on_redis_goes_as_specified() {
    histories::<RedisHarness>(RUNS).await;
}

#[tokio::test]
async fn any_history_on_valkey_goes_as_specified() {
    histories::<ValkeyHarness>(RUNS).await;
}

#[tokio::test]
async fn any_history_on_sqlite_goes_as_specified() {
    histories::<SqliteHarness>(RUNS_ON_DISK).await;
}

async fn histories<H: Harness>(runs: u64) {
    let harness = H::fresh().await;
    if let Some(seed) = wish("MODEL_SEED") {
        return history(harness.backend(), seed).await;
    }
    for seed in 0..wish("MODEL_RUNS").unwrap_or(runs) {
        history(harness.backend(), seed).await;
    }
}

/// One history, on queues of its own.
async fn history(tested: Arc<dyn Backend>, seed: u64) {
    let mut sides = [Side::new(Arc::new(Memory::new()), seed), Side::new(tested, seed)];
    let (mut dice, mut now) = (Dice::new(seed), T0);
    let mut steps: Vec<(Timestamp, Step)> = Vec::new();
    for number in 1..=STEPS {
        now = now.plus(Duration::from_millis(dice.time()));
        let step = plan::step(&mut dice, &sides[0], now).await;
        steps.push((now, step.clone()));
        let shown = || {
            let last = &steps[steps.len().saturating_sub(SHOWN)..];
            format!("seed {seed}, step {number}, after {last:#?}")
        };
        let [specified, tested] = &mut sides;
        let (wanted, got) = (specified.go(&step, now).await, tested.go(&step, now).await);
        assert!(wanted == got, "{}\n\nis answered with\n{got}\ninstead of\n{wanted}", shown());
        if number % LOOK == 0 || number == STEPS {
            let (wanted, got) = (specified.holds(now).await, tested.holds(now).await);
            if let Some((wanted, got)) = wanted.iter().zip(&got).find(|(wanted, got)| wanted != got) {
                panic!("{}\n\nleaves\n{got}\ninstead of\n{wanted}", shown());
            }
            invariants::check(&*specified.backend).await;
        }
    }
}
