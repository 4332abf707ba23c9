//! The server dies and comes back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use launchkit_testkit::redis::{Kind, RedisServer, RedisSetup};

use super::scene::*;

async fn killed(kind: Kind) {
    let scene = Scene::on(RedisSetup::new(kind).durable()).await;
    scene.caught().await;
    scene.server.kill();
    scene.play.noticed(&WRITES).await;
    scene.restarted().await;
    let story = scene.play.goes_on(&format!("kill -9 of {}, AOF always", kind.name())).await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

#[tokio::test]
async fn a_killed_server_that_syncs_every_write_loses_nothing() {
    killed(Kind::Redis).await;
}

#[tokio::test]
async fn a_killed_valkey_that_syncs_every_write_loses_nothing() {
    killed(Kind::Valkey).await;
}

/// What was there is gone, and the worker goes on with what comes.
#[tokio::test]
async fn a_killed_server_that_writes_nothing_down_begins_anew() {
    let scene = Scene::on(RedisSetup::new(Kind::Redis)).await;
    scene.caught().await;
    scene.server.kill();
    scene.play.noticed(&WRITES).await;
    scene.restarted().await;
    let story = scene.play.goes_on("kill -9, no AOF").await.none_ended_twice().line_was_mended();
    assert!(!story.parked, "it was in memory alone");
}

/// What a loss of power may take from a log that is synced every second: its end. What had ended in it runs again.
#[tokio::test]
async fn a_log_without_its_end_is_gone_on_from() {
    let settings = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let setup = RedisSetup::new(Kind::Redis).with(settings);
    let scene = Scene::with(setup, "", Duration::from_secs(2)).await;
    let log = log_of(&scene.server);
    let synced = fs::metadata(&log).expect("a log").len();
    let before = scene.play.store.until(|_| true).await.ended;
    scene.play.store.until(|seen| seen.ended > before + 20).await;
    scene.caught().await;
    scene.server.kill();
    fs::OpenOptions::new().write(true).open(&log).and_then(|log| log.set_len(synced)).expect("its end is gone");
    scene.play.noticed(&WRITES).await;
    scene.restarted().await;
    let story = scene.play.goes_on("a log that lost its end").await.later_ones_ended_once().line_was_mended();
    let twice = story.runs.values().filter(|runs| **runs > 1).count();
    println!("a log that lost its end: {} acknowledged jobs were lost, {twice} ran twice", story.lost().len());
    assert!(story.parked && !story.lost().is_empty(), "what was synced is there, and nothing more");
}

/// What restarted servers read.
fn log_of(server: &RedisServer) -> PathBuf {
    let files = fs::read_dir(server.home().join("appendonlydir")).expect("a directory");
    let mut files = files.map(|file| file.expect("an entry").path());
    files.find(|file| file.to_string_lossy().ends_with(".incr.aof")).expect("a log")
}
