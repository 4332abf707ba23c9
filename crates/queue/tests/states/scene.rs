//! A queue of its own with one job in one state.

use launchkit_queue::backend::*;
use launchkit_queue::{ChildFailure, Position, QueueName, Timestamp};
use launchkit_testkit::given::*;
use launchkit_testkit::{Given, Harness};

/// When acts happen.
pub(crate) const NOW: Timestamp = T0;
/// When the delayed job is due.
pub(crate) const DUE: i64 = 60_000;

/// Where a job is before an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Nowhere,
    Waiting,
    Prioritized,
    Delayed,
    Active,
    Stalled,
    WaitingChildren,
    Completed,
    Failed,
}

impl Start {
    pub(crate) const ALL: [Start; 9] = [
        Start::Nowhere,
        Start::Waiting,
        Start::Prioritized,
        Start::Delayed,
        Start::Active,
        Start::Stalled,
        Start::WaitingChildren,
        Start::Completed,
        Start::Failed,
    ];

    /// The state's name; a stalled job is an active one whose lock has ended.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Start::Nowhere => "-",
            Start::Waiting => "waiting",
            Start::Prioritized => "prioritized",
            Start::Delayed => "delayed",
            Start::Active => "active",
            Start::Stalled => "stalled",
            Start::WaitingChildren => "waiting-children",
            Start::Completed => "completed",
            Start::Failed => "failed",
        }
    }
}

/// The job is `j`; its child, if it has one, is `c` in another queue.
pub(crate) struct Scene {
    pub(crate) start: Start,
    pub(crate) q: Given,
    pub(crate) children: Given,
    /// Of the run that goes on or was the last one; else one that nobody has had.
    pub(crate) lock: Lock,
}

impl Scene {
    pub(crate) async fn set(harness: &impl Harness, start: Start, act: &str) -> Self {
        let name: String =
            format!("{act} {}", start.name()).chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let queue = |kind: &str| QueueName::new(&format!("{kind}-{name}")).expect("a name");
        let q = Given::over(harness.backend(), queue("of"));
        let children = Given::over(harness.backend(), queue("under"));
        let long_ago = Timestamp::from_millis(NOW.millis() - 2 * LOCK.as_millis() as i64);
        let lock = match start {
            Start::Active => q.hold("j", tries(3), NOW).await,
            Start::Stalled => q.hold("j", tries(3), long_ago).await,
            Start::Completed | Start::Failed => {
                let outcome = if start == Start::Completed { done() } else { dead() };
                let lock = q.hold("j", plain(), NOW).await;
                q.settle(&lock, outcome, NOW).await;
                lock
            }
            _ => {
                match start {
                    Start::Waiting => q.waiting(&["j"], NOW).await,
                    Start::Prioritized => drop(q.add(vec![named("j", priority(5))], NOW).await),
                    Start::Delayed => drop(q.add(vec![named("j", delay(DUE as u64))], NOW).await),
                    Start::WaitingChildren => add_family(&q, &children).await,
                    _ => {}
                }
                Lock { id: id("j"), token: q.token(), row: 0 }
            }
        };
        Self { start, q, children, lock }
    }

    /// Where the job is.
    pub(crate) async fn place(&self) -> String {
        self.q.find("j").await.map_or_else(|| "-".to_owned(), |job| job.state.name().to_owned())
    }

    /// What has been told after a position.
    pub(crate) async fn told(&self, after: Position) -> String {
        let told = self.q.told(after).await;
        let names: Vec<&str> = told.iter().map(|event| event.strip_suffix(":j").unwrap_or(event)).collect();
        names.join(", ")
    }
}

async fn add_family(q: &Given, children: &Given) {
    let parent = Node { queue: q.queue.clone(), job: named("j", plain()), parent: None };
    let under = Under { parent: Parent::Node(0), on_failure: ChildFailure::FailParent };
    let child = Node { queue: children.queue.clone(), job: named("c", plain()), parent: Some(under) };
    q.backend.add_flow(AddFlow { nodes: vec![parent, child] }, NOW).await.expect("a family");
}
