//! What becomes of a job with a deduplication id, decided from what a store found: one table for every store.

use std::time::Duration;

use crate::job::JobId;
use crate::options::Dedup;
use crate::state::Place;
use crate::time::Timestamp;

/// Who owns a deduplication id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The job.
    pub(crate) job: JobId,
    /// Until when; `None`: until its end.
    pub(crate) until: Option<Timestamp>,
    /// Where it is; `None` when it is gone, also when its id has come to be another job's that does not carry this one.
    pub(crate) place: Option<Place>,
}

/// What is to be done with a new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It is added and owns the id until then.
    Own(Option<Timestamp>),
    /// The same; the owner has vanished, and what was to run after it is forgotten.
    Inherit(Owner, Option<Timestamp>),
    /// The same; the owner, which is delayed, is removed before with what was to run after it.
    Replace(Owner, Option<Timestamp>),
    /// It is remembered in place of any before it, to be added when the owner ends; until then the owner keeps the id.
    Remember(Owner),
    /// It is dropped without a word.
    Ignore(Owner),
    /// It is dropped.
    Drop {
        /// In whose favour.
        owner: Owner,
        /// The owner keeps the id until then.
        until: Option<Timestamp>,
        /// The owner, which is delayed, is due then.
        due: Option<Timestamp>,
    },
}

/// Rules on a new job with this delay. An owner whose time is over counts as none: see [`live`].
pub(crate) fn rule(dedup: &Dedup, delay: Duration, owner: Option<Owner>, now: Timestamp) -> Ruling {
    let fresh = dedup.ttl.filter(|_| !dedup.keep_last_if_active).map(|ttl| now.plus(ttl));
    let Some(owner) = owner.filter(|owner| live(owner.until, now)) else {
        return Ruling::Own(fresh);
    };
    match owner.place {
        Some(Place::Delayed) if dedup.replace => {
            let keeps = dedup.ttl.is_some() && !dedup.extend && !dedup.keep_last_if_active;
            let until = if keeps { owner.until } else { fresh };
            Ruling::Replace(owner, until)
        }
        // One with a limit may outlive its owner.
        None if owner.until.is_none() => Ruling::Inherit(owner, fresh),
        Some(Place::Active) if dedup.keep_last_if_active => Ruling::Remember(owner),
        _ if dedup.replace => Ruling::Ignore(owner),
        place => Ruling::Drop {
            until: if dedup.ttl.is_some() && dedup.extend { fresh } else { owner.until },
            due: (dedup.reschedule && place == Some(Place::Delayed)).then(|| now.plus(delay)),
            owner,
        },
    }
}

/// Whether an id is still owned; at the end of its time it is not.
pub(crate) fn live(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_none_or(|until| until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const TTL: Duration = Duration::from_millis(50);

    fn at(millis: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(millis))
    }

    fn owner(until: Option<Timestamp>, place: Option<Place>) -> Owner {
        Owner { job: JobId::stored("1"), until, place }
    }

    /// What happens to a job, and how long the id is owned then.
    fn ruled(dedup: &Dedup, until: Option<Timestamp>, place: Option<Place>) -> (&'static str, Option<Timestamp>) {
        match rule(dedup, Duration::from_millis(7), Some(owner(until, place)), NOW) {
            Ruling::Own(until) => ("own", until),
            Ruling::Inherit(_, until) => ("inherit", until),
            Ruling::Replace(_, until) => ("replace", until),
            Ruling::Remember(_) => ("remember", None),
            Ruling::Ignore(owner) => ("ignore", owner.until),
            Ruling::Drop { until, due: None, .. } => ("drop", until),
            Ruling::Drop { due, .. } => ("move", due),
        }
    }

    #[test]
    fn a_limit_starts_again_only_when_asked() {
        let throttle = Dedup::throttle("d", TTL);
        assert_eq!(rule(&throttle, TTL, None, NOW), Ruling::Own(at(1_050)));
        assert_eq!(ruled(&throttle, at(1_001), None), ("drop", at(1_001)));
        assert_eq!(ruled(&throttle, at(1_000), None), ("own", at(1_050)));
        let extend = Dedup { extend: true, ..throttle };
        assert_eq!(ruled(&extend, at(1_001), Some(Place::Completed)), ("drop", at(1_050)));
        let last = Dedup { keep_last_if_active: true, ..extend };
        assert_eq!(ruled(&last, at(1_001), Some(Place::Ready)), ("drop", None));
        assert_eq!(rule(&last, TTL, None, NOW), Ruling::Own(None));
    }

    #[test]
    fn a_replaced_owner_hands_on_its_limit_unless_extended() {
        let delayed = Some(Place::Delayed);
        let replace = Dedup { replace: true, ..Dedup::throttle("d", TTL) };
        assert_eq!(ruled(&replace, at(1_001), delayed), ("replace", at(1_001)));
        assert_eq!(ruled(&replace, None, delayed), ("replace", None));
        let debounce = Dedup::debounce("d", TTL);
        assert_eq!(ruled(&debounce, at(1_001), delayed), ("replace", at(1_050)));
        let simple = Dedup { ttl: None, ..debounce.clone() };
        assert_eq!(ruled(&simple, at(1_001), delayed), ("replace", None));
        let last = Dedup { keep_last_if_active: true, ..replace };
        assert_eq!(ruled(&last, at(1_001), delayed), ("replace", None));
        assert_eq!(ruled(&last, at(1_001), Some(Place::Active)), ("remember", None));
        assert_eq!(ruled(&debounce, None, Some(Place::Active)), ("ignore", None));
        assert_eq!(ruled(&debounce, at(1_001), None), ("ignore", at(1_001)));
    }

    #[test]
    fn only_an_owner_without_a_limit_can_vanish() {
        assert_eq!(ruled(&Dedup::simple("d"), None, None), ("inherit", None));
        assert_eq!(ruled(&Dedup::debounce("d", TTL), None, None), ("inherit", at(1_050)));
        assert_eq!(ruled(&Dedup::simple("d"), at(1_001), None), ("drop", at(1_001)));
    }

    #[test]
    fn only_a_delayed_owner_is_rescheduled() {
        let moving = Dedup { reschedule: true, ..Dedup::simple("d") };
        assert_eq!(ruled(&moving, None, Some(Place::Delayed)), ("move", at(1_007)));
        assert_eq!(ruled(&moving, None, Some(Place::Ready)), ("drop", None));
        let both = Dedup { replace: true, ..moving };
        assert_eq!(ruled(&both, None, Some(Place::Ready)), ("ignore", None));
    }
}
