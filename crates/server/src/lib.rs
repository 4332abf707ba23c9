//! The LaunchKit service.

pub mod ledger;
