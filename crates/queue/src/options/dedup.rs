//! What a caller may ask for so that the same work is not queued twice.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_DELAY;
use crate::error::BadOptions;
use crate::job::label;

/// A deduplication id: of all jobs of a queue that carry the same one, the first *owns* it, and others are dropped while
/// it does. [`crate::Queue::add`] answers them with the owner's id. The modes and what they do to each other are
/// BullMQ's:
///
/// * **simple** ([`Dedup::simple`]): others are dropped until the owner has completed or failed for good.
/// * **throttle** ([`Dedup::throttle`]): others are dropped for a time, whether or not the owner has ended by then.
/// * **debounce** ([`Dedup::debounce`], for jobs with a delay): a new job takes the place of one that still waits for its
///   time, so that only the last of many runs, a delay after it came. Once the owner has left `delayed`, new ones are
///   dropped, and no event tells it.
/// * **keep the last** ([`Dedup::keep_last`]): while the owner runs, the last one that came is remembered, and is added
///   when the owner has ended. Before that, dropped as with simple.
///
/// An attempt that will be retried is no end. The owner gives up the id also when it is removed, by hand, by a clean or
/// by a drain; [`crate::Queue::remove_deduplication`] frees one by hand.
///
/// ```
/// # use std::time::Duration;
/// # use launchkit_queue::{backend::Added, Dedup, Queue, Store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::new(&Store::memory(), "texts")?;
/// let first = queue.add_named("index", 1).deduplicate(Dedup::simple("index 7")).await?;
/// let again = queue.add_named("index", 1).deduplicate(Dedup::simple("index 7")).await?;
/// assert_eq!(again, Added::Deduplicated(first.id().clone()));
///
/// let wait = Duration::from_secs(5);
/// let save = |text| queue.add_named("save", text).delay(wait).deduplicate(Dedup::debounce("draft", wait));
/// save("dra").await?;
/// let last = save("draft").await?;
/// assert_eq!(queue.counts().await?.delayed, 1);
/// assert!(queue.get(last.id()).await?.is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dedup {
    /// The id, the queue's own: 1 to 255 bytes without control characters.
    pub id: Arc<str>,
    /// The owner gives it up after this long; it keeps it beyond its own end when that comes earlier. Whole
    /// milliseconds, at most 365 days.
    #[serde(default, with = "super::optional_millis", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// A job that is dropped starts `ttl` again.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub extend: bool,
    /// An owner that is delayed is removed, and the new job takes its place and the id.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub replace: bool,
    /// The last job that comes while the owner is active is added after the owner's end. No `ttl` counts with it.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub keep_last_if_active: bool,
    /// A job that is dropped gives its delay to an owner that is delayed, counted from now. Has no effect with `replace`.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub reschedule: bool,
}

impl Dedup {
    /// Others are dropped until the owner has ended.
    pub fn simple(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), ttl: None, extend: false, replace: false, keep_last_if_active: false, reschedule: false }
    }

    /// Others are dropped for this long.
    pub fn throttle(id: impl Into<Arc<str>>, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..Self::simple(id) }
    }

    /// For jobs with a delay, which `ttl` should equal: each takes the place of the one before.
    pub fn debounce(id: impl Into<Arc<str>>, ttl: Duration) -> Self {
        Self { extend: true, replace: true, ..Self::throttle(id, ttl) }
    }

    /// The last one that comes while the owner runs is added after its end.
    pub fn keep_last(id: impl Into<Arc<str>>) -> Self {
        Self { keep_last_if_active: true, ..Self::simple(id) }
    }

    pub(super) fn check(&self) -> Result<(), BadOptions> {
        label(&self.id).map_err(BadOptions::DedupId)?;
        match self.ttl {
            Some(ttl) if ttl < Duration::from_millis(1) || ttl > MAX_DELAY => Err(BadOptions::DedupTtl(ttl)),
            _ => Ok(()),
        }
    }
}
