//! Job schedulers at the seam, and what becomes of a definition that is put in place of another: one table for every
//! store. Stores know slots, not patterns: whoever calls says when the next job is due.

use std::sync::Arc;
use std::time::Duration;

use super::verbs::NewJob;
use crate::job::JobId;
use crate::options::JobOptions;
use crate::repeat::Repeat;
use crate::state::Place;
use crate::time::Timestamp;

/// A definition to be put in place, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// The definition.
    pub repeat: Arc<Repeat>,
    /// When its first job is due, unless a definition with the same times has one waiting already.
    pub first: Timestamp,
}

/// The step from one job of a scheduler to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The scheduler.
    pub id: Arc<str>,
    /// The slot it stands at; at any other one nothing happens.
    pub slot: Timestamp,
    /// When its next job is due, if any is.
    pub next: Option<Timestamp>,
}

/// A scheduler as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// The definition.
    pub repeat: Arc<Repeat>,
    /// When the job is due that it made last; `None` when its limit or its end is reached.
    pub slot: Option<Timestamp>,
    /// Jobs it has made, the one that is due next among them.
    pub count: u64,
}

/// Which schedulers of a queue to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Those with these ids, as far as they are there; at most [`super::MAX_READ`].
    Ids(Vec<Arc<str>>),
    /// By id, after this one or from the beginning.
    After(Option<Arc<str>>),
    /// Of those whose slot lies before a time, the ones whose job does not wait: it is gone, or was taken and no next one made.
    Stuck {
        /// The time.
        before: Timestamp,
        /// Where the page before ended, or the beginning.
        after: Option<(Timestamp, Arc<str>)>,
    },
}

/// One page of schedulers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepeatPage {
    /// The schedulers.
    pub found: Vec<Scheduled>,
    /// For the stuck ones: where to go on, when there may be more.
    pub next: Option<(Timestamp, Arc<str>)>,
}

/// A definition that is there when another is put, with the place of its current job.
pub(crate) struct Old<'a> {
    pub(crate) repeat: &'a Repeat,
    pub(crate) slot: Option<Timestamp>,
    pub(crate) count: u64,
    pub(crate) place: Option<Place>,
}

/// What a put comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The old definition's job, which nobody has taken, is removed.
    pub(crate) remove: Option<Timestamp>,
    /// The definition stands at this slot from now on.
    pub(crate) slot: Option<Timestamp>,
    /// Its job is made.
    pub(crate) make: bool,
    /// Jobs made so far.
    pub(crate) count: u64,
}

/// Plans a put. A definition with the same times goes on from where the old one stands; one with others begins anew.
pub(crate) fn plan(put: &Put, old: Option<&Old<'_>>, now: Timestamp) -> Plan {
    let begin = Plan { remove: None, slot: Some(put.first), make: true, count: 1 };
    let Some(old) = old else {
        return begin;
    };
    let waits = matches!(old.place, Some(Place::Delayed | Place::Ready));
    let remove = old.slot.filter(|_| waits);
    if !old.repeat.same_times(&put.repeat) {
        return Plan { remove, ..begin };
    }
    let count = old.count;
    match old.slot {
        Some(_) if waits && *old.repeat == *put.repeat => Plan { remove: None, slot: old.slot, make: false, count },
        Some(_) if waits => Plan { remove, slot: old.slot, make: true, count },
        Some(_) if old.place == Some(Place::Active) => Plan { remove, slot: old.slot, make: false, count },
        Some(slot) if old.place.is_none() && slot > now => Plan { remove, slot: old.slot, make: true, count },
        _ if spent(&put.repeat, count) => Plan { remove, slot: None, make: false, count },
        _ => Plan { count: count + 1, ..begin },
    }
}

/// Whether a scheduler that has made so many jobs makes no more.
pub(crate) fn spent(repeat: &Repeat, count: u64) -> bool {
    repeat.limit.is_some_and(|limit| count >= limit)
}

/// A scheduler's job for a slot.
pub(crate) fn iteration(repeat: &Repeat, slot: Timestamp, now: Timestamp) -> (JobId, NewJob) {
    let id = JobId::of_iteration(&repeat.id, slot);
    let delay: Duration = slot.since(now);
    let options = Arc::new(JobOptions { delay, ..repeat.options.clone() });
    (id.clone(), NewJob { id: Some(id), name: repeat.name.clone(), data: repeat.data.clone(), options })
}
