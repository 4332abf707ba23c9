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

/// Options without any wish.
pub fn plain() -> JobOptions {
    JobOptions::default()
}

/// Options with a priority.
pub fn priority(priority: u32) -> JobOptions {
    JobOptions { priority, ..plain() }
}

/// Options with a delay in milliseconds.
pub fn delay(millis: u64) -> JobOptions {
    JobOptions { delay: Duration::from_millis(millis), ..plain() }
}

/// Options with this many tries.
pub fn tries(attempts: u32) -> JobOptions {
    JobOptions { attempts, ..plain() }
}

/// Options with LIFO.
pub fn lifo() -> JobOptions {
    JobOptions { lifo: true, ..plain() }
}

/// Ends well, with the result 7.
pub fn done() -> Outcome {
    Outcome::Done(json("7"))
}

/// Ends badly.
pub fn dead() -> Outcome {
    Outcome::Dead(boom())
}

/// Is tried again at a time.
pub fn retry(at: Timestamp) -> Outcome {
    Outcome::Retry { at, failure: boom() }
}

impl Given {
    /// Adds a job and takes it, which must be the next one to be taken.
    pub async fn held(&self, text: &str, options: JobOptions, now: Timestamp) -> Held {
        self.add(vec![named(text, options)], now).await;
        let held = self.one(now).await;
        assert_eq!(held.lock.id.as_str(), text, "is next to be taken");
        held
    }

    /// The same, of which only the lock matters.
    pub async fn hold(&self, text: &str, options: JobOptions, now: Timestamp) -> Lock {
        self.held(text, options, now).await.lock
    }

    /// Adds a job, takes it and ends it, all at one time.
    pub async fn finish(&self, text: &str, options: JobOptions, outcome: Outcome, now: Timestamp) {
        let lock = self.hold(text, options, now).await;
        self.settle(&lock, outcome, now).await;
    }

    /// One job in each state of [`EACH`]; answers the lock of the active one. The delayed one is due after a minute.
    pub async fn in_each_state(&self, now: Timestamp) -> Lock {
        self.finish("c", plain(), done(), now).await;
        self.finish("f", plain(), dead(), now).await;
        let held = self.held("a", plain(), now).await;
        self.add(vec![named("w", plain()), named("p", priority(5)), named("d", delay(60_000))], now).await;
        held.lock
    }

    /// The kept log lines of a job, and how many there are said to be.
    pub async fn lines(&self, text: &str) -> (Vec<String>, u32) {
        let logs = self.backend.logs(&self.queue, &id(text), 0, MAX_READ).await.expect("logs");
        (logs.lines.iter().map(|line| line.to_string()).collect(), logs.total)
    }
}
