//! The name of every key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::job::{JobId, QueueName};

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

    /// A key that is nobody's, to try commands on.
    pub(super) fn try_out(&self) -> String {
        format!("{}::lk-try:{:016x}", self.prefix, rand::random::<u64>())
    }

    /// What the names of connections begin with that wait for a queue's jobs, as `CLIENT LIST` shows them.
    pub(super) fn lines(&self, queue: &QueueName) -> String {
        visible(&format!("{}:{}", self.prefix, STANDARD.encode(queue.as_str())))
    }

    /// The name of the connection that looks at the server.
    pub(super) fn look(&self) -> String {
        visible(&format!("{}::lk-look", self.prefix))
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

    /// The queue of a base.
    pub(super) fn of_base(&self, base: &str) -> Option<QueueName> {
        QueueName::new(self.queue_of(base.strip_suffix(':')?)).ok()
    }

    /// The job that a full key means.
    pub(super) fn job(&self, key: &str) -> Option<(QueueName, JobId)> {
        let ours = key
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|rest| rest.split_once(':'));
        let (queue, id) = ours.or_else(|| {
            let (queue, id) = key.rsplit_once(':')?;
            Some((self.queue_of(queue), id))
        })?;
        Some((QueueName::new(queue).ok()?, JobId::stored(id)))
    }

    /// The text by which a child fails its parent, as readers know it: without the prefix. `None` when it is another text.
    pub(super) fn doom(&self, stored: &str) -> Option<String> {
        let rest = stored.strip_prefix("child ")?.strip_prefix(&self.prefix)?.strip_prefix(':')?;
        rest.ends_with(" failed").then(|| format!("child {rest}"))
    }

    /// The same text as it is stored, by which other fleets know it.
    pub(super) fn stored_doom(&self, told: &str) -> String {
        match told.strip_prefix("child ") {
            Some(rest) => format!("child {}:{rest}", self.prefix),
            None => told.to_owned(),
        }
    }
}

/// A text as the name of a connection: Redis takes visible ASCII only.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart() {
        let keys = Keys::new("bull");
        let job = |key: &str| keys.job(key).map(|(queue, id)| format!("{queue} {id}"));
        assert_eq!(job("bull:texts:a").as_deref(), Some("texts a"));
        assert_eq!(job("bull:texts:repeat:s:5").as_deref(), Some("texts repeat:s:5"));
        assert_eq!(job("other:texts:a").as_deref(), Some("texts a"));
        assert_eq!((job("a"), job("bull::a")), (None, None));
        assert_eq!(keys.of_base("bull:texts:").map(|queue| queue.to_string()).as_deref(), Some("texts"));
        assert_eq!((keys.of_base("texts"), keys.of_base("")), (None, None));
    }

    #[test]
    fn a_childs_failure_has_the_prefix_only_where_it_is_stored() {
        let keys = Keys::new("bull");
        let stored = keys.stored_doom("child texts:a failed");
        assert_eq!(stored, "child bull:texts:a failed");
        assert_eq!(keys.doom(&stored).as_deref(), Some("child texts:a failed"));
        assert_eq!((keys.doom("child labour"), keys.doom("boom")), (None, None));
    }
}
