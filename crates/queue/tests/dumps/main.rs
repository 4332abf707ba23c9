//! One life of queues, lived by Node BullMQ and by ours, each on a server of its own with the same times: what lies on the two
//! servers afterwards, key by key. Where they differ stands in `differences.txt`, which `DUMPS=write` writes anew; why, in
//! docs/bullmq.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod diff;
mod dump;
mod ours;
mod reasons;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diff::Difference;
use launchkit_queue::Timestamp;
use launchkit_testkit::Peer;
use launchkit_testkit::given::at;
use launchkit_testkit::redis::{Kind, RedisServer};
use ours::Ours;
use serde_json::Value;

/// Both lives, and their servers.
struct Lives {
    theirs: (Peer, RedisServer, redis::Connection),
    ours: (Ours, RedisServer, redis::Connection),
}

impl Lives {
    async fn begin() -> Self {
        let server = || {
            let server = RedisServer::start_clocked(Kind::Redis).expect("a server");
            let client = redis::Client::open(server.url()).expect("a URL");
            let connection = client.get_connection().expect("a connection");
            (server, connection)
        };
        let (their_server, their_line) = server();
        let (our_server, our_line) = server();
        let peer = Peer::node("life.mjs", &[&their_server.port().to_string()]);
        let ours = Ours::on(&our_server).await;
        Self { theirs: (peer, their_server, their_line), ours: (ours, our_server, our_line) }
    }

    /// Lives one chapter on empty servers.
    async fn chapter(&mut self, chapter: &Value) -> Vec<Difference> {
        let name = chapter["name"].as_str().expect("a name");
        for line in [&mut self.theirs.2, &mut self.ours.2] {
            redis::cmd("FLUSHALL").exec(line).expect("flushed");
        }
        let (mut millis, mut found) = (-1, Vec::new());
        for (n, step) in chapter["steps"].as_array().expect("steps").iter().enumerate() {
            millis = step["at"].as_i64().unwrap_or(millis + 1);
            let step = placed(step, name, at(millis));
            let (theirs, ours) = self.step(&step, at(millis)).await;
            if theirs != ours {
                found.push(Difference {
                    shape: "answer".into(),
                    part: format!("of step {} ({})", n + 1, step["do"].as_str().unwrap_or("")),
                    theirs: Some(theirs.to_string()),
                    ours: Some(ours.to_string()),
                    chapter: name.into(),
                    key: String::new(),
                });
            }
        }
        let theirs = dump::read(&mut self.theirs.2).expect("a dump");
        let ours = dump::read(&mut self.ours.2).expect("a dump");
        assert!(theirs.keys.len() > 3, "{name}: {theirs:?}");
        found.extend(diff::differences(name, &theirs, &ours));
        found
    }

    async fn step(&mut self, step: &Value, now: Timestamp) -> (Value, Value) {
        for server in [&self.theirs.1, &self.ours.1] {
            server.set_clock(now).expect("a clock");
        }
        let what = step["do"].as_str().expect("what to do");
        let theirs = self.theirs.0.try_ask(what, step.clone()).await;
        (theirs.unwrap_or_else(|why| format!("an error: {why}").into()), self.ours.0.step(what, step, now).await)
    }
}

/// A step with its queue and its time, and with the times in its jobs' ids.
fn placed(step: &Value, chapter: &str, now: Timestamp) -> Value {
    let mut step = step.clone();
    step["now"] = now.millis().into();
    if step["queue"].is_null() {
        step["queue"] = chapter.into();
    }
    if let Some((scheduler, slot)) = step["job"].as_str().and_then(|job| job.split_once('+')) {
        let slot = at(slot.parse().expect("milliseconds"));
        step["job"] = format!("{scheduler}{slot}").into();
    }
    step
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps").join(name)
}

/// Each difference under the class that explains it.
fn classed(found: Vec<Difference>) -> BTreeMap<&'static str, Vec<Difference>> {
    let mut classed: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in found {
        classed.entry(reasons::class(&one).unwrap_or("UNEXPLAINED")).or_default().push(one);
    }
    classed
}

#[tokio::test]
async fn the_same_life_leaves_the_same_keys_but_for_what_is_explained() {
    let life: Vec<Value> = serde_json::from_slice(&std::fs::read(here("life.json")).expect("the life")).expect("JSON");
    let mut lives = Lives::begin().await;
    let mut found = Vec::new();
    for chapter in &life {
        found.extend(lives.chapter(chapter).await);
    }
    lives.theirs.0.end().await;
    let listed = diff::listed(&classed(found));
    if std::env::var_os("DUMPS").is_some_and(|wish| wish == "write") {
        std::fs::write(here("differences.txt"), &listed).expect("written");
    }
    let known = std::fs::read_to_string(here("differences.txt")).unwrap_or_default();
    assert!(known == listed, "the differences have changed; DUMPS=write writes these into differences.txt:\n{listed}");
    assert!(!listed.contains("UNEXPLAINED"), "some have no class (see reasons.rs):\n{listed}");
}

/// Each class of the list has its reason in the document, and the document has no reason for what is no more.
#[test]
fn every_class_of_differences_has_its_reason() {
    let list = std::fs::read_to_string(here("differences.txt")).expect("the list");
    let listed: Vec<&str> = list.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(listed.len() > 5, "{listed:?}");
    let document = std::fs::read_to_string(here("../../../../docs/bullmq.md")).expect("the document");
    let (_, section) = document.split_once("\n## Keys\n").expect("a section about keys");
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut named: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    named.sort_unstable();
    assert_eq!(named, listed);
}
