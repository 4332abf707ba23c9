//! The LaunchKit service.
pub mod ai;
