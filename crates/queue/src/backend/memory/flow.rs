//! Flows in memory: parents, what they know of their children, and what the end of a child does to its parent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use super::World;
use super::lane::{Job, Lane};
use crate::backend::flow::{Fate, Known, Mark, News, Upshot, doom, plan, rule};
use crate::backend::*;
use crate::event::Event;
use crate::exit::{Failure, FailureKind};
use crate::job::{ChildFailure, JobId, ParentRef, Payload, QueueName};
use crate::state::{Place, State};
use crate::time::Timestamp;

/// What a parent knows of its children. It goes with the parent, and with it every link to it is void.
#[derive(Debug, Default)]
pub(super) struct Family {
    mark: Arc<()>,
    children: BTreeMap<u64, Member>,
    last: u64,
    pending: usize,
    pub(super) doom: Option<Arc<str>>,
}

#[derive(Debug)]
struct Member {
    queue: QueueName,
    id: JobId,
    on_failure: ChildFailure,
    mark: Mark,
    result: Option<Payload>,
    reason: Option<Arc<str>>,
}

impl Member {
    fn child(&self, number: u64) -> Child {
        Child {
            number,
            queue: self.queue.clone(),
            id: self.id.clone(),
            on_failure: self.on_failure,
            state: self.mark.state(),
            result: self.result.clone(),
            reason: self.reason.clone(),
        }
    }
}

/// What binds a child to its parent.
#[derive(Clone, Debug)]
pub(super) struct Link {
    parent: ParentRef,
    number: u64,
    family: Weak<()>,
}

impl Link {
    /// The parent, if it is there.
    pub(super) fn living(&self) -> Option<ParentRef> {
        (self.family.strong_count() > 0).then(|| self.parent.clone())
    }
}

impl Job {
    pub(super) fn pending(&self) -> usize {
        self.family.as_ref().map_or(0, |family| family.pending)
    }

    /// Whether a parent that asks for it has anything to wait for.
    pub(super) fn must_wait(&self) -> bool {
        self.pending() > 0 && self.failed_child().is_none()
    }

    /// What a parent is to be failed with.
    pub(super) fn failed_child(&self) -> Option<Failure> {
        let doom = self.family.as_ref()?.doom.as_ref()?;
        Some(Failure::new(FailureKind::Child, doom))
    }

    fn found(&self) -> Known {
        Known {
            state: self.state(),
            dedup: self.options.deduplication.is_some(),
            parent: self.link.as_ref().and_then(Link::living).map(|parent| (parent.queue, parent.id)),
            children: self.family.as_ref().map_or(0, |family| family.children.len()),
        }
    }
}

impl Lane {
    /// From active to where parents wait.
    pub(super) fn await_children(&mut self, id: &JobId, now: Timestamp, told: &mut Vec<Event>) {
        let key = (now.millis(), self.back());
        self.place(id, Place::WaitingChildren, key, now);
        told.push(Event::WaitingChildren { id: id.clone(), prev: Some(State::Active) });
    }

    /// Stores a parent, which waits from the beginning.
    fn store_parent(&mut self, id: JobId, job: NewJob, now: Timestamp, told: &mut Vec<Event>) {
        told.push(Event::Added { id: id.clone(), name: job.name.clone() });
        let key = (now.millis(), self.back());
        self.insert_new(id.clone(), job, (Place::WaitingChildren, key), now);
        told.push(Event::WaitingChildren { id, prev: None });
    }

    /// A parent whose children are done, or that goes on without them: in front of its class, or delayed as it was to be.
    fn release(&mut self, id: &JobId, delays: bool, now: Timestamp) {
        let Some(job) = self.jobs.get(id) else { return };
        let (prev, options) = (job.state(), job.options.clone());
        if delays && job.started == 0 && !options.delay.is_zero() {
            let due = now.plus(options.delay);
            let key = (due.millis(), self.back());
            self.place(id, Place::Delayed, key, now);
            self.tell(vec![Event::Delayed { id: id.clone(), due }]);
        } else {
            self.put_ready(id, true, now);
            self.tell(vec![Event::Waiting { id: id.clone(), prev: Some(prev) }]);
        }
        self.bell.work.notify_one();
    }

    pub(super) fn children(&self, id: &JobId, after: u64, most: u32) -> Children {
        let Some(family) = self.jobs.get(id).and_then(|job| job.family.as_ref()) else {
            return Children::default();
        };
        let behind = family.children.range((Bound::Excluded(after), Bound::Unbounded)).take(most as usize);
        let children: Vec<Child> = behind.map(|(number, member)| member.child(*number)).collect();
        let next = children.last().filter(|_| children.len() == most as usize).map(|child| child.number);
        Children { children, pending: family.pending as u32, next }
    }

    pub(super) fn pending_children(&self, id: &JobId) -> Vec<Child> {
        let Some(family) = self.jobs.get(id).and_then(|job| job.family.as_ref()) else {
            return Vec::new();
        };
        let of = |mark| family.children.iter().filter(move |(_, member)| member.mark == mark);
        let pending = of(Mark::Stuck).chain(of(Mark::Pending)).take(MAX_PENDING as usize);
        pending.map(|(number, member)| member.child(*number)).collect()
    }
}

impl World {
    pub(super) fn add_flow(&mut self, flow: AddFlow, now: Timestamp) -> Flowed {
        let look = |queue: &QueueName, id: &JobId| {
            Ok::<_, Infallible>(self.lanes.get(queue).and_then(|lane| lane.jobs.get(id)).map(Job::found))
        };
        let fates = match plan(&flow, look) {
            Ok(Ok(fates)) => fates,
            Ok(Err(refused)) => return Flowed::Refused(refused),
            Err(never) => match never {},
        };
        let parents = flow.parents();
        let mut told: BTreeMap<QueueName, Vec<Event>> = BTreeMap::new();
        let mut added: Vec<(QueueName, Added)> = Vec::with_capacity(flow.nodes.len());
        for ((node, fate), is_parent) in flow.nodes.into_iter().zip(fates).zip(parents) {
            let told = told.entry(node.queue.clone()).or_default();
            let answer = self.lane(&node.queue).add_node(node.job, fate, is_parent, now, told);
            if let Some(under) = node.parent.filter(|_| fate.link) {
                let (queue, id) = match under.parent {
                    Parent::Node(index) => (added[index].0.clone(), added[index].1.id().clone()),
                    Parent::Job(queue, id) => (queue, id),
                };
                let parent = ParentRef { queue, id, on_failure: under.on_failure };
                self.adopt(parent, &node.queue, answer.id());
            }
            added.push((node.queue, answer));
        }
        for (queue, told) in told {
            let lane = self.lane(&queue);
            lane.tell(told);
            lane.bell.work.notify_one();
            self.pass_on(&queue, now);
        }
        Flowed::Added(added.into_iter().map(|(_, answer)| answer).collect())
    }

    /// A parent gets another child, which is stored already.
    fn adopt(&mut self, parent: ParentRef, queue: &QueueName, child: &JobId) {
        let Some(job) = self.lane(&parent.queue).jobs.get_mut(&parent.id) else { return };
        let family = job.family.get_or_insert_default();
        family.last += 1;
        family.pending += 1;
        let member = Member {
            queue: queue.clone(),
            id: child.clone(),
            on_failure: parent.on_failure,
            mark: Mark::Pending,
            result: None,
            reason: None,
        };
        family.children.insert(family.last, member);
        let link = Link { parent, number: family.last, family: Arc::downgrade(&family.mark) };
        let lane = self.lane(queue);
        let Some(job) = lane.jobs.get_mut(child) else { return };
        job.link = Some(link.clone());
        // One that has ended already says so at once.
        let news = match (job.place, &job.failure) {
            (Place::Completed, _) => News::Completed(job.result.clone().unwrap_or_else(Payload::null)),
            (Place::Failed, Some(failure)) => News::Failed { reason: failure.message.clone(), gone: false },
            (Place::Failed, None) => News::Failed { reason: "".into(), gone: false },
            _ => return,
        };
        lane.news.push((child.clone(), link, news));
    }

    pub(super) fn edit(&mut self, all: EditAll, now: Timestamp) -> Vec<Edited> {
        let queue = all.queue;
        let mut edited = Vec::with_capacity(all.edits.len());
        for edit in all.edits {
            let mut told = Vec::new();
            edited.push(match &edit {
                Edit::Detach(id) => self.detach(&queue, id),
                _ => self.lane(&queue).edit_one(edit, now, &mut told),
            });
            self.lane(&queue).tell(told);
            self.pass_on(&queue, now);
        }
        self.lane(&queue).bell.work.notify_one();
        edited
    }

    fn detach(&mut self, queue: &QueueName, id: &JobId) -> Edited {
        let Some(job) = self.lane(queue).jobs.get(id) else {
            return Edited::Missing;
        };
        let Some(link) = job.link.clone() else {
            return Edited::NoParent;
        };
        let family = self.lane(&link.parent.queue).family(&link);
        let pending =
            family.and_then(|family| family.children.get(&link.number)).is_some_and(|member| member.mark.is_pending());
        if !pending {
            return Edited::NoParent;
        }
        let lane = self.lane(queue);
        lane.jobs.get_mut(id).into_iter().for_each(|job| job.link = None);
        lane.news.push((id.clone(), link, News::Gone));
        Edited::Done
    }

    /// Tells parents what a verb has done to children in a queue.
    pub(super) fn pass_on(&mut self, queue: &QueueName, now: Timestamp) {
        for (child, link, news) in std::mem::take(&mut self.lane(queue).news) {
            if let Some(lane) = self.lanes.get_mut(&link.parent.queue) {
                lane.hear(&link, (queue, &child), news, now);
            }
        }
    }
}

impl Lane {
    fn add_node(&mut self, job: NewJob, fate: Fate, is_parent: bool, now: Timestamp, told: &mut Vec<Event>) -> Added {
        let counted = self.next_id();
        let id = job.id.clone().unwrap_or_else(|| JobId::stored(counted.to_string()));
        if fate.exists {
            told.push(Event::Duplicated { id: id.clone() });
            return Added::Existing(id);
        }
        match is_parent {
            true => self.store_parent(id.clone(), job, now, told),
            false => self.store(id.clone(), job, now, told),
        }
        Added::New(id)
    }

    fn family(&mut self, link: &Link) -> Option<&mut Family> {
        let family = self.jobs.get_mut(&link.parent.id)?.family.as_deref_mut()?;
        (Arc::as_ptr(&family.mark) == link.family.as_ptr()).then_some(family)
    }

    /// A parent hears of a child.
    fn hear(&mut self, link: &Link, (queue, child): (&QueueName, &JobId), news: News, now: Timestamp) {
        let Some(family) = self.family(link) else { return };
        let Some(member) = family.children.get_mut(&link.number) else { return };
        if news == News::Again {
            family.pending += usize::from(!member.mark.is_pending());
            (member.mark, member.result, member.reason) = (Mark::Pending, None, None);
            return;
        }
        if !member.mark.is_pending() {
            return;
        }
        let (mark, upshot) = rule(&news, link.parent.on_failure);
        match mark {
            Some(mark) => member.mark = mark,
            None => drop(family.children.remove(&link.number)),
        }
        if let Some(member) = family.children.get_mut(&link.number) {
            match news {
                News::Completed(result) => member.result = (!result.is_null()).then_some(result),
                News::Failed { reason, .. } => member.reason = Some(reason),
                News::Gone | News::Again => {}
            }
        }
        family.pending -= usize::from(upshot != Upshot::Nothing);
        let (pending, id) = (family.pending, &link.parent.id);
        let place = self.jobs.get(id).map(|job| job.place);
        match (upshot, place) {
            (Upshot::Less, Some(Place::WaitingChildren)) if pending == 0 => self.release(id, true, now),
            (Upshot::GoesOn, Some(Place::WaitingChildren)) => self.release(id, true, now),
            (Upshot::Fails, Some(place)) if place != Place::Completed && place != Place::Failed => {
                self.family(link).into_iter().for_each(|family| family.doom = Some(doom(queue, child)));
                if matches!(place, Place::WaitingChildren | Place::Delayed) {
                    self.release(id, false, now);
                }
            }
            _ => {}
        }
    }
}
