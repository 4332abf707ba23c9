//! The LaunchKit service.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod ai;
pub mod app;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod config;
pub mod failpoint;
pub mod http;
pub mod ledger;
pub mod problem;
pub mod when;
pub mod work;
