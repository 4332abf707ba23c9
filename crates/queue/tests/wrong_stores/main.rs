//! Tests of the tests: every conformance case is run on stores in memory that each break one promise. The cases that fail are
//! compared with `caught.txt`: those that are named for what it breaks, and others that need it to get where they begin. All
//! others must pass, also on it, and each store must fail some.
//! `CAUGHT=write` writes that file anew.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use launchkit_queue::backend::Backend;
use launchkit_testkit::conformance::Case;
use launchkit_testkit::wrong::{Lie, Wrong};
use launchkit_testkit::{Harness, case_list, tell};

/// A case that takes longer on a thread of its own hangs, which is one way to fail.
const HANGS: Duration = Duration::from_secs(20);

/// Cases at once: more than there are processors, since those that hang need none.
const AT_ONCE: usize = 24;

thread_local! {
    static LIE: Cell<Lie> = const { Cell::new(Lie::None) };
}

/// The wrong store of this thread.
struct WrongHarness(Arc<Wrong>);

impl Harness for WrongHarness {
    const NAME: &'static str = "wrong";

    async fn fresh() -> Self {
        Self(Arc::new(Wrong::new(LIE.get())))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.0.clone()
    }

    async fn another(&self) -> Option<Arc<dyn Backend>> {
        None
    }

    async fn reopen(self) -> Option<Self> {
        None
    }
}

#[test]
fn every_broken_promise_is_caught_by_the_cases_that_are_known_to_see_it() {
    let cases: Vec<Case> = case_list!(crate::WrongHarness);
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught: Mutex<BTreeMap<String, BTreeSet<usize>>> = Mutex::default();
    Lie::ALL.iter().for_each(|lie| drop(caught.lock().unwrap().insert(format!("{lie:?}"), BTreeSet::new())));
    let next = Mutex::new(Lie::ALL.iter().flat_map(|lie| (0..cases.len()).map(move |case| (*lie, case))));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((lie, case)) = { next.lock().unwrap().next() } {
                    if !holds(lie, &cases[case]) {
                        caught.lock().unwrap().entry(format!("{lie:?}")).or_default().insert(case);
                    }
                }
            });
        }
    });
    std::panic::set_hook(quiet);
    let name = |failed: BTreeSet<usize>| failed.into_iter().map(|case| cases[case].0).collect();
    let caught: BTreeMap<String, Vec<&str>> =
        caught.into_inner().unwrap().into_iter().map(|(lie, failed)| (lie, name(failed))).collect();
    let told = caught.iter().map(|(lie, failed)| format!("{lie} {}", failed.len())).collect::<Vec<_>>().join(", ");
    tell(&format!("wrong stores, and how many of {} cases each fails: {told}", cases.len()));
    assert_eq!(caught["None"], [""; 0], "the wrapper itself breaks nothing");
    assert!(caught.iter().all(|(lie, failed)| lie == "None" || !failed.is_empty()), "every lie is caught: {caught:#?}");
    compare(&caught);
}

/// Runs a case on a thread of its own; answers whether it passed.
fn holds(lie: Lie, case: &Case) -> bool {
    let (tell, told) = mpsc::channel();
    let run = case.1;
    thread::spawn(move || {
        LIE.set(lie);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Nobody listens any more to a case that hung.
        let _ = tell.send(catch_unwind(AssertUnwindSafe(|| runtime.block_on(run()))).is_ok());
    });
    told.recv_timeout(HANGS).unwrap_or(false)
}

fn compare(caught: &BTreeMap<String, Vec<&str>>) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_stores/caught.txt");
    let text: String = caught
        .iter()
        .map(|(lie, failed)| {
            format!("{lie}\n{}\n", failed.iter().map(|case| format!("    {case}\n")).collect::<String>())
        })
        .collect();
    if std::env::var("CAUGHT").is_ok_and(|wish| wish == "write") {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&file).unwrap();
    for (known, found) in known.lines().zip(text.lines()) {
        assert_eq!(known, found, "caught.txt, before what is caught now");
    }
    assert_eq!(known, text, "caught.txt");
}
