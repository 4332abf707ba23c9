//! Removing jobs together with those that they wait for.

use std::collections::BTreeMap;

use super::super::Queue;
use crate::backend::{ChildState, Edit, EditAll, Edited, MAX_EDIT, MAX_READ};
use crate::error::StoreError;
use crate::job::{JobId, QueueName, Record};
use crate::state::State;

/// Jobs of one tree that are removed at the most.
const MAX_TREE: usize = 10_000;

/// Why a tree was not removed; nothing of it was, but for [`RemoveError::Store`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no such job.
    #[error("there is no such job")]
    Missing,
    /// A worker holds this job of the tree.
    #[error("a worker holds the job {id} of the queue {queue}")]
    Locked {
        /// Its queue.
        queue: QueueName,
        /// Its id.
        id: JobId,
    },
    /// More than 10,000 jobs.
    #[error("the tree has more than 10,000 jobs")]
    TooMany,
    /// The store failed. Some jobs may have been removed, from the top on; the rest runs as if it had no parent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a removal of several jobs did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Jobs that are gone.
    pub removed: u64,
    /// Jobs that a worker holds, or took meanwhile: they run on.
    pub held: u64,
}

/// A job by its queue and id.
type Name = (QueueName, JobId);

/// Which children a walk follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Unprocessed,
}

impl Queue {
    /// Removes a job, those that it waited for, and so on down to 10,000 jobs (BullMQ's `remove` with `removeChildren`).
    /// Refused when a worker holds one of them. The removal itself goes from the top down, in several steps: a job that is
    /// taken in between is counted as held and runs on.
    pub async fn remove_with_children(&self, id: &JobId) -> Result<Removed, RemoveError> {
        let Some(record) = self.get(id).await? else {
            return Err(RemoveError::Missing);
        };
        let top = (self.name().clone(), id.clone());
        let mut tree = vec![(top.clone(), record)];
        tree.extend(self.tree(top, Which::All).await?);
        for ((queue, id), record) in &tree {
            if record.state == State::Active && self.is_held(queue, id).await? {
                return Err(RemoveError::Locked { queue: queue.clone(), id: id.clone() });
            }
        }
        self.remove_all(tree.into_iter().map(|(name, _)| name).collect()).await
    }

    /// Removes the children of a job that have not ended, with theirs, down to 10,000 jobs (BullMQ
    /// `removeUnprocessedChildren`). Those that a worker holds run on, with all below them; those that have failed stay. The
    /// last child that is gone releases the job.
    pub async fn remove_unprocessed_children(&self, id: &JobId) -> Result<Removed, RemoveError> {
        if self.get(id).await?.is_none() {
            return Err(RemoveError::Missing);
        }
        let tree = self.tree((self.name().clone(), id.clone()), Which::Unprocessed).await?;
        let held = tree.iter().filter(|(_, record)| record.state == State::Active).count() as u64;
        let free = tree.into_iter().filter(|(_, record)| record.state != State::Active);
        let done = self.remove_all(free.map(|(name, _)| name).collect()).await?;
        Ok(Removed { held: done.held + held, ..done })
    }

    /// The jobs below one, each behind its parent.
    async fn tree(&self, top: Name, which: Which) -> Result<Vec<(Name, Record)>, RemoveError> {
        let mut found: Vec<(Name, Record)> = Vec::new();
        let mut next = Some(top);
        let mut looked_at = 0;
        while let Some((queue, id)) = next {
            for (name, record) in self.below(&queue, &id, which).await? {
                if found.len() >= MAX_TREE {
                    return Err(RemoveError::TooMany);
                }
                found.push((name, record));
            }
            // Nothing below a job that runs on is touched.
            let runs_on = |record: &Record| which == Which::Unprocessed && record.state == State::Active;
            while found.get(looked_at).is_some_and(|(_, record)| runs_on(record)) {
                looked_at += 1;
            }
            next = found.get(looked_at).map(|(name, _)| name.clone());
            looked_at += 1;
        }
        Ok(found)
    }

    /// The children of one job that are there.
    async fn below(&self, queue: &QueueName, id: &JobId, which: Which) -> Result<Vec<(Name, Record)>, StoreError> {
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = self.backend().children(queue, id, from, MAX_READ).await?;
            after = page.next;
            let mut names: BTreeMap<QueueName, Vec<JobId>> = BTreeMap::new();
            for child in page.children {
                if which == Which::All || child.state == ChildState::Pending && child.reason.is_none() {
                    names.entry(child.queue).or_default().push(child.id);
                }
            }
            for (of, ids) in names {
                let records = self.backend().get(&of, &ids).await?;
                for record in records.into_iter().flatten() {
                    // Another job may have come to have the id of a child that is gone.
                    if record.parent.as_ref().is_some_and(|parent| parent.queue == *queue && parent.id == *id) {
                        found.push(((of.clone(), record.id.clone()), record));
                    }
                }
            }
        }
        Ok(found)
    }

    async fn is_held(&self, queue: &QueueName, id: &JobId) -> Result<bool, StoreError> {
        let now = self.clock().now();
        let facts = self.backend().facts(queue, id, now).await?;
        Ok(facts.lock_until.is_some_and(|until| until > now))
    }

    /// Removes jobs in their order, in steps within one queue.
    async fn remove_all(&self, names: Vec<Name>) -> Result<Removed, RemoveError> {
        let mut done = Removed::default();
        let mut names = names.into_iter().peekable();
        while let Some((queue, id)) = names.next() {
            let mut edits = vec![Edit::Remove(id)];
            while edits.len() < MAX_EDIT
                && let Some((_, id)) = names.next_if(|(other, _)| *other == queue)
            {
                edits.push(Edit::Remove(id));
            }
            let all = EditAll { queue, edits };
            let edited = self.backend().edit(all, self.clock().now()).await.map_err(|failed| failed.why)?;
            done.removed += edited.iter().filter(|edited| **edited == Edited::Done).count() as u64;
            done.held += edited.iter().filter(|edited| **edited == Edited::Locked).count() as u64;
        }
        Ok(done)
    }
}
