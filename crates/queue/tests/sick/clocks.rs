//! Clocks that differ by an hour, as after a jump of one of them.

use std::time::Duration;

use launchkit_queue::Clock;

use super::scene::{LOCK, play};

const HOUR: Duration = Duration::from_secs(3_600);

/// A worker has a job of 20 s when another one, whose clock differs, comes; which of them ends it, and in how many runs.
fn meets(differs: impl Fn(&Clock) -> Clock) -> String {
    play(|scene| async move {
        let id = scene.add("one").await;
        let other = scene.by(differs(scene.healthy.clock()));
        let first = scene.works(1, LOCK * 2 / 3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = other.works(2, LOCK * 2 / 3);
        scene.ended(&id).await;
        let (first, second) = (first.stop().await, second.stop().await);
        format!("{}, {} lost; the other ended {}", scene.counted(), first.lost, second.done)
    })
}

#[test]
fn a_worker_whose_clock_is_ahead_takes_what_others_hold_and_all_ends_once() {
    let ahead = meets(|clock| Clock::runtime(clock.now().plus(HOUR)));
    assert_eq!(ahead, "2 runs, 1 lost; the other ended 1");
}

#[test]
fn a_worker_whose_clock_is_behind_leaves_others_alone() {
    let behind = meets(|clock| Clock::runtime(clock.now().minus(HOUR)));
    assert_eq!(behind, "1 run, 0 lost; the other ended 0");
}
