//! The primary dies, and sentinels promote its replica.

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_testkit::redis::{Kind, SentinelFleet};

use super::scene::*;

/// What the old primary had acknowledged and not yet copied is lost, and what had ended only there runs again; nothing is
/// asked of anybody to go on.
#[tokio::test]
async fn a_promoted_replica_is_found() {
    let start = tokio::task::spawn_blocking(|| SentinelFleet::start(Kind::Redis));
    let fleet = Arc::new(start.await.expect("no panic").expect("a fleet"));
    let sentinels: Vec<String> =
        fleet.sentinels().iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let url = format!("redis-sentinel://{}/{}", sentinels.join(","), fleet.name());
    let options = RedisOptions::parse(&url).expect("a URL").answer_within(ANSWER);
    let play = Play::begin(options, Duration::from_secs(3), WORK).await;
    fleet.primary().expect("a primary").freeze().expect("it hangs");
    play.store.until(|seen| seen.flying(&CALLS)).await;
    let failing = fleet.clone();
    tokio::task::spawn_blocking(move || failing.failover()).await.expect("no panic").expect("a failover");
    let story = play.goes_on("a failover under Sentinel").await;
    let (lost, all) = (story.lost().len(), story.acknowledged.len());
    let twice = story.runs.values().filter(|runs| **runs > 1).count();
    println!("a failover under Sentinel: {lost} of {all} acknowledged jobs were lost, {twice} ran twice");
    story.later_ones_ended_once().line_was_mended();
}
