//! Verdicts that come twice, too late, or from the wrong side.

use launchkit_queue::backend::*;
use launchkit_queue::{Keep, Outcome, State};

use crate::Harness;
use crate::given::*;

/// A lost answer may be asked for again.
pub async fn a_repeated_verdict_is_already_applied(h: &impl Harness) {
    let q = Given::on(h);
    let outcomes =
        [done(), dead(), retry(at(900)), retry(T0), Outcome::Later(at(900)), Outcome::Later(T0), Outcome::Back];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let name = format!("job {n}");
        let lock = q.hold(&name, plain(), at(1)).await;
        q.settle(&lock, outcome.clone(), at(2)).await;
        let (before, newest, counts) = (q.get(&name).await, q.newest().await, q.counts().await);
        assert_eq!(q.end(&lock, outcome.clone(), at(3)).await, End::AlreadyApplied, "{outcome:?}");
        assert_eq!((q.get(&name).await, q.newest().await, q.counts().await), (before, newest, counts), "{outcome:?}");
        q.edit(Edit::Remove(id(&name)), at(4)).await;
    }
}

/// The whole trip again: the retry counts once, the new take once.
pub async fn a_repeated_turn_is_answered_the_same(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    let take = q.wish(1);
    let ends = || vec![verdict(&lock, retry(at(1)))];
    let first = q.turn(ends(), Some(take.clone()), at(1)).await;
    assert_eq!((&*first.ends, ids(&first.held)), (&[End::Applied][..], vec!["a".to_owned()]));
    let newest = q.newest().await;
    let again = q.turn(ends(), Some(Take { mode: TakeMode::Resume, ..take }), at(2)).await;
    assert_eq!((&*again.ends, ids(&again.held)), (&[End::AlreadyApplied][..], vec!["a".to_owned()]));
    assert_eq!((again.held[0].made, again.held[0].started, q.newest().await), (1, 2, newest));
    assert_eq!((q.get("a").await.made, q.get("a").await.started), (1, 2));
    q.settle(&again.held[0].lock, done(), at(3)).await;
}

/// Nothing is left to compare with, and nothing is told twice.
pub async fn repeating_the_end_of_a_job_that_was_not_kept_changes_nothing(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    assert_eq!(q.end_keeping(&lock, done(), Keep::NONE, at(1)).await, End::Applied);
    let newest = q.newest().await;
    let again = q.end_keeping(&lock, done(), Keep::NONE, at(2)).await;
    assert!(matches!(again, End::AlreadyApplied | End::Gone), "{again:?}");
    assert_eq!((q.newest().await, q.counts().await.total()), (newest, 0));
}

/// Whoever lost a run has lost it for good.
pub async fn a_verdict_of_an_earlier_run_never_touches_a_later_one(h: &impl Harness) {
    let q = Given::on(h);
    let earlier = q.hold("a", plain(), T0).await;
    q.settle(&earlier, retry(at(1)), at(1)).await;
    let later = q.one(at(2)).await.lock;
    for when in ["held", "ended"] {
        let (before, newest) = (q.get("a").await, q.newest().await);
        for outcome in [done(), dead(), retry(at(3)), Outcome::Later(at(900)), Outcome::Back] {
            assert_ne!(q.end(&earlier, outcome, at(3)).await, End::Applied, "{when}");
        }
        assert_eq!((q.get("a").await, q.newest().await), (before, newest), "{when}");
        if when == "held" {
            q.settle(&later, done(), at(4)).await;
        }
    }
}

/// All checks come before the first change.
pub async fn a_refused_verdict_changes_nothing(h: &impl Harness) {
    let q = Given::on(h);
    let held = q.hold("held", plain(), T0).await;
    let expired = q.hold("expired", priority(3), T0.minus(LOCK)).await;
    q.waiting(&["b", "waiting"], T0).await;
    let foreign = Lock { token: q.token(), ..held.clone() };
    // Under the right token, and with the right row, of another job.
    let never = Lock { id: id("waiting"), ..held.clone() };
    let names = ["held", "expired", "waiting"];
    let look = async || (q.get(names[0]).await, q.get(names[1]).await, q.get(names[2]).await, q.newest().await);
    let before = look().await;
    for lock in [&foreign, &expired, &never] {
        for outcome in [done(), dead(), retry(at(1)), retry(at(900)), Outcome::Later(at(900)), Outcome::Back] {
            assert_eq!(q.end(lock, outcome, at(1)).await, End::LockLost, "{}", lock.id);
        }
        assert_eq!(q.end_keeping(lock, done(), Keep::NONE, at(1)).await, End::LockLost, "{}", lock.id);
    }
    assert_eq!(look().await, before);
    q.settle(&held, done(), at(2)).await;
    assert_eq!(q.take_ids(9, at(2)).await, ["b", "waiting"]);
}

/// There is nothing to end.
pub async fn an_unknown_job_is_gone(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    let other = Given::queue(h, "other");
    let unknown = Lock { id: id("unknown"), token: lock.token.clone(), row: 0 };
    for outcome in [done(), dead(), retry(at(1)), Outcome::Later(at(900)), Outcome::Back] {
        assert_eq!(q.end(&unknown, outcome.clone(), at(1)).await, End::Gone);
        // Not here, though elsewhere.
        assert_eq!(other.end(&lock, outcome, at(1)).await, End::Gone);
    }
    assert_eq!(other.end_keeping(&lock, done(), Keep::NONE, at(1)).await, End::Gone);
    assert_eq!(other.beat(vec![lock.clone()], at(1)).await.lost, [id("a")]);
    q.settle(&lock, done(), at(2)).await;
}

/// Each verdict has its own answer.
pub async fn one_refused_verdict_leaves_the_others_alone(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b", "c"], T0).await;
    let held = q.take(3, T0).await;
    let lost = Lock { token: q.token(), ..held[1].lock.clone() };
    let gone = Lock { id: id("unknown"), token: q.token(), row: 0 };
    let ends = [(&held[0].lock, done()), (&lost, done()), (&gone, done()), (&held[2].lock, retry(at(900)))];
    let ends = ends.map(|(lock, outcome)| verdict(lock, outcome));
    let turned = q.turn(ends.into(), None, at(1)).await;
    assert_eq!(turned.ends, [End::Applied, End::LockLost, End::Gone, End::Applied]);
    let states = (q.get("a").await.state, q.get("b").await.state, q.get("c").await.state);
    assert_eq!(states, (State::Completed, State::Active, State::Delayed));
}

/// There is one end, whatever else is said of it.
pub async fn the_first_of_two_verdicts_on_one_run_counts(h: &impl Harness) {
    let q = Given::on(h);
    let lock = q.hold("a", plain(), T0).await;
    let turned = q.turn(vec![verdict(&lock, done()), verdict(&lock, dead())], None, at(1)).await;
    assert_eq!(turned.ends, [End::Applied, End::AlreadyApplied]);
    let found = q.get("a").await;
    assert_eq!((found.state, found.made, found.failure), (State::Completed, 1, None));
}
