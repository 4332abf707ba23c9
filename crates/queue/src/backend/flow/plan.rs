//! How a flow fits to what is stored: which of its jobs are there already, and whom each is to be linked to. Pure; a store
//! answers what it knows of a job.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::super::bounds::MAX_CHILDREN;
use super::{AddFlow, Parent, Refusal, Refused};
use crate::job::{JobId, QueueName};
use crate::state::State;

/// Jobs that are followed upwards at the most, over a whole flow, to rule out that one waits for itself.
const MAX_CLIMB: usize = 100_000;

type Name = (QueueName, JobId);

/// A job that is stored.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) state: State,
    pub(crate) dedup: bool,
    /// Its parent, if that is there.
    pub(crate) parent: Option<(QueueName, JobId)>,
    /// How many children it has, those that have ended included.
    pub(crate) children: usize,
}

/// What is to be done with one job of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// It is there already.
    pub(crate) exists: bool,
    /// It is to be linked to its parent.
    pub(crate) link: bool,
}

/// Decides for each job of a flow, or refuses all.
pub(crate) fn plan<E>(
    flow: &AddFlow,
    mut find: impl FnMut(&QueueName, &JobId) -> Result<Option<Known>, E>,
) -> Result<Result<Vec<Fate>, Refused>, E> {
    let mut known = Vec::with_capacity(flow.nodes.len());
    let mut index = HashMap::new();
    for (at, node) in flow.nodes.iter().enumerate() {
        known.push(match &node.job.id {
            Some(id) => {
                index.insert((node.queue.clone(), id.clone()), at);
                find(&node.queue, id)?
            }
            None => None,
        });
    }
    let mut left = MAX_CLIMB;
    let mut above: HashMap<&Parent, HashSet<Name>> = HashMap::new();
    let parents = flow.parents();
    let mut families: HashMap<&Parent, usize> = HashMap::new();
    let mut fates = Vec::with_capacity(flow.nodes.len());
    for (at, node) in flow.nodes.iter().enumerate() {
        let refused = |why| Ok(Err(Refused { node: at, why }));
        let stored = known[at].as_ref();
        if let Some(job) = stored.filter(|job| parents[at] && job.state.is_final()) {
            return refused(Refusal::ParentEnded(job.state));
        }
        let Some(parent) = node.parent.as_ref().map(|under| &under.parent) else {
            fates.push(Fate { exists: stored.is_some(), link: false });
            continue;
        };
        let (name, of) = match parent {
            Parent::Node(parent) => {
                let above = &flow.nodes[*parent];
                let name = above.job.id.as_ref().filter(|_| known[*parent].is_some());
                (name.map(|id| (above.queue.clone(), id.clone())), known[*parent].clone())
            }
            Parent::Job(queue, id) => {
                let Some(job) = find(queue, id)? else { return refused(Refusal::ParentMissing) };
                if job.state.is_final() {
                    return refused(Refusal::ParentEnded(job.state));
                }
                (Some((queue.clone(), id.clone())), Some(job))
            }
        };
        if let Some(job) = stored {
            if job.parent.is_some() && job.parent == name {
                fates.push(Fate { exists: true, link: false });
                continue;
            }
            if job.parent.is_some() {
                return refused(Refusal::OtherParent);
            }
            if job.dedup {
                return refused(Refusal::Deduplicated);
            }
        }
        if let (Some(_), Some(own)) = (stored, &node.job.id) {
            let above = match above.entry(parent) {
                Entry::Occupied(above) => above.into_mut(),
                Entry::Vacant(empty) => empty.insert(climb(flow, &known, &index, parent, &mut left, &mut find)?),
            };
            if left == 0 || above.contains(&(node.queue.clone(), own.clone())) {
                return refused(Refusal::Circle);
            }
        }
        let family = families.entry(parent).or_insert_with(|| of.map_or(0, |job| job.children));
        *family += 1;
        if *family > MAX_CHILDREN {
            return refused(Refusal::TooManyChildren);
        }
        fates.push(Fate { exists: stored.is_some(), link: true });
    }
    Ok(Ok(fates))
}

/// The names of a parent and of all that wait for it; `left` is 0 when there was no end of them.
fn climb<E>(
    flow: &AddFlow,
    known: &[Option<Known>],
    index: &HashMap<Name, usize>,
    from: &Parent,
    left: &mut usize,
    find: &mut impl FnMut(&QueueName, &JobId) -> Result<Option<Known>, E>,
) -> Result<HashSet<Name>, E> {
    let mut names = HashSet::new();
    let mut next = Some(from.clone());
    while let Some(parent) = next.filter(|_| *left > 0) {
        *left -= 1;
        let at = match &parent {
            Parent::Node(at) => Some(*at),
            Parent::Job(queue, id) => index.get(&(queue.clone(), id.clone())).copied(),
        };
        let (name, stored) = match (at, parent) {
            (Some(at), _) => {
                let node = &flow.nodes[at];
                (
                    node.job.id.clone().map(|id| (node.queue.clone(), id)),
                    known[at].as_ref().and_then(|job| job.parent.clone()),
                )
            }
            (None, Parent::Job(queue, id)) => {
                let stored = find(&queue, &id)?.and_then(|job| job.parent);
                (Some((queue, id)), stored)
            }
            (None, Parent::Node(_)) => break,
        };
        if name.is_some_and(|name| !names.insert(name)) {
            break;
        }
        let planned = at.and_then(|at| flow.nodes[at].parent.as_ref()).map(|under| under.parent.clone());
        next = stored.map(|(queue, id)| Parent::Job(queue, id)).or(planned);
    }
    Ok(names)
}
