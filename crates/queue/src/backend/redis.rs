//! The store on Redis or Valkey, in the data layout of BullMQ 6: Node, Python, Elixir, PHP and Rust BullMQ producers and workers
//! and their dashboards share its queues.
//!
//! Every write is one script, which does for many jobs what BullMQ's do for one. What BullMQ has no place for lies in fields
//! of a job's hash that begin with `lk:`, or under keys that begin with `<prefix>::lk:`.

mod link;
mod script;

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where: `redis://user:password@host:port/database`, `rediss://` for TLS, or `unix:path`.
    pub url: String,
    /// What all keys begin with; `bull` as in BullMQ.
    pub prefix: String,
}

impl RedisOptions {
    /// A server, with BullMQ's prefix.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "bull".to_owned() }
    }
}

/// A store on Redis or Valkey.
pub struct Redis;
