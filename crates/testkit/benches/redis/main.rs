//! The store on Redis beside BullMQ for Node and `bullmq-official` for Rust: `make bench-redis`.
//!
//! One private Redis on a core of its own; the client under measurement, as one or more processes, on the others; this
//! program, which only gives orders and reads meters, beside the clients. Peers take turns run by run, so that a noisy minute
//! hits all of them. Each measurement ends with a check that every job reached a handler exactly once. A report in Markdown
//! goes to standard output, progress to standard error, raw figures to `target/bench/`.
//!
//! | variable | |
//! |---|---|
//! | `BENCH_PARTS` | some of `main,work,get,latency,aof`; all by default |
//! | `BENCH_PEERS` | some of `ours,official,node`; all by default |
//! | `BENCH_SCALE` | 0.01 to 1: this share of the jobs and of the time; 1 by default |
//! | `BENCH_RUNS` | at most so many runs of each cell |
//! | `BENCH_NODES` | so many Node processes, instead of as many as serve it best |
//! | `BENCH_SERVER` | `redis` (default) or `valkey` |
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::process::ExitCode;

mod client;
mod figures;
mod measure;
mod meter;
mod official;
mod ours;
mod plan;
mod report;
mod series;
mod stage;
mod team;

/// Makes this program a client: `--client ours`.
const CLIENT: &str = "--client";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CLIENT) {
        return match arguments.get(at + 1).map(String::as_str) {
            Some("ours") => client::serve::<ours::Ours>(),
            Some("official") => client::serve::<official::Official>(),
            other => panic!("{CLIENT} {other:?}: ours or official"),
        };
    }
    // `cargo test --benches` asks whether it runs at all.
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let settings = match plan::Settings::from_environment() {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    // One thread: what it does while others are measured is waiting and, now and then, a question to Redis.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let series = runtime.block_on(series::run(&settings));
    let raw = series.keep();
    print!("{}", report::markdown(&settings, &series, &raw));
    if series.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
