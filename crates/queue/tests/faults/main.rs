//! The Redis store survives its server: whole workers and a producer on the machine's clock, each fault while an add, a turn, a
//! beat and a blocked wait are under way. `docs/guarantees.md` is the table of what comes of it; its times are printed here.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod deaths;
mod lines;
mod long;
mod refusals;
mod scene;
mod sentinel;
