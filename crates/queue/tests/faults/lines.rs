//! The connection breaks, or looks alive and is not.

use std::time::Duration;

use launchkit_testkit::faulty::Verb;
use launchkit_testkit::redis::{Kind, RedisSetup};

use super::scene::*;

async fn scene() -> Scene {
    Scene::on(RedisSetup::new(Kind::Redis)).await
}

/// All lines are cut by an operator: the one that calls go over, and those that block.
#[tokio::test]
async fn killed_clients_connect_again() {
    let scene = scene().await;
    scene.caught().await;
    scene.server.command(&["CLIENT", "KILL", "TYPE", "normal"]).expect("killed");
    let story = scene.play.goes_on("CLIENT KILL").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

/// A pause that is longer than an answer may take.
#[tokio::test]
async fn paused_clients_connect_again() {
    let scene = scene().await;
    scene.caught().await;
    scene.server.command(&["CLIENT", "PAUSE", "2500", "ALL"]).expect("paused");
    scene.play.noticed(&WRITES).await;
    // Answered when the pause is over.
    let server = scene.server.clone();
    let over = tokio::task::spawn_blocking(move || server.command(&["PING"]));
    over.await.expect("no panic").expect("it answers");
    let story = scene.play.goes_on("CLIENT PAUSE of 2.5 s").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

/// A shorter one is waited for.
#[tokio::test]
async fn a_short_pause_is_not_noticed() {
    let scene = scene().await;
    scene.caught().await;
    scene.server.command(&["CLIENT", "PAUSE", "300", "ALL"]).expect("paused");
    let story = scene.play.goes_on("CLIENT PAUSE of 0.3 s").await;
    story.all_ended_once().none_ran_twice().line_held();
}

/// Every byte is swallowed and nothing closes, as when a firewall forgets a connection.
#[tokio::test]
async fn a_half_open_line_is_given_up() {
    let scene = scene().await;
    scene.caught().await;
    scene.proxy.half_open();
    scene.play.noticed(&WRITES).await;
    scene.proxy.heal();
    let story = scene.play.goes_on("a half-open line").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

/// Only the old lines are dead. Those on which workers wait, and which would not be missed for seconds, are made again with the
/// one that calls go over, and the server gives the dead ones no marker any more.
#[tokio::test]
async fn forgotten_lines_are_given_up_together() {
    let scene = scene().await;
    scene.caught().await;
    scene.proxy.forget();
    scene.play.noticed(&WRITES).await;
    let story = scene.play.goes_on("forgotten lines").await;
    let longest = story.resumed.max(story.woken);
    assert!(longest < Duration::from_secs(2), "a worker was called after {longest:?}");
    story.all_ended_once().none_ran_twice().line_was_mended();
}

#[tokio::test]
async fn a_cut_line_is_made_again() {
    let scene = scene().await;
    scene.caught().await;
    scene.proxy.cut().await;
    scene.play.noticed(&WRITES).await;
    scene.proxy.heal();
    let story = scene.play.goes_on("a cut line").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

async fn hangs(kind: Kind) {
    let scene = Scene::on(RedisSetup::new(kind)).await;
    scene.caught().await;
    scene.server.freeze().expect("it hangs");
    scene.play.noticed(&WRITES).await;
    scene.server.thaw().expect("it goes on");
    let story = scene.play.goes_on(&format!("a hung {}", kind.name())).await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

#[tokio::test]
async fn a_hung_server_is_awaited() {
    hangs(Kind::Redis).await;
}

#[tokio::test]
async fn a_hung_valkey_is_awaited() {
    hangs(Kind::Valkey).await;
}

/// Jobs whose locks ran out meanwhile run again, and still end once: what their first runs answer is dropped.
#[tokio::test]
async fn what_outlasts_the_locks_runs_twice_and_ends_once() {
    let lock = Duration::from_secs(1);
    let scene = Scene::with(RedisSetup::new(Kind::Redis), "", lock).await;
    scene.caught().await;
    scene.server.freeze().expect("it hangs");
    // Beats are not waited for as long.
    scene.play.noticed(&[Verb::Add, Verb::Turn]).await;
    tokio::time::sleep(lock * 2).await; // the fault's length: locks run out by the server's clock
    scene.server.thaw().expect("it goes on");
    let story = scene.play.goes_on("a server that hangs for two lock times").await.all_ended_once().line_was_mended();
    let twice = story.runs.values().filter(|runs| **runs > 1).count();
    println!("a server that hangs for two lock times: {twice} jobs ran twice");
    assert!((1..=16).contains(&twice), "those that were held, and not more: {twice}");
}
