//! Why a job is not running now. Pure: what a store knows goes in, reasons come out, the deciding one first.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::backend::{Child, Facts, MAX_AHEAD, Rate};
use crate::job::Record;
use crate::state::State;
use crate::time::Timestamp;

mod group;

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its state; `None` when the queue does not hold it.
    pub state: Option<State>,
    /// The deciding reason first; never empty.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What kind of reason it is.
    pub code: Why,
    /// The sentence that users see.
    pub message: String,
    /// Since when it holds, when that is known.
    pub since: Option<Timestamp>,
    /// Until when it will hold, when that is known.
    pub until: Option<Timestamp>,
    /// Figures behind the sentence, by name.
    pub details: Map<String, Value>,
}

/// Kinds of reasons, written `queue-paused` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// The queue gives out no jobs.
    QueuePaused,
    /// It is not due yet.
    Delayed,
    /// An attempt failed, and the next one is not due yet.
    RetryBackoff,
    /// As many jobs have started as may in a time, or somebody has told the queue to wait.
    RateLimited,
    /// As many jobs of the queue are active as may be.
    ConcurrencyLimit,
    /// Its group gives out no jobs.
    GroupPaused,
    /// As many jobs of its group are active as may be.
    GroupConcurrency,
    /// As many jobs of its group have started as may in a time, or the group has been told to wait.
    GroupRateLimited,
    /// Children of it have not ended.
    WaitingForChildren,
    /// Others are taken before it, or every slot is taken; `ahead` says how many, of a group's job: how many of its group.
    BehindOthers,
    /// Nobody works on the queue.
    NoWorkers,
    /// It is held, but its worker has given no sign of life for the lock's time.
    LockLost,
    /// A handler has it.
    Running,
    /// It has ended.
    Finished,
    /// It came while the owner of its deduplication id was running, and is added when that has ended; `owner` names it.
    Deduplicated,
    /// The queue does not hold it.
    NotInQueue,
}

impl Reason {
    fn new(code: Why, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), since: None, until: None, details: Map::new() }
    }

    fn since(self, since: impl Into<Option<Timestamp>>) -> Self {
        Self { since: since.into(), ..self }
    }

    fn until(self, until: impl Into<Option<Timestamp>>) -> Self {
        Self { until: until.into(), ..self }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Explains where a job stands at `now`.
///
/// ```
/// use launchkit_queue::{Queue, Store, Why, explain};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let store = Store::memory();
/// let queue = Queue::new(&store, "texts").unwrap();
/// let id = queue.add_named("greet", "hello").await.unwrap().id().clone();
/// let explained = queue.explain(&id).await.unwrap();
/// assert_eq!(explained.reasons[0].code, Why::NoWorkers);
/// # });
/// ```
pub fn explain(facts: &Facts, now: Timestamp) -> Explanation {
    let Some(job) = &facts.job else {
        let reason = match &facts.follows {
            Some(owner) => {
                let message = format!("It is added when job {owner} has ended, which owns its deduplication id.");
                Reason::new(Why::Deduplicated, message).with("owner", owner.as_str())
            }
            None => Reason::new(Why::NotInQueue, "The queue does not hold this job."),
        };
        return Explanation { state: None, reasons: vec![reason] };
    };
    let reasons = match job.state {
        State::Waiting | State::Prioritized => ready(facts, job, now),
        State::Delayed => delayed(facts, job, now),
        State::Active => active(facts, job, now),
        State::Completed | State::Failed => vec![finished(job)],
        State::WaitingChildren => vec![waiting_children(facts, job)],
    };
    Explanation { state: Some(job.state), reasons }
}

fn ready(facts: &Facts, job: &Record, now: Timestamp) -> Vec<Reason> {
    let shut = paused(facts).into_iter().chain(rate_limited(facts, now)).chain(full(facts));
    let shut = shut.chain(group::shut(facts, now));
    let mut reasons: Vec<Reason> = shut.chain(no_workers(facts)).collect();
    let slots: usize = facts.info.workers.iter().map(|worker| worker.slots).sum();
    let active = facts.info.counts.active;
    let message = match facts.ahead {
        0 if !reasons.is_empty() => "It is next.".to_owned(),
        0 if active >= slots as u64 => format!("It is next; all {slots} slots of the workers are taken."),
        0 => "It is next and starts within moments.".to_owned(),
        1 => "One job is taken before it.".to_owned(),
        ahead if ahead > MAX_AHEAD => format!("More than {MAX_AHEAD} jobs are taken before it."),
        ahead => format!("{ahead} jobs are taken before it."),
    };
    let behind = Reason::new(Why::BehindOthers, group::message(facts, job, message)).since(job.since);
    let behind = behind.with("ahead", facts.ahead).with("active", active).with("slots", slots);
    reasons.push(group::beside(facts, job, behind));
    reasons
}

fn delayed(facts: &Facts, job: &Record, now: Timestamp) -> Vec<Reason> {
    let due = job.due.unwrap_or(now);
    let reason = match &job.failure {
        Some(failure) if job.made > 0 => {
            let (made, all) = (job.made, job.options.attempts.max(1));
            let message = format!("Attempt {made} of {all} failed: {}", failure.message);
            Reason::new(Why::RetryBackoff, message).with("attempt", made).with("attempts", all)
        }
        _ => Reason::new(Why::Delayed, "It is not to start before its time."),
    };
    let mut reasons = vec![reason.since(job.since).until(due)];
    reasons.extend(paused(facts));
    reasons.extend(no_workers(facts));
    if due <= now && reasons.len() > 1 {
        // Its time has come: what keeps it is something else.
        reasons.rotate_left(1);
    }
    reasons
}

fn active(facts: &Facts, job: &Record, now: Timestamp) -> Vec<Reason> {
    let worker = job.processed_by.as_deref().unwrap_or("a worker");
    let details = json!({"worker": worker, "attempt": job.made + 1, "started": job.started, "stalls": job.stalls});
    let details = details.as_object().cloned().unwrap_or_default();
    if facts.lock_until.is_some_and(|until| until > now) {
        let running = Reason::new(Why::Running, format!("{worker} is working on it.")).since(job.processed_on);
        return vec![Reason { details, ..running }];
    }
    let message = format!(
        "{worker} has given no sign of life for the time of its lock; the next worker that looks puts the job back."
    );
    let lost = Reason { details, ..Reason::new(Why::LockLost, message).since(facts.lock_until) };
    no_workers(facts).into_iter().chain([lost]).collect()
}

fn waiting_children(facts: &Facts, job: &Record) -> Reason {
    let name = |child: &Child| format!("{}:{}", child.queue, child.id);
    let stuck: Vec<String> = facts.children.iter().filter(|child| child.reason.is_some()).map(name).collect();
    let message = match (stuck.first(), facts.pending) {
        (Some(child), _) => format!(
            "Its child {child} failed, and nothing says what then becomes of its parent: retry it or remove it, or add \
             flows with a policy."
        ),
        (None, 1) => match facts.children.first() {
            Some(child) => format!("It waits for its child {}.", name(child)),
            None => "It waits for a child.".to_owned(),
        },
        (None, pending) => format!("It waits for {pending} children."),
    };
    let children: Vec<String> = facts.children.iter().map(name).collect();
    let reason = Reason::new(Why::WaitingForChildren, message).since(job.since);
    reason.with("pending", facts.pending).with("children", children).with("failed", stuck)
}

fn finished(job: &Record) -> Reason {
    let message = match (&job.failure, job.state) {
        (Some(failure), State::Failed) => format!("It failed: {}", failure.message),
        _ => "It is completed.".to_owned(),
    };
    Reason::new(Why::Finished, message).since(job.finished_on)
}

fn paused(facts: &Facts) -> Option<Reason> {
    facts.info.paused.then(|| Reason::new(Why::QueuePaused, "The queue is paused: it gives out no jobs."))
}

/// By the queue's rate, or by the workers' own when each of them has one; then the largest of them decides.
fn rate_limited(facts: &Facts, now: Timestamp) -> Option<Reason> {
    let own: Option<Vec<Rate>> = facts.info.workers.iter().map(|worker| worker.rate).collect();
    let own = own.and_then(|rates| rates.into_iter().max_by_key(|rate| rate.max));
    let limits = &facts.info.limits;
    let until = limits.limited_until(own, now)?;
    let (message, details) = match limits.rate.or(own).filter(|_| limits.until < until) {
        Some(rate) => (
            format!("{} jobs have started within {:?}, as many as may.", limits.used, rate.per),
            json!({"max": rate.max, "duration": rate.per.as_millis() as u64}),
        ),
        None => ("The queue has been told to start nothing for a while.".to_owned(), json!({})),
    };
    let details = details.as_object().cloned().unwrap_or_default();
    Some(Reason { details, ..Reason::new(Why::RateLimited, message).until(until) })
}

fn full(facts: &Facts) -> Option<Reason> {
    let (limits, active) = (&facts.info.limits, facts.info.counts.active);
    let most = limits.concurrency.filter(|_| limits.is_full(active))?;
    let message = format!("{active} jobs of the queue are active, as many as may be.");
    Some(Reason::new(Why::ConcurrencyLimit, message).with("active", active).with("concurrency", most.get()))
}

fn no_workers(facts: &Facts) -> Option<Reason> {
    let none = "No worker of this queue has given a sign of life within the last minute.";
    facts.info.workers.is_empty().then(|| Reason::new(Why::NoWorkers, none))
}
