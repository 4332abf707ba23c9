//! Jobs in every state, and short words for options and outcomes.

use launchkit_queue::backend::*;
use launchkit_queue::{JobOptions, Outcome, State, Timestamp};

use super::*;

/// The ids that [`Given::in_each_state`] makes, with the state of each.
pub const EACH: [(&str, State); 6] = [
    ("w", State::Waiting),
    ("p", State::Prioritized),
    ("d", State::Delayed),
    ("a", State::Active),
    ("c", State::Completed),
    ("f", State::Failed),
];

/// Options with a priority.
pub fn urgent(priority: u32) -> JobOptions {
    JobOptions { priority, ..plain() }
}

/// Options with a delay in milliseconds.
pub fn after(millis: u64) -> JobOptions {
    JobOptions { delay: Duration::from_millis(millis), ..plain() }
}

/// Options with this many tries.
pub fn tries(attempts: u32) -> JobOptions {
    JobOptions { attempts, ..plain() }
}

/// Options of a job that goes first.
pub fn first() -> JobOptions {
    JobOptions { lifo: true, ..plain() }
}

/// Is tried again at a time.
pub fn again(at: Timestamp) -> Outcome {
    Outcome::Retry { at, failure: boom() }
}

impl Given {
    /// Adds a job and takes it, which must be the next one to be taken.
    pub async fn held(&self, text: &str, options: JobOptions, now: Timestamp) -> Held {
        self.add(vec![named(text, options)], now).await;
        let held = self.take(1, now).await.pop().expect("a job to take");
        assert_eq!(held.lock.id.as_str(), text, "is next to be taken");
        held
    }

    /// Adds a job, takes it and ends it, all at one time.
    pub async fn finish(&self, text: &str, options: JobOptions, outcome: Outcome, now: Timestamp) {
        let held = self.held(text, options, now).await;
        assert_eq!(self.end(&held.lock, outcome, now).await, End::Applied);
    }

    /// One job in each state of [`EACH`]; answers the lock of the active one. The delayed one is due after a minute.
    pub async fn in_each_state(&self, now: Timestamp) -> Lock {
        self.finish("c", plain(), done(), now).await;
        self.finish("f", plain(), dead(), now).await;
        let held = self.held("a", plain(), now).await;
        self.add(vec![named("w", plain()), named("p", urgent(5)), named("d", after(60_000))], now).await;
        held.lock
    }

    /// The kept log lines of a job, and how many there are said to be.
    pub async fn lines(&self, text: &str) -> (Vec<String>, u32) {
        let logs = self.backend.logs(&self.queue, &id(text), 0, MAX_READ).await.expect("logs");
        (logs.lines.iter().map(|line| line.to_string()).collect(), logs.total)
    }
}
