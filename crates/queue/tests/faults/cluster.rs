//! A node of a cluster dies, and the queues' slot moves to another one.

use std::sync::Arc;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_testkit::faulty::Verb;
use launchkit_testkit::redis::{Cluster, Kind, RedisServer};

use super::scene::*;

/// A key of the queues, all of which lie in one slot.
const KEY: &str = "{bull}:busy:wait";

struct Scene {
    cluster: Arc<Cluster>,
    play: Play,
}

impl Scene {
    async fn begin() -> Self {
        let start = tokio::task::spawn_blocking(|| Cluster::start_durable(Kind::Redis));
        let cluster = Arc::new(start.await.expect("no panic").expect("a cluster"));
        cluster.node_of(KEY).and_then(|node| node.command(&keeping_events("{bull}:busy:meta"))).expect("set");
        let nodes: Vec<String> = cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let options = RedisOptions::parse(&format!("redis-cluster://{}", nodes.join(","))).expect("a URL");
        let play = Play::begin(options.prefix("{bull}").answer_within(ANSWER), LOCK, WORK).await;
        Self { cluster, play }
    }

    /// The node with the slot, and one without.
    fn nodes(&self) -> (&RedisServer, &RedisServer) {
        let holder = self.cluster.node_of(KEY).expect("somebody has it");
        let other = self.cluster.nodes().iter().find(|node| node.port() != holder.port());
        (holder, other.expect("there are three"))
    }

    /// Ends while a call of each kind hangs at a node.
    async fn caught(&self, node: &RedisServer) {
        node.freeze().expect("it hangs");
        self.play.store.until(|seen| seen.flying(&CALLS)).await;
    }

    /// Something that waits for the nodes.
    async fn blocking<T: Send + 'static>(&self, act: impl FnOnce(&Cluster) -> T + Send + 'static) -> T {
        let cluster = self.cluster.clone();
        tokio::task::spawn_blocking(move || act(&cluster)).await.expect("no panic")
    }
}

/// When a cluster is told to go on without a part of its slots.
#[tokio::test]
async fn a_dead_node_without_the_slot_harms_nobody() {
    let scene = Scene::begin().await;
    for node in scene.cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("set");
    }
    let dead = scene.nodes().1.port();
    scene.nodes().1.kill();
    let given_up = move |cluster: &Cluster| {
        let dead = cluster.nodes().iter().find(|node| node.port() == dead).expect("it was there");
        cluster.given_up(dead)
    };
    scene.blocking(given_up).await.expect("given up");
    assert!(!scene.play.store.until(|_| true).await.failed(&[Verb::Turn]), "no turn has failed");
    let story = scene.play.goes_on("a dead cluster node without the slot").await;
    story.all_ended_once().none_ran_twice();
}

#[tokio::test]
async fn a_dead_node_with_the_slot_is_awaited() {
    let scene = Scene::begin().await;
    let (holder, _) = scene.nodes();
    scene.caught(holder).await;
    holder.kill();
    scene.play.noticed(&WRITES).await;
    scene.blocking(|cluster| cluster.node_of(KEY).and_then(RedisServer::restart)).await.expect("it starts again");
    scene.blocking(Cluster::complete).await.expect("it is whole again");
    let story = scene.play.goes_on("a dead cluster node with the slot").await;
    story.all_ended_once().none_ran_twice().line_was_mended();
}

/// While it is on its way nothing is carried out on either side, so that no job is half here and half there.
#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let scene = Scene::begin().await;
    let (from, to) = scene.nodes();
    let cluster = &scene.cluster;
    scene.play.store.until(|seen| seen.flying(&CALLS)).await;
    cluster.begin_move(KEY, from, to).expect("begun");
    cluster.move_keys(KEY, from, to, 5).expect("half of it");
    scene.play.noticed(&WRITES).await;
    while cluster.move_keys(KEY, from, to, 100).expect("the rest") > 0 {}
    cluster.end_move(KEY, to).expect("told");
    let story = scene.play.goes_on("a slot that moves").await;
    story.all_ended_once().none_ran_twice();
}
