//! Harnesses, servers and conformance cases for LaunchKit's own tests. Never shipped.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot be set up should say so and stop

pub mod conformance;
pub mod dice;
pub mod faulty;
pub mod given;
pub mod harness;
pub mod invariants;
pub mod peer;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod wrong;

pub use dice::Dice;
pub use faulty::Faulty;
pub use given::Given;
pub use harness::{Harness, MemoryHarness, SqliteHarness};
pub use peer::Peer;
pub use proxy::Proxy;
pub use redis::{RedisHarness, ValkeyHarness};
pub use wrong::Lie;

/// Says what a test has seen: to whoever watches it, and to the file that `LAUNCHKIT_SEEN` names, from which `make test` prints
/// it at its end.
pub fn tell(seen: &str) {
    use std::io::Write as _;
    println!("{seen}");
    if let Some(file) = std::env::var_os("LAUNCHKIT_SEEN") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).expect("a file to write to");
        file.write_all(format!("{seen}\n").as_bytes()).expect("it is written");
    }
}

/// The number that whoever runs a test asks for in this variable.
pub fn wish(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What this thread has computed so far. Unlike a clock it stands still while other threads have the processor, so a busy
/// machine does not look like slow code.
pub fn on_processor() -> std::time::Duration {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("what has been computed is never negative")
}
