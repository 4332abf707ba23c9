//! Flows as users see them: building trees of jobs, adding them, reading and removing children.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Planned, Queue};
use crate::backend::{
    Add, AddFlow, Added, Children, Edit, Edited, Flowed, MAX_ADD, Node, Parent, Refusal, Refused, Under,
};
use crate::backoff::Backoff;
use crate::error::{AddError, EditError, Happened, StoreError};
use crate::job::{ChildFailure, JobId, JobKind, QueueName};
use crate::options::{Group, JobOptions, Keep};

mod remove;

pub use remove::{RemoveError, Removed};

/// A job and the jobs that it waits for, to be added all at once with [`Queue::add_flow`]. Jobs of a flow may be of several
/// queues of one store.
///
/// A job with children starts in `waiting-children`. When the last of them has ended it becomes ready, in front of its class
/// (or delayed, when it has a delay), and its handler reads what they answered with `Active::children`.
///
/// ```
/// # use launchkit_queue::{ChildFailure, Flow, Queue, State, Store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::memory();
/// let (reports, texts) = (Queue::new(&store, "reports")?, Queue::new(&store, "texts")?);
/// let flow = Flow::named(&reports, "report", &7)
///     .child(Flow::named(&texts, "summary", &1).attempts(3).on_failure(ChildFailure::Ignore))
///     .child(Flow::named(&texts, "summary", &2).on_failure(ChildFailure::FailParent));
/// let added = reports.add_flow(flow).await?;
/// let report = reports.get(added[0].id()).await?.expect("it was added");
/// assert_eq!(report.state, State::WaitingChildren);
/// assert_eq!(reports.children(added[0].id(), 0, 100).await?.pending, 2);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Flow {
    nodes: Vec<Piece>,
    root: usize,
}

#[derive(Debug)]
struct Piece {
    queue: Queue,
    planned: Planned,
    options: JobOptions,
    on_failure: ChildFailure,
    children: Vec<usize>,
}

/// Why a flow was not added. Nothing of it was, but for [`FlowError::Store`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// One of its jobs cannot be stored.
    #[error(transparent)]
    Job(#[from] AddError),
    /// More than 10,000 jobs.
    #[error("{0} jobs in one flow; at most 10,000 are allowed")]
    TooMany(usize),
    /// Its queues are not of one store.
    #[error("the queues of a flow must be of one store")]
    OtherStore,
    /// A job within it has a deduplication id, which means one job, not a tree.
    #[error("a job of a flow cannot have a deduplication id, unless it is alone")]
    Deduplicated,
    /// One job stands in it twice.
    #[error("the job {id} of the queue {queue} stands twice in the flow")]
    Twice {
        /// Its queue.
        queue: QueueName,
        /// Its id.
        id: JobId,
    },
    /// It does not fit to what is stored.
    #[error("the job {} of the queue {queue} cannot be added: {why}", .id.as_ref().map_or("without an id", JobId::as_str))]
    Refused {
        /// The queue of the job at which it was refused.
        queue: QueueName,
        /// The id of that job, if it has one of its own.
        id: Option<JobId>,
        /// What is wrong.
        why: Refusal,
    },
    /// The store failed. When `happened` is [`Happened::Unknown`], a flow whose jobs all have their own ids may be added
    /// again: what is there is left as it is. One whose parents have ended meanwhile is refused.
    #[error("{why}")]
    Store {
        /// What went wrong.
        why: StoreError,
        /// Whether it may have been added all the same.
        happened: Happened,
    },
}

impl Flow {
    /// A job of a known kind without children, with the kind's options.
    pub fn new<J: JobKind>(queue: &Queue, job: J) -> Self {
        Self::of(queue, Planned::new(&job), J::options())
    }

    /// A job known by name only.
    pub fn named<D: Serialize + ?Sized>(queue: &Queue, name: &str, data: &D) -> Self {
        Self::of(queue, Planned::named(name, data), JobOptions::default())
    }

    fn of(queue: &Queue, planned: Planned, options: JobOptions) -> Self {
        let piece =
            Piece { queue: queue.clone(), planned, options, on_failure: ChildFailure::default(), children: Vec::new() };
        Self { nodes: vec![piece], root: 0 }
    }

    /// A child, with all that it waits for itself.
    pub fn child(mut self, mut child: Flow) -> Self {
        // The smaller part moves, so that building a tree costs the same from above and from below.
        if child.nodes.len() > self.nodes.len() {
            let offset = child.nodes.len();
            let (top, root) = (self.root + offset, child.root);
            child.append(self);
            child.root = top;
            child.nodes[top].children.push(root);
            return child;
        }
        let root = child.root + self.nodes.len();
        self.append(child);
        let top = self.root;
        self.nodes[top].children.push(root);
        self
    }

    fn append(&mut self, other: Flow) {
        let offset = self.nodes.len();
        self.nodes.extend(other.nodes.into_iter().map(|mut piece| {
            piece.children.iter_mut().for_each(|child| *child += offset);
            piece
        }));
    }

    fn top(&mut self) -> &mut Piece {
        &mut self.nodes[self.root]
    }

    /// What the final failure of this job means for its parent; [`ChildFailure::Wait`] unless said.
    pub fn on_failure(mut self, on_failure: ChildFailure) -> Self {
        self.top().on_failure = on_failure;
        self
    }

    /// The caller's own id. A job that exists under it already is not added again but linked, unless another living job
    /// waits for it.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.top().planned.set_id(id.into());
        self
    }

    /// All options at once.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.top().options = options;
        self
    }

    /// 1 is the most urgent, 2,097,151 the least; 0 (none) comes before all of them.
    pub fn priority(mut self, priority: u32) -> Self {
        self.top().options.priority = priority;
        self
    }

    /// The group in which it takes its turn; see [`Queue::groups`].
    pub fn group(mut self, group: impl Into<Group>) -> Self {
        self.top().options.group = Some(group.into());
        self
    }

    /// Not before this long from now, or from the end of its children when it has some; at most 365 days.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.top().options.delay = delay;
        self
    }

    /// Tries in all.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.top().options.attempts = attempts;
        self
    }

    /// The wait between tries.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.top().options.backoff = backoff;
        self
    }

    /// How long one attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.top().options.timeout = Some(timeout);
        self
    }

    /// How long it stays readable after a success. Its parent knows its result in any case.
    pub fn keep_completed(mut self, keep: Keep) -> Self {
        self.top().options.keep_completed = keep;
        self
    }

    /// How long it stays readable after its final failure. Under [`ChildFailure::Wait`], one that is not kept at all no
    /// longer holds up its parent.
    pub fn keep_failed(mut self, keep: Keep) -> Self {
        self.top().options.keep_failed = keep;
        self
    }

    /// The nodes of this flow under a parent, each behind its own parent and before what was added after it.
    fn unfold(self, parent: Option<Parent>, nodes: &mut Vec<Node>) -> Result<(), FlowError> {
        let mut pieces: Vec<Option<Piece>> = self.nodes.into_iter().map(Some).collect();
        let mut stack = vec![(self.root, parent)];
        while let Some((at, parent)) = stack.pop() {
            let Some(piece) = pieces[at].take() else { continue };
            let under = parent.map(|parent| Under { parent, on_failure: piece.on_failure });
            let own = nodes.len();
            stack.extend(piece.children.into_iter().rev().map(|child| (child, Some(Parent::Node(own)))));
            let job = piece.planned.options(piece.options).check()?;
            nodes.push(Node { queue: piece.queue.name().clone(), job, parent: under });
        }
        Ok(())
    }
}

impl Queue {
    /// Adds a flow of up to 10,000 jobs, all or none; its queues must be of this queue's store. Answers in the order of the
    /// tree: each job before its children, and those as they were given. Jobs whose own id exists already are answered as
    /// [`Added::Existing`]: one that nobody waits for becomes the child that it is here, and if it has ended that counts at
    /// once.
    pub async fn add_flow(&self, flow: Flow) -> Result<Vec<Added>, FlowError> {
        self.add_all_flows(None, vec![flow]).await
    }

    /// Adds flows under a job of this queue that has not ended: it is then waited for by nobody else. Answers in the order of
    /// the trees, one after the other. A job that waits already waits for these too; another one waits when its handler
    /// answers [`Exit::AwaitChildren`](crate::Exit::AwaitChildren).
    pub async fn add_children(&self, id: &JobId, flows: Vec<Flow>) -> Result<Vec<Added>, FlowError> {
        self.add_all_flows(Some(id), flows).await
    }

    async fn add_all_flows(&self, parent: Option<&JobId>, flows: Vec<Flow>) -> Result<Vec<Added>, FlowError> {
        let count: usize = flows.iter().map(|flow| flow.nodes.len()).sum();
        if count > MAX_ADD {
            return Err(FlowError::TooMany(count));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut queues = flows.iter().flat_map(|flow| &flow.nodes).map(|piece| &piece.queue);
        if queues.any(|queue| !Arc::ptr_eq(queue.backend(), self.backend())) {
            return Err(FlowError::OtherStore);
        }
        let mut nodes = Vec::with_capacity(count);
        for flow in flows {
            flow.unfold(parent.map(|id| Parent::Job(self.name().clone(), id.clone())), &mut nodes)?;
        }
        if nodes.iter().any(|node| node.job.options.deduplication.is_some()) {
            return self.add_alone(nodes).await;
        }
        if let Some((queue, id)) = doubled(&nodes) {
            return Err(FlowError::Twice { queue, id });
        }
        let names: Vec<_> = nodes.iter().map(|node| (node.queue.clone(), node.job.id.clone())).collect();
        match self.backend().add_flow(AddFlow { nodes }, self.clock().now()).await {
            Ok(Flowed::Added(added)) => Ok(added),
            Ok(Flowed::Refused(Refused { node, why })) => {
                let (queue, id) = names.into_iter().nth(node).unwrap_or((self.name().clone(), None));
                Err(FlowError::Refused { queue, id, why })
            }
            Err(failed) => Err(FlowError::Store { why: failed.why, happened: failed.happened }),
        }
    }

    /// A tree of one job is a job like any other: it may have a deduplication id.
    async fn add_alone(&self, mut nodes: Vec<Node>) -> Result<Vec<Added>, FlowError> {
        match (nodes.pop(), nodes.is_empty()) {
            (Some(Node { queue, job, parent: None }), true) => {
                let added = self.backend().add(Add { queue, jobs: vec![job] }, self.clock().now()).await;
                added.map_err(|failed| FlowError::Store { why: failed.why, happened: failed.happened })
            }
            _ => Err(FlowError::Deduplicated),
        }
    }

    /// Children of a job in the order in which they were added, from the one after number `after` on; at most 1,000. What
    /// they ended with stays readable after they are gone themselves, as long as their parent is there (BullMQ
    /// `getDependencies`, `getChildrenValues`, `getIgnoredChildrenFailures`).
    pub async fn children(&self, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        self.backend().children(self.name(), id, after, most).await
    }

    /// Takes a job from its parent, which no longer waits for it (BullMQ `removeChildDependency`). Answers whether that did
    /// wait for it.
    pub async fn detach(&self, id: &JobId) -> Result<bool, EditError> {
        match self.edit_one(Edit::Detach(id.clone())).await? {
            Some(Edited::NoParent) => Ok(false),
            Some(Edited::Missing) | None => Err(EditError::Missing),
            Some(_) => Ok(true),
        }
    }
}

/// A job that stands twice among these.
fn doubled(nodes: &[Node]) -> Option<(QueueName, JobId)> {
    let mut seen = std::collections::HashSet::new();
    let named = nodes.iter().filter_map(|node| Some((&node.queue, node.job.id.as_ref()?)));
    let twice = named.into_iter().find(|name| !seen.insert(*name));
    twice.map(|(queue, id)| (queue.clone(), id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// Neither building nor unfolding nor dropping a deep tree goes deep into the stack, and its order is the tree's.
    #[test]
    fn deep_and_wide_trees_unfold_in_order() {
        let queue = Queue::new(&Store::memory(), "q").unwrap();
        let leaf = |n: usize| Flow::named(&queue, "n", &n);
        let mut deep = leaf(9_999);
        for n in (0..9_999).rev() {
            deep = leaf(n).child(deep);
        }
        let mut nodes = Vec::new();
        deep.unfold(None, &mut nodes).unwrap();
        for (at, node) in nodes.iter().enumerate() {
            assert_eq!(node.job.data.as_str(), at.to_string());
            let parent = node.parent.as_ref().map(|under| under.parent.clone());
            assert_eq!(parent, at.checked_sub(1).map(Parent::Node));
        }
        let wide = leaf(0).child(leaf(1).child(leaf(2)).child(leaf(3))).child(leaf(4).child(leaf(5)));
        let mut nodes = Vec::new();
        wide.unfold(None, &mut nodes).unwrap();
        let order: Vec<&str> = nodes.iter().map(|node| node.job.data.as_str()).collect();
        assert_eq!(order, ["0", "1", "2", "3", "4", "5"]);
        let parents = [None, Some(0), Some(1), Some(1), Some(0), Some(4)];
        let found = nodes.iter().map(|node| node.parent.as_ref().map(|under| under.parent.clone()));
        assert!(found.eq(parents.map(|parent| parent.map(Parent::Node))));
    }
}
