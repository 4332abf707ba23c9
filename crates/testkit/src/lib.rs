//! Harnesses, servers and conformance cases for LaunchKit's own tests.

pub mod postgres;
