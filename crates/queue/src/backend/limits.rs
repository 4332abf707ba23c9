//! How many jobs of a queue may start: at once, and in a time. Pure; both stores keep it beside the queue's counts.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::verbs::Next;
use crate::backoff::{MAX_BACKOFF, millis};
use crate::error::StoreError;
use crate::time::Timestamp;

/// At most so many starts in a time, in fixed windows: one begins with the first start after the one before is over, as in
/// BullMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// Starts.
    pub max: NonZeroU32,
    /// In this time.
    #[serde(rename = "duration", with = "millis")]
    pub per: Duration,
}

/// What a queue's operator has set, and where its window stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most so many active jobs, over all workers.
    pub concurrency: Option<NonZeroU32>,
    /// For all workers, whatever their own rates are.
    pub rate: Option<Rate>,
    /// Starts in the window.
    pub used: u32,
    /// When the window began: with its first start.
    pub window_start: Timestamp,
    /// Nothing starts before.
    pub until: Timestamp,
}

/// How many jobs may start now, and what is to be answered when there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) most: usize,
    pub(crate) next: Next,
}

/// The longest time of a rate.
pub const MAX_RATE_TIME: Duration = MAX_BACKOFF;

impl Rate {
    /// Refuses times that no window can have.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.per < Duration::from_millis(1) || self.per > MAX_RATE_TIME {
            return Err(StoreError::OutOfBounds("a rate's time is 1 ms to 365 days"));
        }
        Ok(())
    }

    /// The end of the window that began then; `None` when it is over, or when the clock was set back to before it.
    pub(super) fn window_end(&self, start: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let end = start.plus(self.per);
        (start <= now && now < end).then_some(end)
    }
}

impl Limits {
    /// When the next job may start, if that is later than `now`; `own` is the rate of whoever asks.
    pub fn limited_until(&self, own: Option<Rate>, now: Timestamp) -> Option<Timestamp> {
        if self.until > now {
            return Some(self.until);
        }
        let rate = self.rate.or(own)?;
        rate.window_end(self.window_start, now).filter(|_| self.used >= rate.max.get())
    }

    /// Whether as many jobs are active as may be.
    pub fn is_full(&self, active: u64) -> bool {
        self.concurrency.is_some_and(|most| active >= u64::from(most.get()))
    }

    pub(crate) fn room(&self, own: Option<Rate>, active: u64, now: Timestamp) -> Room {
        if let Some(until) = self.limited_until(own, now) {
            return Room { most: 0, next: Next::Limited(until) };
        }
        if self.is_full(active) {
            return Room { most: 0, next: Next::Full };
        }
        let by_rate = self.rate.or(own).map_or(u32::MAX, |rate| {
            let used = rate.window_end(self.window_start, now).map_or(0, |_| self.used);
            rate.max.get().saturating_sub(used)
        });
        let slots = |most: NonZeroU32| u64::from(most.get()).saturating_sub(active).try_into().unwrap_or(u32::MAX);
        let most = self.concurrency.map_or(u32::MAX, slots).min(by_rate);
        Room { most: most as usize, next: Next::More }
    }

    /// Whether a turn that leaves ready jobs behind calls somebody else. A look that changed nothing calls only when others
    /// may start what the looker's own rate forbids; else two idle workers would call each other for ever.
    pub(crate) fn calls(&self, own: Option<Rate>, active: u64, now: Timestamp, changed: bool) -> bool {
        let others = self.room(None, active, now);
        match others.next {
            Next::Full => false,
            // It is to know when it may start something.
            Next::Limited(_) => changed,
            _ => changed || own.is_some() || self.room(own, active, now).most > 0,
        }
    }

    /// Counts jobs that have started. Those that are handed out only to be failed do not count, as in BullMQ.
    pub(crate) fn started(&mut self, jobs: u32, own: Option<Rate>, now: Timestamp) {
        let Some(rate) = self.rate.or(own).filter(|_| jobs > 0) else { return };
        if rate.window_end(self.window_start, now).is_none() {
            (self.used, self.window_start) = (0, now);
        }
        self.used = self.used.saturating_add(jobs);
    }

    /// Holds everything back until then, or longer if that is said already.
    pub(crate) fn hold(&mut self, until: Timestamp) {
        self.until = self.until.max(until);
    }

    /// Forgets the window and whatever holds everything back.
    pub(crate) fn clear(&mut self) {
        *self = Limits { concurrency: self.concurrency, rate: self.rate, ..Limits::default() };
    }
}
