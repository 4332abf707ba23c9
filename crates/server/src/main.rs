//! The `launchkit` binary.
fn main() {}
