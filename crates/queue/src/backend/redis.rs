//! The store on Redis or Valkey, in the data layout of BullMQ 6: Node, Python, Elixir, PHP and Rust BullMQ producers and workers
//! and their dashboards share its queues.
//!
//! Every write is one script, which does for many jobs what BullMQ's do for one. What BullMQ has no place for lies in fields
//! of a job's hash that begin with `lk:`, or under keys that begin with `<prefix>::lk:`.

mod link;
mod options;
mod script;
mod wake;

pub use link::RedisHealth;
pub use options::{BadRedisUrl, RedisOptions};

/// A store on Redis or Valkey.
pub struct Redis;
