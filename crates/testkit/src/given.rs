//! Jobs in any state, put there by legal verbs: what cases begin with.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{Failure, FailureKind, JobId, JobOptions, Keep, Outcome, Payload, QueueName, Timestamp};

mod states;

pub use states::*;

/// The time at which cases begin.
pub const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How long locks hold in cases.
pub const LOCK: Duration = Duration::from_secs(30);
/// A wait far longer than any machine needs: who sees it pass was not woken.
pub const LONG: Duration = Duration::from_secs(600);
/// How long a wake-up may take on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A queue of a store, with short words for its verbs. Every verb must succeed; cases about failures use the seam itself.
#[derive(Clone)]
pub struct Given {
    /// The store.
    pub backend: Arc<dyn Backend>,
    /// The queue.
    pub queue: QueueName,
    tokens: Arc<std::sync::atomic::AtomicU64>,
}

/// `T0` and this many milliseconds.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(T0.millis() + millis)
}

/// A failure of a handler.
pub fn boom() -> Failure {
    Failure::new(FailureKind::Error, "boom")
}

/// The end of one run, kept for ever.
pub fn verdict(lock: &Lock, outcome: Outcome) -> Verdict {
    Verdict { lock: lock.clone(), outcome, keep: Keep::ALL, ran: None }
}

/// JSON text as a payload.
pub fn json(text: &str) -> Payload {
    Payload::from_json(text.to_owned()).expect("JSON")
}

/// An id of a case's own.
pub fn id(text: &str) -> JobId {
    JobId::parse(text).expect("an id")
}

/// A new job with the queue's next number as its id.
pub fn job(options: JobOptions) -> NewJob {
    NewJob { id: None, name: "text".into(), data: json(r#"{"n":1}"#), options: Arc::new(options) }
}

/// A new job with its own id.
pub fn named(id: &str, options: JobOptions) -> NewJob {
    NewJob { id: Some(JobId::custom(id).expect("a custom id")), ..job(options) }
}

impl Given {
    /// The queue `cases` of a harness.
    pub fn on(harness: &impl crate::Harness) -> Self {
        Self::queue(harness, "cases")
    }

    /// A queue of a harness by name.
    pub fn queue(harness: &impl crate::Harness, name: &str) -> Self {
        Self::over(harness.backend(), QueueName::new(name).expect("a queue name"))
    }

    /// A queue of any store.
    pub fn over(backend: Arc<dyn Backend>, queue: QueueName) -> Self {
        Self { backend, queue, tokens: Arc::default() }
    }

    /// Adds jobs.
    pub async fn add(&self, jobs: Vec<NewJob>, now: Timestamp) -> Vec<Added> {
        self.backend.add(Add { queue: self.queue.clone(), jobs }, now).await.expect("add")
    }

    /// Adds jobs with ids of their own and default options.
    pub async fn waiting(&self, ids: &[&str], now: Timestamp) {
        self.add(ids.iter().map(|id| named(id, JobOptions::default())).collect(), now).await;
    }

    /// A token that was never used.
    pub fn token(&self) -> Token {
        let n = self.tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Token::new(format!("case:{n}"))
    }

    /// A take of this many jobs under a fresh token.
    pub fn wish(&self, most: usize) -> Take {
        Take { token: self.token(), mode: TakeMode::Fresh, most, lock_for: LOCK, rate: None }
    }

    /// A turn.
    pub async fn turn(&self, ends: Vec<Verdict>, take: Option<Take>, now: Timestamp) -> Turned {
        let turn = Turn { queue: self.queue.clone(), worker: "worker-1".into(), ends, take };
        self.backend.turn(turn, now).await.expect("turn")
    }

    /// Takes up to this many jobs.
    pub async fn take(&self, most: usize, now: Timestamp) -> Vec<Held> {
        self.turn(Vec::new(), Some(self.wish(most)), now).await.held
    }

    /// Takes up to this many jobs and answers their ids.
    pub async fn take_ids(&self, most: usize, now: Timestamp) -> Vec<String> {
        ids(&self.take(most, now).await)
    }

    /// Takes the job whose turn it is, which must be there.
    pub async fn one(&self, now: Timestamp) -> Held {
        self.take(1, now).await.pop().expect("a job is ready")
    }

    /// Ends one run, which must be possible.
    pub async fn settle(&self, lock: &Lock, outcome: Outcome, now: Timestamp) {
        assert_eq!(self.end(lock, outcome, now).await, End::Applied, "the end of {}", lock.id);
    }

    /// Asks for the jobs of a take again.
    pub async fn resume(&self, take: &Take, now: Timestamp) -> Vec<Held> {
        self.turn(Vec::new(), Some(Take { mode: TakeMode::Resume, ..take.clone() }), now).await.held
    }

    /// What comes next, without taking anything.
    pub async fn next(&self, now: Timestamp) -> Next {
        self.turn(Vec::new(), Some(self.wish(0)), now).await.next
    }

    /// Ends one run, kept for ever.
    pub async fn end(&self, lock: &Lock, outcome: Outcome, now: Timestamp) -> End {
        self.end_keeping(lock, outcome, Keep::ALL, now).await
    }

    /// Ends one run under a rule of retention.
    pub async fn end_keeping(&self, lock: &Lock, outcome: Outcome, keep: Keep, now: Timestamp) -> End {
        let verdict = Verdict { lock: lock.clone(), outcome, keep, ran: None };
        self.turn(vec![verdict], None, now).await.ends[0]
    }

    /// Renews locks.
    pub async fn beat(&self, locks: Vec<Lock>, now: Timestamp) -> Beaten {
        let beat = Beat { queue: self.queue.clone(), worker: worker("w1"), locks, lock_for: LOCK };
        self.backend.beat(beat, now).await.expect("beat")
    }

    /// Puts stalled jobs back, failing those that stalled more than `max_stalled` times.
    pub async fn rescue(&self, max_stalled: u32, now: Timestamp) -> Rescued {
        let rescue = Rescue { queue: self.queue.clone(), max_stalled, most: MAX_READ };
        self.backend.rescue(rescue, now).await.expect("rescue")
    }

    /// One change.
    pub async fn edit(&self, edit: Edit, now: Timestamp) -> Edited {
        let all = EditAll { queue: self.queue.clone(), edits: vec![edit] };
        self.backend.edit(all, now).await.expect("edit")[0]
    }

    /// One step of a sweep.
    pub async fn sweep(&self, what: SweepWhat, most: u32, now: Timestamp) -> Swept {
        let sweep = Sweep::all(self.queue.clone(), what, most);
        self.backend.sweep(sweep, now).await.expect("sweep")
    }

    /// Reads one job that must be there.
    pub async fn get(&self, id: &str) -> launchkit_queue::Record {
        self.find(id).await.unwrap_or_else(|| panic!("{id} is there"))
    }

    /// Reads one job.
    pub async fn find(&self, text: &str) -> Option<launchkit_queue::Record> {
        self.backend.get(&self.queue, &[id(text)]).await.expect("get").pop().flatten()
    }

    /// The counts.
    pub async fn counts(&self) -> launchkit_queue::Counts {
        self.backend.counts(&self.queue).await.expect("counts")
    }

    /// The ids in a state, in the order of its list.
    pub async fn list(&self, state: launchkit_queue::State) -> Vec<String> {
        let jobs = crate::invariants::all(&*self.backend, &self.queue, state).await;
        jobs.iter().map(|job| job.id.to_string()).collect()
    }

    /// All kept events as `name` or `name:id`, oldest first.
    pub async fn events(&self) -> Vec<String> {
        self.events_after(launchkit_queue::Position::START).await.iter().map(|(_, event)| brief(event)).collect()
    }

    /// The position of the newest event.
    pub async fn newest(&self) -> launchkit_queue::Position {
        self.backend.info(&self.queue, T0).await.expect("info").newest_event
    }

    /// Events after a position as `name` or `name:id`.
    pub async fn told(&self, after: launchkit_queue::Position) -> Vec<String> {
        self.events_after(after).await.iter().map(|(_, event)| brief(event)).collect()
    }

    /// All kept events after a position.
    pub async fn events_after(
        &self,
        mut after: launchkit_queue::Position,
    ) -> Vec<(launchkit_queue::Position, launchkit_queue::Event)> {
        let mut all = Vec::new();
        loop {
            let page = self.backend.events(&self.queue, after, MAX_READ).await.expect("events");
            if page.events.is_empty() {
                return all;
            }
            after = page.next;
            all.extend(page.events);
        }
    }
}

/// The ids of held jobs, in order.
pub fn ids(held: &[Held]) -> Vec<String> {
    held.iter().map(|held| held.lock.id.to_string()).collect()
}

/// An event as `name` or `name:id`.
pub fn brief(event: &launchkit_queue::Event) -> String {
    match event.job() {
        Some(id) => format!("{}:{id}", event.name()),
        None => event.name().to_owned(),
    }
}

/// A worker that beats.
pub fn worker(id: &str) -> WorkerInfo {
    WorkerInfo { id: id.into(), name: "worker-1".into(), slots: 5, started: T0, version: "0".into(), rate: None }
}
