//! Budgets that everybody on a store shares: so many units in a time, spent from anywhere. Pure; stores keep one number for
//! each budget, and none for one that is full.
//!
//! The rule is the generic cell rate algorithm (GCRA, ITU-T I.371) with costs: a budget fills steadily, `max` units in `per`,
//! up to `burst`; what a window would let through twice at its border it does not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::within;
use crate::error::{BadBudget, StoreError};
use crate::job::label;
use crate::time::Timestamp;

/// Budgets in one spend at the most.
pub const MAX_SPENDS: usize = 100;
/// The longest time in which a budget fills, and the longest debt.
pub const MAX_BUDGET_TIME: Duration = crate::backoff::MAX_BACKOFF;

/// How much later than the one before a spend may have been meant without the clock having been set back.
const DISORDER: Duration = Duration::from_secs(10);

const NANOS_PER_MILLI: i64 = 1_000_000;

/// A shared budget: a name, known to all queues and processes of a store, and how much it holds. All who spend from it should
/// say the same; each spend goes by what it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    key: Arc<str>,
    max: NonZeroU32,
    per: Duration,
    burst: NonZeroU32,
}

impl Budget {
    /// `max` units in `per` (1 ms to 365 days), all of which may be spent at once. The name has 1 to 255 bytes without
    /// control characters.
    pub fn new(key: &str, max: NonZeroU32, per: Duration) -> Result<Self, BadBudget> {
        label(key).map_err(BadBudget::Name)?;
        if per < Duration::from_millis(1) || per > MAX_BUDGET_TIME {
            return Err(BadBudget::Time(per));
        }
        Ok(Self { key: key.into(), max, per, burst: max })
    }

    /// At most so many units at once, fewer or more than `max`; the budget is to fill within 365 days.
    pub fn burst(self, burst: NonZeroU32) -> Result<Self, BadBudget> {
        let budget = Self { burst, ..self };
        let most = i128::try_from(MAX_BUDGET_TIME.as_nanos()).unwrap_or(i128::MAX);
        if budget.nanos(i64::from(burst.get())) > most {
            return Err(BadBudget::Burst(burst.get()));
        }
        Ok(budget)
    }

    /// Its name.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// A wish for units: granted when the budget holds so many.
    pub fn want(&self, units: u32) -> Spend {
        Spend { budget: self.clone(), cost: i64::from(units), asks: true }
    }

    /// Units that were used beyond what was granted, or (negative) were not needed after all. Counted whatever the budget
    /// holds: it may come to owe, and fills all the slower.
    pub fn correct(&self, units: i32) -> Spend {
        Spend { budget: self.clone(), cost: i64::from(units), asks: false }
    }

    /// How long it takes to fill so many units, rounded up.
    fn nanos(&self, units: i64) -> i128 {
        let max = i128::from(self.max.get());
        round_up(i128::from(units) * i128::try_from(self.per.as_nanos()).unwrap_or(i128::MAX), max)
    }
}

fn round_up(whole: i128, by: i128) -> i128 {
    whole.div_euclid(by) + i128::from(whole.rem_euclid(by) > 0)
}

/// Units of one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    budget: Budget,
    cost: i64,
    /// Whether it must be granted.
    asks: bool,
}

/// What became of a spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spent {
    /// All of it was granted; so much is left of each budget, in order, 0 for one that owes.
    Granted(Vec<u32>),
    /// Nothing of it was: all of it together is to be had after this long, if nobody else comes first. A handler answers
    /// [`Exit::Later`](crate::Exit::Later), or [`Exit::SlowDown`](crate::Exit::SlowDown) when the rest of its queue has to
    /// wait too.
    Wait(Duration),
}

/// Where a budget stands: when it will be full again. One that is full need not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Nanoseconds since the epoch.
    pub(crate) full: i64,
    /// When that was written.
    pub(crate) at: Timestamp,
}

impl Fill {
    /// A time in a fill's unit.
    pub(crate) fn nanos(time: Timestamp) -> i64 {
        time.millis().saturating_mul(NANOS_PER_MILLI)
    }
}

impl Spend {
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.budget.key
    }

    /// Spends from a budget that stands so; answers how it stands then and what is left, or how long to wait.
    pub(crate) fn from(&self, fill: Option<Fill>, now: Timestamp) -> Result<(Fill, u32), Duration> {
        let asked = now;
        // Callers read their clocks before they get their turn, and clocks differ a little: time does not go back for that.
        let behind = fill.map_or(Duration::ZERO, |fill| fill.at.since(now));
        let now = if behind <= DISORDER { now.plus(behind) } else { now };
        let nanos = i128::from(Fill::nanos(now));
        // A clock that was set back takes the time along.
        let back = fill.map_or(Duration::ZERO, |fill| fill.at.since(now));
        let full = fill.map_or(nanos, |fill| i128::from(fill.full) - i128::try_from(back.as_nanos()).unwrap_or(0));
        let most = self.budget.nanos(i64::from(self.budget.burst.get()));
        let then = full.max(nanos) + self.budget.nanos(self.cost);
        let over = then - (nanos + most);
        if self.asks && over > 0 {
            let millis = u64::try_from(round_up(over, i128::from(NANOS_PER_MILLI))).unwrap_or(u64::MAX);
            return Err(Duration::from_millis(millis) + now.since(asked));
        }
        let longest = nanos + i128::try_from(MAX_BUDGET_TIME.as_nanos()).unwrap_or(0);
        let then = then.clamp(nanos, longest);
        let room = (nanos + most - then).max(0) * i128::from(self.budget.max.get());
        let left = room / i128::try_from(self.budget.per.as_nanos()).unwrap_or(i128::MAX);
        let fill = Fill { full: i64::try_from(then).unwrap_or(i64::MAX), at: now };
        Ok((fill, u32::try_from(left).unwrap_or(u32::MAX)))
    }
}

/// Refuses what no budget could ever grant.
pub(crate) fn check(spends: &[Spend]) -> Result<(), StoreError> {
    within(spends.len(), MAX_SPENDS, "more than 100 budgets in one spend")?;
    let asked = |key: &Arc<str>| {
        spends.iter().filter(|spend| spend.asks && spend.key() == key).map(|spend| spend.cost).sum::<i64>()
    };
    if spends.iter().any(|spend| asked(spend.key()) > i64::from(spend.budget.burst.get())) {
        return Err(StoreError::OutOfBounds("a wish for more than its budget ever holds"));
    }
    Ok(())
}

/// Spends from several budgets, all or nothing. `stands` tells where one stands, `keep` notes where it then does.
pub(crate) fn spend<E>(
    spends: &[Spend],
    now: Timestamp,
    mut stands: impl FnMut(&Arc<str>) -> Result<Option<Fill>, E>,
    mut keep: impl FnMut(&Arc<str>, Fill) -> Result<(), E>,
) -> Result<Spent, E> {
    let mut fills: Vec<(&Arc<str>, Fill)> = Vec::with_capacity(spends.len());
    let (mut left, mut wait) = (Vec::with_capacity(spends.len()), None);
    for spend in spends {
        let key = spend.key();
        let known = fills.iter().rev().find(|(other, _)| *other == key).map(|(_, fill)| *fill);
        let fill = if known.is_some() { known } else { stands(key)? };
        match spend.from(fill, now) {
            Ok((fill, rest)) => {
                fills.push((key, fill));
                left.push(rest);
            }
            Err(longer) => wait = wait.max(Some(longer)),
        }
    }
    if let Some(wait) = wait {
        return Ok(Spent::Wait(wait));
    }
    for (key, fill) in fills {
        keep(key, fill)?;
    }
    Ok(Spent::Granted(left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::Flaw;

    fn budget(max: u32, per_ms: u64) -> Budget {
        Budget::new("b", NonZeroU32::new(max).unwrap(), Duration::from_millis(per_ms)).unwrap()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_budget_gives_its_burst_at_once_and_then_fills_steadily() {
        let ten = budget(10, 1_000);
        let (fill, left) = ten.want(10).from(None, at(5_000)).unwrap();
        assert_eq!(left, 0);
        assert_eq!(ten.want(1).from(Some(fill), at(5_000)), Err(ms(100)));
        assert_eq!(ten.want(3).from(Some(fill), at(5_299)), Err(ms(1)));
        let (_, left) = ten.want(3).from(Some(fill), at(5_300)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_budget_that_owes_pays_first() {
        let ten = budget(10, 1_000);
        let (fill, left) = ten.correct(25).from(None, at(0)).unwrap();
        assert_eq!(left, 0);
        assert_eq!(ten.want(1).from(Some(fill), at(0)), Err(ms(1_600)));
        let (fill, _) = ten.correct(-20).from(Some(fill), at(0)).unwrap();
        assert_eq!(ten.want(5).from(Some(fill), at(0)).unwrap().1, 0);
    }

    #[test]
    fn giving_back_never_makes_more_than_full() {
        let ten = budget(10, 1_000);
        let (fill, left) = ten.correct(-1_000_000).from(None, at(77)).unwrap();
        assert_eq!((left, fill.full), (10, 77 * NANOS_PER_MILLI));
    }

    #[test]
    fn a_clock_that_was_set_back_costs_nobody_more() {
        let ten = budget(10, 1_000);
        let (fill, _) = ten.want(10).from(None, at(3_600_000)).unwrap();
        assert_eq!(ten.want(1).from(Some(fill), at(0)), Err(ms(100)));
    }

    #[test]
    fn spends_that_come_out_of_order_are_given_nothing_for_it() {
        let budget = budget(1_000, 1_000).burst(NonZeroU32::new(100).unwrap()).unwrap();
        let (mut fill, mut granted) = (None, 0);
        for n in 0..20_000 {
            let now = at(100_000 + n / 20 + if n % 2 == 0 { 0 } else { 50 });
            if let Ok((then, _)) = budget.want(1).from(fill, now) {
                (fill, granted) = (Some(then), granted + 1);
            }
        }
        assert!((1_000..=1_150).contains(&granted), "{granted}");
    }

    #[test]
    fn a_budget_named_twice_is_asked_for_the_sum() {
        let ten = budget(10, 1_000);
        assert!(check(&[ten.want(6), ten.want(4)]).is_ok());
        assert!(check(&[ten.want(6), ten.want(5)]).is_err());
        assert!(check(&[ten.want(10), ten.correct(5)]).is_ok());
    }

    #[test]
    fn unfit_budgets_are_refused() {
        let max = NonZeroU32::MIN;
        assert!(matches!(Budget::new("", max, Duration::from_secs(1)), Err(BadBudget::Name(Flaw::Empty))));
        assert!(matches!(Budget::new("a", max, Duration::ZERO), Err(BadBudget::Time(_))));
        let yearly = Budget::new("a:b", max, MAX_BUDGET_TIME).unwrap();
        assert!(matches!(yearly.burst(NonZeroU32::new(2).unwrap()), Err(BadBudget::Burst(2))));
    }

    proptest! {
        /// Whatever is asked, whenever: in no stretch of time is more granted than the burst and what fills in it.
        #[test]
        fn no_stretch_grants_more_than_burst_and_filling(
            max in 1u32..50, per in 1u64..5_000, burst in 1u32..100,
            asked in prop::collection::vec((0i64..2_000, 1u32..30), 1..60),
        ) {
            let budget = budget(max, per).burst(NonZeroU32::new(burst).unwrap()).unwrap();
            let (mut now, mut fill, mut granted) = (0, None, Vec::new());
            for (later, units) in asked {
                now += later;
                if let Ok((then, _)) = budget.want(units).from(fill, at(now)) {
                    fill = Some(then);
                    granted.push((now, u64::from(units)));
                }
            }
            for (first, (from, _)) in granted.iter().enumerate() {
                let mut sum = 0;
                for (to, units) in &granted[first..] {
                    sum += units;
                    let filled = (to - from) as u64 * u64::from(max) / per;
                    prop_assert!(sum <= u64::from(burst) + filled, "{sum} granted from {from} to {to}");
                }
            }
        }

        /// What is refused until a time is granted at that time and not a millisecond before.
        #[test]
        fn a_wait_is_neither_too_short_nor_a_millisecond_too_long(
            max in 1u32..5_000, per in 1u64..100_000, first in 1u32..5_000, second in 1u32..5_000,
        ) {
            let budget = budget(max, per);
            let (first, second) = (first.min(max), second.min(max));
            let (fill, _) = budget.want(first).from(None, at(9)).unwrap();
            if let Err(wait) = budget.want(second).from(Some(fill), at(9)) {
                prop_assert!(budget.want(second).from(Some(fill), at(9).plus(wait)).is_ok());
                let early = at(9).plus(wait).minus(Duration::from_millis(1));
                prop_assert!(early <= at(9) || budget.want(second).from(Some(fill), early).is_err());
            }
        }
    }
}
