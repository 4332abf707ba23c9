//! Job schedulers at the seam, and what becomes of a definition that is put in place of another: one table for every
//! store. Stores know slots, not patterns: whoever calls says when the next job is due.

use std::sync::Arc;
use std::time::Duration;

use super::verbs::NewJob;
use crate::job::JobId;
use crate::options::JobOptions;
use crate::repeat::{Fate, Misfire, Overlap, Repeat, Tick};
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
    /// What became of the slot; the first word on a slot is kept.
    pub tick: Tick,
    /// What was left out between the slot and the next one.
    pub left: Option<Tick>,
}

impl Advance {
    /// What became of the slots that the step leaves behind.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = Tick> {
        std::iter::once(self.tick).chain(self.left)
    }
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
    /// Of those whose slot lies before a time, the ones whose job does not wait: it is gone, or was taken and no next one
    /// made. With [`Overlap::Skip`] a job that was taken and has not ended is waited for.
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
    /// See [`standing`].
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
    /// The old slot, when it has passed and its job is gone.
    pub(crate) missed: Option<Tick>,
}

/// Plans a put. A definition with the same times goes on from where the old one stands; one with others begins anew.
pub(crate) fn plan(put: &Put, old: Option<&Old<'_>>, now: Timestamp) -> Plan {
    let gone = old.and_then(|old| old.slot.filter(|slot| old.place.is_none() && *slot <= now));
    let missed = gone.map(|slot| Tick::one(Fate::Missed, slot, now));
    let begin = Plan { remove: None, slot: Some(put.first), make: true, count: 1, missed };
    let Some(old) = old else {
        return begin;
    };
    let waits = matches!(old.place, Some(Place::Delayed | Place::Ready));
    let remove = old.slot.filter(|_| waits);
    if !old.repeat.same_times(&put.repeat) {
        return Plan { remove, ..begin };
    }
    let stay = Plan { remove, slot: old.slot, make: false, count: old.count, missed };
    match old.slot {
        Some(_) if waits && *old.repeat == *put.repeat => Plan { remove: None, ..stay },
        Some(_) if waits => Plan { make: true, ..stay },
        Some(_) if old.place.is_some_and(|place| !is_final(place)) => stay,
        Some(slot) if old.place.is_none() && slot > now => Plan { make: true, ..stay },
        _ if spent(&put.repeat, old.count) => Plan { slot: None, ..stay },
        _ => Plan { count: old.count + 1, ..begin },
    }
}

/// Where a scheduler's job stands for its scheduler: one that was taken and put back is still under way.
pub(crate) fn standing(place: Place, started: u32) -> Place {
    let back = started > 0 && matches!(place, Place::Ready | Place::Delayed);
    if back { Place::Active } else { place }
}

/// Whether a scheduler has to wait for its job, which is in this place, before it makes the next one.
pub(crate) fn holds_up(repeat: &Repeat, place: Option<Place>) -> bool {
    repeat.overlap == Overlap::Skip && place.is_some_and(|place| !is_final(place))
}

/// Whether a scheduler whose job is in this place stands still, once its slot lies back.
pub(crate) fn is_stuck(repeat: &Repeat, place: Option<Place>) -> bool {
    !matches!(place, Some(Place::Ready | Place::Delayed)) && !holds_up(repeat, place)
}

fn is_final(place: Place) -> bool {
    matches!(place, Place::Completed | Place::Failed)
}

/// Whether a scheduler that has made so many jobs makes no more.
pub(crate) fn spent(repeat: &Repeat, count: u64) -> bool {
    repeat.limit.is_some_and(|limit| count >= limit)
}

/// A scheduler's job for a slot.
pub(crate) fn iteration(repeat: &Repeat, slot: Timestamp, now: Timestamp) -> (JobId, NewJob) {
    let id = JobId::of_iteration(&repeat.id, slot);
    let delay: Duration = slot.since(now);
    let start_before = match repeat.misfire {
        Misfire::Skip { after } => Some(slot.plus(after)),
        Misfire::One | Misfire::All => None,
    };
    let options = Arc::new(JobOptions { delay, start_before, ..repeat.options.clone() });
    (id.clone(), NewJob { id: Some(id), name: repeat.name.clone(), data: repeat.data.clone(), options })
}
