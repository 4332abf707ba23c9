//! Everybody who asks a store for anything, beside everything that may become of the call: it fails before it is carried out,
//! or after; it comes late; it is never answered, whether or not it is carried out. In simulated time, each through the path that users run. What is seen
//! stands in `docs/guarantees.md`; `SICK=write` writes it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use launchkit_testkit::faulty::Fault;

mod clocks;
mod doers;
mod harm;
mod scene;

use doers::{Doer, Lasting};

/// The columns.
const FAULTS: [Fault; 6] = [Fault::Before, Fault::After, Fault::Slow, Fault::Hang, Fault::Deaf, Fault::Stray];
const HEAD: &str = "fails before | fails after | 0.3 s late | is never done | is done, never answers | is done 90 s late |\n\
    |---|---|---|---|---|---|---|\n";

#[test]
fn every_doer_gets_over_every_fault() {
    let rows = Doer::ALL.map(|doer| row(doer.name(), FAULTS.map(|fault| doer.play(fault))));
    let table = format!("| up to three calls in a row | {HEAD}{}", rows.concat());
    written("three calls", &table);
}

#[test]
fn no_fault_that_lasts_keeps_a_worker_from_stopping_or_a_job_from_ending_once() {
    let rows = Lasting::ALL.map(|lasting| row(lasting.name(), FAULTS.map(|fault| lasting.play(fault))));
    let table = format!("| every call for two minutes | {HEAD}{}", rows.concat());
    written("every call", &table);
}

fn row(name: &str, cells: [String; 6]) -> String {
    format!("| {name} | {} |\n", cells.join(" | "))
}

/// The table is the one between these marks.
fn written(mark: &str, table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/guarantees.md");
    let text = std::fs::read_to_string(&path).expect("docs/guarantees.md");
    let (begin, end) = (format!("<!-- {mark}: crates/queue/tests/sick -->\n\n"), "\n<!-- end -->");
    let (before, rest) = text.split_once(&begin).expect("the beginning of the table");
    let (found, after) = rest.split_once(end).expect("its end");
    if std::env::var_os("SICK").is_some_and(|what| what == "write") {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).expect("it is written");
    } else {
        assert_eq!(table, found, "SICK=write writes this table");
    }
}
