//! Budgets that a whole store shares.

use std::num::NonZeroU32;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{StoreError, Timestamp};

use crate::Harness;
use crate::given::*;

/// So many units in a second.
fn budget(key: &str, max: u32) -> Budget {
    let max = NonZeroU32::new(max).expect("not zero");
    Budget::new(key, max, Duration::from_secs(1)).expect("a budget")
}

async fn spend(store: &dyn Backend, spends: Vec<Spend>, now: Timestamp) -> Spent {
    store.spend(spends, now).await.expect("a spend")
}

fn wait(millis: u64) -> Spent {
    Spent::Wait(Duration::from_millis(millis))
}

fn granted(left: &[u32]) -> Spent {
    Spent::Granted(left.to_vec())
}

/// All at once, then one every hundred milliseconds; never more than its burst.
pub async fn a_budget_gives_its_burst_and_fills_steadily(h: &impl Harness) {
    let (store, ten) = (&*h.backend(), budget("b", 10));
    assert_eq!(spend(store, vec![ten.want(10)], at(0)).await, granted(&[0]));
    assert_eq!(spend(store, vec![ten.want(1)], at(99)).await, wait(1));
    assert_eq!(spend(store, vec![ten.want(1)], at(100)).await, granted(&[0]));
    assert_eq!(spend(store, vec![ten.want(4)], at(3_600_000)).await, granted(&[6]));
}

/// One that has enough loses nothing to one that has not; the later time is told.
pub async fn a_spend_is_granted_whole_or_not_at_all(h: &impl Harness) {
    let (store, ten, two) = (&*h.backend(), budget("ten", 10), budget("two", 2));
    assert_eq!(spend(store, vec![two.want(2), ten.want(9)], at(0)).await, granted(&[0, 1]));
    let both = vec![ten.want(2), two.want(1), two.correct(0)];
    assert_eq!(spend(store, both, at(0)).await, wait(500));
    assert_eq!(spend(store, vec![ten.want(1)], at(0)).await, granted(&[0]));
    assert_eq!(spend(store, vec![two.want(1), two.want(1)], at(500)).await, wait(500));
}

/// What was used beyond what was granted is paid first; what was not needed is there again.
pub async fn what_was_really_used_is_made_up_for(h: &impl Harness) {
    let (store, ten) = (&*h.backend(), budget("b", 10));
    assert_eq!(spend(store, vec![ten.want(10), ten.correct(10)], at(0)).await, granted(&[0, 0]));
    assert_eq!(spend(store, vec![ten.want(1)], at(0)).await, wait(1_100));
    assert_eq!(spend(store, vec![ten.correct(-15)], at(0)).await, granted(&[5]));
    assert_eq!(spend(store, vec![ten.want(5)], at(0)).await, granted(&[0]));
    assert_eq!(spend(store, vec![ten.correct(-1_000_000)], at(0)).await, granted(&[10]));
}

/// By whoever opens the same store.
pub async fn a_budget_is_shared_by_all_handles(h: &impl Harness) {
    let ten = budget("b", 10);
    let other = h.another().await.unwrap_or(h.backend());
    assert_eq!(spend(&*h.backend(), vec![ten.want(7)], at(0)).await, granted(&[3]));
    assert_eq!(spend(&*other, vec![ten.want(4)], at(0)).await, wait(100));
    assert_eq!(spend(&*other, vec![ten.want(3)], at(0)).await, granted(&[0]));
}

/// A wish that could never be granted, and too many at once; nothing is spent.
pub async fn a_spend_out_of_bounds_is_refused(h: &impl Harness) {
    let (store, ten) = (&*h.backend(), budget("b", 10));
    for spends in [vec![ten.want(1), ten.want(11)], vec![ten.want(0); MAX_SPENDS + 1]] {
        let refused = store.spend(spends, at(0)).await;
        assert!(matches!(refused, Err(StoreError::OutOfBounds(_))), "{refused:?}");
    }
    assert_eq!(spend(store, vec![ten.want(10)], at(0)).await, granted(&[0]));
}

/// On stores that keep anything.
pub async fn a_budget_is_there_after_reopening<H: Harness>(_: &H) {
    let h = H::fresh().await;
    let ten = budget("b", 10);
    assert_eq!(spend(&*h.backend(), vec![ten.want(10)], at(0)).await, granted(&[0]));
    let durable = h.backend().promises().durable;
    let Some(h) = h.reopen().await else {
        return assert_eq!(durable, Durable::Process);
    };
    assert_eq!(spend(&*h.backend(), vec![ten.want(2)], at(0)).await, wait(200));
}
