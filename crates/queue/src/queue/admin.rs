//! Operations on a whole queue. Those over many jobs run in bounded steps; another process sees each step as it is done.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Queue;
use crate::backend::{Control, Cursor, HeldJobs, MAX_READ, Obliterated, Pick, Rate, Sweep, SweepWhat, Swept};
use crate::error::{ObliterateError, StoreError};
use crate::state::State;
use crate::time::Timestamp;

/// Whole-queue operations; see [`Queue::admin`].
#[derive(Debug)]
pub struct Admin<'a> {
    queue: &'a Queue,
}

impl<'a> Admin<'a> {
    pub(super) fn new(queue: &'a Queue) -> Self {
        Self { queue }
    }

    /// Gives out no more jobs, to any worker. Held ones run on, delayed ones still become ready. On Redis, a queue that BullMQ 5
    /// opened last is not paused: its clients would overwrite jobs (docs/from-bullmq.md).
    pub async fn pause(&self) -> Result<(), StoreError> {
        self.control(Control::Pause).await
    }

    /// Gives out jobs again.
    pub async fn resume(&self) -> Result<(), StoreError> {
        self.control(Control::Resume).await
    }

    /// Removes jobs of a final state that finished at least `grace` ago, oldest first, `most` at the most; answers how
    /// many. Any other state is refused.
    pub async fn clean(&self, state: State, grace: Duration, most: u64) -> Result<u64, StoreError> {
        let before = self.queue.clock().now().minus(grace);
        self.sweep(SweepWhat::Clean(state, before), most).await
    }

    /// Removes jobs that wait, with or without a priority; active, delayed and finished ones stay.
    pub async fn drain(&self) -> Result<u64, StoreError> {
        self.sweep(SweepWhat::DrainWaiting, u64::MAX).await
    }

    /// Removes delayed jobs.
    pub async fn drain_delayed(&self) -> Result<u64, StoreError> {
        self.sweep(SweepWhat::DrainDelayed, u64::MAX).await
    }

    /// Makes jobs ready again that had failed when this was called; their priorities stay, their attempts stay counted.
    pub async fn retry_failed(&self, most: u64) -> Result<u64, StoreError> {
        self.sweep(SweepWhat::RetryFailed(self.queue.clock().now()), most).await
    }

    /// Makes delayed jobs ready, next due first.
    pub async fn promote_all(&self, most: u64) -> Result<u64, StoreError> {
        self.sweep(SweepWhat::PromoteDelayed, most).await
    }

    /// Removes the queue with all that it holds, after pausing it: jobs in steps of up to 1,000, then its schedulers, groups,
    /// settings, counters and events. Answers how many jobs are gone. Workers should have stopped: what they hold is refused,
    /// or removed under their hands, as `held` says. Names are free for a new queue, whose ids begin with 1 (BullMQ
    /// `obliterate`). When the store fails half way the queue stays paused: call again.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use launchkit_queue::{HeldJobs, Queue, Store};
    ///
    /// let store = Store::memory();
    /// let queue = Queue::new(&store, "texts").unwrap();
    /// queue.add_named("count", &"three little words").await.unwrap();
    /// assert_eq!(queue.admin().obliterate(HeldJobs::Refuse).await.unwrap(), 1);
    /// assert!(store.queues().await.unwrap().is_empty());
    /// # });
    /// ```
    pub async fn obliterate(&self, held: HeldJobs) -> Result<u64, ObliterateError> {
        self.pause().await?;
        let mut all = 0;
        loop {
            let step = self.queue.backend().obliterate(self.queue.name(), held, MAX_READ, self.queue.clock().now());
            match step.await? {
                Obliterated::More(gone) => all += u64::from(gone),
                Obliterated::All(gone) => return Ok(all + u64::from(gone)),
                // Somebody has resumed it.
                Obliterated::NotPaused => return Err(ObliterateError::Resumed),
                Obliterated::Held => return Err(ObliterateError::Held),
            }
        }
    }

    /// At most so many active jobs, over all workers; `None` lifts the limit (BullMQ `setGlobalConcurrency`).
    pub async fn set_concurrency(&self, most: Option<NonZeroU32>) -> Result<(), StoreError> {
        self.control(Control::Concurrency(most)).await
    }

    /// At most so many starts in a time, for all workers, whatever rates they have; `None` leaves it to them (BullMQ
    /// `setGlobalRateLimit`). Its time is 1 ms to 365 days.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use launchkit_queue::{Queue, Rate, Store};
    ///
    /// let queue = Queue::new(&Store::memory(), "texts").unwrap();
    /// let rate = Rate { max: NonZeroU32::new(100).unwrap(), per: Duration::from_secs(60) };
    /// queue.admin().set_rate_limit(Some(rate)).await.unwrap();
    /// assert_eq!(queue.info().await.unwrap().limits.rate, Some(rate));
    /// # });
    /// ```
    pub async fn set_rate_limit(&self, rate: Option<Rate>) -> Result<(), StoreError> {
        self.control(Control::Rate(rate)).await
    }

    /// Starts nothing for this long, whether or not there is a rate; running jobs go on (BullMQ `rateLimit`).
    pub async fn hold(&self, wait: Duration) -> Result<(), StoreError> {
        self.control(Control::HoldUntil(self.queue.clock().now().plus(wait))).await
    }

    /// Forgets the starts of the running window, and any hold (BullMQ `removeRateLimitKey`).
    pub async fn clear_rate_limit(&self) -> Result<(), StoreError> {
        self.control(Control::ClearRate).await
    }

    async fn control(&self, what: Control) -> Result<(), StoreError> {
        self.queue.backend().control(self.queue.name(), what, self.queue.clock().now()).await
    }

    /// Failed jobs of a choice, to be looked at or made ready again in steps: dead letters.
    ///
    /// ```
    /// use launchkit_queue::{Pick, Queue, Store};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let queue = Queue::new(&Store::memory(), "texts").unwrap();
    /// let timeouts = Pick { error: Some("timed out".into()), ..Pick::default() };
    /// let mut dry = queue.admin().dead_letters(timeouts.clone());
    /// while let Some(step) = dry.look().await.unwrap() {
    ///     println!("{} of {} failed jobs would run again", step.done.len(), step.scanned);
    /// }
    /// let mut letters = queue.admin().dead_letters(timeouts);
    /// while let Some(step) = letters.retry().await.unwrap() {
    ///     println!("{} of {} failed jobs are ready again", step.done.len(), step.scanned);
    /// }
    /// # });
    /// ```
    pub fn dead_letters(&self, pick: Pick) -> DeadLetters {
        let what = SweepWhat::RetryFailed(self.queue.clock().now());
        let step = Sweep { pick, ..Sweep::all(self.queue.name().clone(), what, MAX_READ) };
        DeadLetters { queue: self.queue.clone(), step: Some(step) }
    }

    async fn sweep(&self, what: SweepWhat, most: u64) -> Result<u64, StoreError> {
        // It goes on behind what it may not take away: an id without a job, say.
        let (mut done, mut after) = (0, None);
        while done < most {
            let step = u64::from(MAX_READ).min(most - done) as u32;
            let sweep = Sweep { after, ..Sweep::all(self.queue.name().clone(), what, step) };
            let swept = self.queue.backend().sweep(sweep, self.queue.clock().now()).await;
            let swept = swept.map_err(|failed| failed.why)?;
            done += swept.done.len() as u64;
            after = swept.next;
            if after.is_none() {
                break;
            }
        }
        Ok(done)
    }
}

/// A walk over the failed jobs that there were when it began, oldest first, up to 1,000 looked at in a step. It can be left
/// at any step; each is one transaction, and other work goes on between them.
#[derive(Debug)]
pub struct DeadLetters {
    queue: Queue,
    step: Option<Sweep>,
}

impl DeadLetters {
    /// Looks at the next ones and changes nothing; `None` after the last.
    pub async fn look(&mut self) -> Result<Option<Swept>, StoreError> {
        self.go(true).await
    }

    /// Makes the chosen ones of the next ready again, their attempts counted as they are; `None` after the last.
    pub async fn retry(&mut self) -> Result<Option<Swept>, StoreError> {
        self.go(false).await
    }

    /// Looks at so many in each step from now on; at most 1,000.
    pub fn step(mut self, most: u32) -> Self {
        if let Some(step) = &mut self.step {
            step.most = most;
        }
        self
    }

    /// Where the walk stands, as a text by which another one goes on; `None` after the last step.
    ///
    /// ```
    /// # use launchkit_queue::{Pick, Queue, Store};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let queue = Queue::new(&Store::memory(), "texts").unwrap();
    /// let mut letters = queue.admin().dead_letters(Pick::default()).step(100);
    /// letters.retry().await.unwrap();
    /// if let Some(place) = letters.place() {
    ///     // In another process, say, an hour later: jobs that have failed since the walk began are not met.
    ///     let rest = queue.admin().dead_letters(Pick::default()).from_place(&place).unwrap();
    /// }
    /// # });
    /// ```
    pub fn place(&self) -> Option<String> {
        let step = self.step.as_ref()?;
        let SweepWhat::RetryFailed(before) = step.what else { return None };
        let Cursor(first, second) = step.after.unwrap_or(Cursor(i64::MIN, i64::MIN));
        Some(format!("{}.{first}.{second}", before.millis()))
    }

    /// Goes on where another walk over the same queue stood; `None` when the text names no place.
    pub fn from_place(mut self, place: &str) -> Option<Self> {
        let mut numbers = place.splitn(3, '.').map(|part| part.parse::<i64>().ok());
        let (before, first, second) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if let Some(step) = &mut self.step {
            step.what = SweepWhat::RetryFailed(Timestamp::from_millis(before));
            step.after = Some(Cursor(first, second));
        }
        Some(self)
    }

    async fn go(&mut self, dry: bool) -> Result<Option<Swept>, StoreError> {
        let Some(step) = &mut self.step else { return Ok(None) };
        step.dry = dry;
        let swept = self.queue.backend().sweep(step.clone(), self.queue.clock().now()).await;
        let swept = swept.map_err(|failed| failed.why)?;
        step.after = swept.next;
        if swept.next.is_none() {
            self.step = None;
        }
        Ok(Some(swept))
    }
}
