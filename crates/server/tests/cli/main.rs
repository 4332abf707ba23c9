//! The real binary: commands, exit codes, the server as a process, and the mission document's own examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backup;
mod commands;
mod mission;
mod owner;
mod redis;
mod serve;
mod support;
