//! What a queue did, minute by minute. Pure; both stores write it in the transaction of what is counted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::verbs::Verdict;
use crate::exit::Outcome;
use crate::time::Timestamp;

/// Minutes that are kept: two weeks, BullMQ's larger example.
pub const MAX_MINUTES: u32 = 20_160;
const MINUTE: i64 = 60_000;

/// How many times were at most this long, in milliseconds; one more bucket is for those that were longer.
pub const BUCKETS: [u64; 16] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];

/// Times, counted by how long they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many fell into each bucket of [`BUCKETS`], not the smaller ones; the last is for what was longer.
    pub counts: [u64; BUCKETS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum: u64,
}

impl Histogram {
    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.counts[BUCKETS.partition_point(|limit| *limit < millis)] += 1;
        self.sum = self.sum.saturating_add(millis);
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// One minute of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// When it began.
    pub at: Timestamp,
    /// Jobs completed.
    pub completed: u64,
    /// Jobs failed for good; attempts that are tried again do not count, as in BullMQ.
    pub failed: u64,
    /// From becoming ready to being taken.
    pub wait: Histogram,
    /// Of handlers, also of attempts that are tried again.
    pub run: Histogram,
}

impl Minute {
    /// The number of the minute that a time lies in.
    pub(crate) fn number(now: Timestamp) -> i64 {
        now.millis().div_euclid(MINUTE)
    }

    /// An empty minute.
    pub(crate) fn of(number: i64) -> Self {
        Self { at: Timestamp::from_millis(number.saturating_mul(MINUTE)), ..Self::default() }
    }

    /// Counts an end that was applied.
    pub(crate) fn ended(&mut self, verdict: &Verdict) {
        match verdict.outcome {
            Outcome::Done(_) => self.completed += 1,
            Outcome::Dead(_) => self.failed += 1,
            Outcome::Retry { .. }
            | Outcome::Later(_)
            | Outcome::Back
            | Outcome::SlowDown(_)
            | Outcome::SlowDownGroup(_)
            | Outcome::AwaitChildren => {}
        }
        if let Some(ran) = verdict.ran {
            self.run.add(ran);
        }
    }

    pub(crate) fn merge(&mut self, other: &Minute) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.wait.merge(&other.wait);
        self.run.merge(&other.run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let mut times = Histogram::default();
        for millis in [0, 1, 2, 3, 300_000, 300_001] {
            times.add(Duration::from_millis(millis));
        }
        times.add(Duration::MAX);
        let mut expected = [0; BUCKETS.len() + 1];
        (expected[0], expected[1], expected[2], expected[15], expected[16]) = (2, 1, 1, 1, 2);
        assert_eq!((times.counts, times.count(), times.sum), (expected, 7, u64::MAX));
    }
}
