//! The name of every key.

use crate::job::QueueName;

/// Names under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What the keys of a queue and of its jobs begin with (BullMQ's `P:Q:`).
    pub(super) fn base(&self, queue: &QueueName) -> String {
        format!("{}:{queue}:", self.prefix)
    }

    /// A queue as its children's `parent` field names it.
    pub(super) fn qualified(&self, queue: &QueueName) -> String {
        format!("{}:{queue}", self.prefix)
    }

    /// What our own keys of a queue begin with. The empty second part keeps them out of BullMQ's sight, whose clean-up of
    /// orphans takes whatever lies under `P:Q:` for a job.
    pub(super) fn own(&self, queue: &QueueName) -> String {
        format!("{}::lk:{queue}:", self.prefix)
    }

    /// The names of all queues that anything was ever written to.
    pub(super) fn queues(&self) -> String {
        format!("{}::lk-queues", self.prefix)
    }

    /// Whose store this is.
    pub(super) fn deployment(&self) -> String {
        format!("{}::lk-deployment", self.prefix)
    }

    /// Where a budget stands.
    pub(super) fn budget(&self, name: &str) -> String {
        format!("{}::lk-budget:{name}", self.prefix)
    }

    /// The queue that a qualified name means; its last part when the prefix is another one.
    pub(super) fn queue_of<'a>(&self, qualified: &'a str) -> &'a str {
        let ours = qualified.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(':'));
        ours.unwrap_or_else(|| qualified.rsplit(':').next().unwrap_or(qualified))
    }
}
