//! Tiny histories by several clients at once. Whatever the store answered, and what it holds afterwards, must be what the store
//! in memory answers and holds when the same steps are done one by one, in some order that agrees with what was seen: a step
//! that ended before another began comes before it (Herlihy and Wing, "Linearizability", 1990).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::memory::Memory;
use launchkit_queue::{Keep, Timestamp};
use launchkit_testkit::given::T0;
use launchkit_testkit::{Harness, MemoryHarness, RedisHarness, SqliteHarness, ValkeyHarness, tell, wish};
use tokio::sync::Barrier;

use super::dice::Dice;
use super::plan::{self, Step};
use super::side::Side;

/// Histories for each store, unless `MODEL_RUNS` says otherwise; those on a disk take longer.
const RUNS: u64 = 40;
const RUNS_ON_DISK: u64 = 10;
/// Histories within which a planted bug must be found.
const PLANTED: u64 = 200;
/// Steps by one client, from which the others go on.
const BEFORE: usize = 12;
const CLIENTS: usize = 3;
const EACH: usize = 3;

/// What one client did: when it asked, what, what was answered, and when.
#[derive(Clone, Debug)]
struct Call {
    asked: u64,
    step: Step,
    answer: String,
    answered: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_memory_see_one_order() {
    orders::<MemoryHarness>(RUNS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_sqlite_see_one_order() {
    orders::<SqliteHarness>(RUNS_ON_DISK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_redis_see_one_order() {
    orders::<RedisHarness>(RUNS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_valkey_see_one_order() {
    orders::<ValkeyHarness>(RUNS).await;
}

/// Orders that are found for any store prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn clients_whose_turns_are_two_calls_are_found() {
    let harness = SqliteHarness::fresh().await;
    let mut seeds = 0..PLANTED;
    let found = loop {
        match seeds.next() {
            Some(seed) if History::of(harness.backend(), seed, true).await.order().await.is_ok() => {}
            found => break found,
        }
    };
    tell(&format!("clients on sqlite whose turns are two calls: found by history {found:?}"));
    assert!(found.is_some(), "within {PLANTED} histories");
}

async fn orders<H: Harness>(runs: u64) {
    let harness = H::fresh().await;
    let seeds = match wish("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..wish("MODEL_RUNS").unwrap_or(runs),
    };
    let (mut all, mut at_once) = (0, 0);
    for seed in seeds {
        let history = History::of(harness.backend(), seed, false).await;
        if let Err((longest, then)) = history.order().await {
            panic!(
                "seed {seed}: no order explains {:#?}\n{longest:?} is the longest, whose last is\n{then}",
                history.calls
            );
        }
        (all, at_once) = (all + 1, at_once + u64::from(history.overlaps()));
    }
    assert!(at_once > 0 || H::NAME == MemoryHarness::NAME, "nothing was done at once");
    tell(&format!(
        "histories of {CLIENTS} clients at once on {}: {all}, {at_once} of them with calls at once, an order found for each",
        H::NAME
    ));
}

struct History {
    seed: u64,
    now: Timestamp,
    before: Vec<(Timestamp, Step)>,
    calls: [Vec<Call>; CLIENTS],
    /// What the store held in the end.
    held: Vec<String>,
}

impl History {
    async fn of(tested: Arc<dyn Backend>, seed: u64, torn: bool) -> Self {
        let (mut dice, mut now, mut before) = (Dice::new(seed), T0, Vec::new());
        let (mut specified, mut tested) = (Side::new(Arc::new(Memory::new()), seed), Side::new(tested, seed));
        while before.len() < BEFORE {
            now = now.plus(Duration::from_millis(dice.time()));
            let step = plan::step(&mut dice, &specified, now).await;
            assert_eq!(specified.go(&step, now).await, tested.go(&step, now).await, "seed {seed}, {step:#?}");
            before.push((now, step));
        }
        let (clock, start) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(CLIENTS)));
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut steps = Vec::new();
            while steps.len() < EACH {
                let step = plan::step(&mut dice, &specified, now).await;
                steps.extend(is_one(&step).then_some(step));
            }
            let (mut side, clock, start) = (tested.client(number + 1), clock.clone(), start.clone());
            side.torn = torn;
            clients.push(tokio::spawn(async move {
                let mut calls = Vec::new();
                start.wait().await;
                for step in steps {
                    let asked = clock.fetch_add(1, Ordering::SeqCst);
                    let answer = side.go(&step, now).await;
                    let answered = clock.fetch_add(1, Ordering::SeqCst);
                    calls.push(Call { asked, step, answer, answered });
                }
                calls
            }));
        }
        let mut calls: [Vec<Call>; CLIENTS] = Default::default();
        for (number, client) in clients.into_iter().enumerate() {
            calls[number] = client.await.expect("a client");
        }
        Self { seed, now, before, calls, held: tested.holds(now).await }
    }

    /// Whether any call began before one of another client had ended.
    fn overlaps(&self) -> bool {
        let of = |client: &Vec<Call>| client.iter().map(|call| (call.asked, call.answered)).collect::<Vec<_>>();
        let mut all: Vec<(u64, u64)> = self.calls.iter().flat_map(of).collect();
        all.sort_unstable();
        all.windows(2).any(|pair| pair[1].0 < pair[0].1)
    }

    /// An order of the clients' calls that explains everything: whose call is first, whose is second, and so on. If there is
    /// none, the longest that explains a beginning, and what is then answered instead.
    async fn order(&self) -> Result<Vec<usize>, (Vec<usize>, String)> {
        let (mut open, mut best) = (vec![Vec::new()], (Vec::new(), String::new()));
        while let Some(order) = open.pop() {
            match self.explains(&order).await {
                Err(instead) if order.len() >= best.0.len() => best = (order, instead),
                Err(_) => {}
                Ok(()) if order.len() == CLIENTS * EACH => return Ok(order),
                Ok(()) => open.extend(self.next(&order).map(|client| [&order[..], &[client]].concat())),
            }
        }
        Err(best)
    }

    /// Whose next call can have been first: nobody else's next one was answered before it was asked.
    fn next(&self, order: &[usize]) -> impl Iterator<Item = usize> {
        let next = |client: usize| self.calls[client].get(order.iter().filter(|other| **other == client).count());
        let first = (0..CLIENTS).filter_map(next).map(|call| call.answered).min().unwrap_or(0);
        let can = (0..CLIENTS).filter(|client| next(*client).is_some_and(|call| call.asked < first));
        can.collect::<Vec<_>>().into_iter()
    }

    /// Asks the store in memory in this order: what it answers last, or holds in the end, where that is not what was seen.
    async fn explains(&self, order: &[usize]) -> Result<(), String> {
        let mut first = Side::new(Arc::new(Memory::new()), self.seed);
        for (now, step) in &self.before {
            first.go(step, *now).await;
        }
        let mut clients: Vec<(Side, std::slice::Iter<'_, Call>)> =
            (0..CLIENTS).map(|number| (first.client(number + 1), self.calls[number].iter())).collect();
        for client in order {
            let (side, calls) = &mut clients[*client];
            let call = calls.next().expect("a call of this client");
            same(&side.go(&call.step, self.now).await, &call.answer)?;
        }
        if order.len() == CLIENTS * EACH {
            let held = first.holds(self.now).await;
            held.iter().zip(&self.held).try_for_each(|(specified, seen)| same(specified, seen))?;
        }
        Ok(())
    }
}

fn same(specified: &str, seen: &str) -> Result<(), String> {
    if specified == seen { Ok(()) } else { Err(format!("specified\n{specified}\nseen\n{seen}")) }
}

/// Whether a step is one call, whose effects are promised: changes of several jobs, and what goes in steps, are not one, and of
/// jobs that end in the same millisecond stores may keep either for the older one.
fn is_one(step: &Step) -> bool {
    match step {
        Step::Edit(_, edits) => edits.len() == 1,
        Step::Turn { ends, .. } => ends.iter().all(|(_, _, keep)| [Keep::ALL, Keep::NONE].contains(keep)),
        Step::Sweep(..) | Step::Page(..) => false,
        _ => true,
    }
}
