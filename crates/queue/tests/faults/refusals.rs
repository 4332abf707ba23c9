//! The server is there and refuses.

use launchkit_testkit::faulty::Verb;
use launchkit_testkit::redis::{Kind, RedisServer, RedisSetup};

use super::scene::*;

async fn scene(settings: &[&str]) -> Scene {
    Scene::on(RedisSetup::new(Kind::Redis).with(settings)).await
}

fn ask(server: &RedisServer, command: &str) -> String {
    server.command(&command.split(' ').collect::<Vec<_>>()).expect(command)
}

/// Each script is loaded again by the first call that misses it.
#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let scene = scene(&[]).await;
    scene.caught().await;
    ask(&scene.server, "SCRIPT FLUSH SYNC");
    let story = scene.play.goes_on("SCRIPT FLUSH").await;
    story.all_ended_once().none_ran_twice().line_held();
}

/// The primary has become a replica whose own primary is away.
#[tokio::test]
async fn a_replica_is_left_until_it_takes_writes() {
    let scene = scene(&[]).await;
    scene.caught().await;
    ask(&scene.server, "REPLICAOF 127.0.0.1 1");
    scene.play.noticed(&WRITES).await;
    ask(&scene.server, "REPLICAOF NO ONE");
    let story = scene.play.goes_on("READONLY").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

/// A restart whose data take a while to be read.
#[tokio::test]
async fn a_loading_server_is_awaited() {
    let slowly = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    let setup = RedisSetup::new(Kind::Redis).with(slowly);
    let scene = Scene::on(setup).await;
    let ballast = "for n = 1, 1500 do redis.call('SET', 'ballast:' .. n, string.rep('x', 100)) end";
    scene.server.command(&["EVAL", ballast, "0"]).expect("ballast");
    scene.caught().await;
    ask(&scene.server, "SAVE");
    scene.server.kill();
    scene.restarted().await;
    let why = scene.play.redis.health().last_error.expect("it was down");
    assert!(why.contains("loading"), "{why}");
    let story = scene.play.goes_on("LOADING").await;
    // What came between the snapshot and the end is lost.
    story.none_ended_twice().line_was_mended();
}

/// Jobs are refused, and those that are there go on to end.
#[tokio::test]
async fn full_memory_refuses_jobs_and_lets_them_end() {
    let scene = scene(&[]).await;
    scene.caught().await;
    ask(&scene.server, "CONFIG SET maxmemory 1");
    scene.play.noticed(&[Verb::Add]).await;
    scene.play.drained().await;
    ask(&scene.server, "CONFIG SET maxmemory 0");
    let story = scene.play.goes_on("OOM").await;
    story.all_ended_once().none_ran_twice().line_held();
}

/// Somebody's script takes the server's only thread.
#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let scene = scene(&["--busy-reply-threshold", "50"]).await;
    scene.caught().await;
    let server = scene.server.clone();
    let endless = tokio::task::spawn_blocking(move || server.command(&["EVAL", "while true do end", "0"]));
    scene.play.noticed(&WRITES).await;
    ask(&scene.server, "SCRIPT KILL");
    endless.await.expect("no panic").expect_err("it was ended");
    let story = scene.play.goes_on("BUSY").await;
    story.all_ended_once().none_ran_twice().line_held();
}

/// The password was changed, and then the change was taken back.
#[tokio::test]
async fn a_wrong_password_is_tried_again() {
    let setup = RedisSetup::new(Kind::Redis).with(["--requirepass", "right"]);
    let scene = Scene::with(setup, "right", LOCK).await;
    scene.caught().await;
    let ask_as = |word: &str, command: &str| {
        scene.server.command_as(word, &command.split(' ').collect::<Vec<_>>()).expect(command);
    };
    ask_as("right", "CONFIG SET requirepass other");
    ask_as("other", "CLIENT KILL TYPE normal");
    scene.play.noticed(&WRITES).await;
    scene.play.refused("password").await;
    ask_as("other", "CONFIG SET requirepass right");
    let story = scene.play.goes_on("a wrong password").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}
