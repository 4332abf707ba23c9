//! The processes of one client, and orders to them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use launchkit_testkit::Peer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::CLIENT;
use crate::plan::Who;

/// Processes that share the work.
#[derive(Clone)]
pub(crate) struct Team {
    pub(crate) who: Who,
    members: Vec<Arc<Peer>>,
    pub(crate) pids: Vec<u32>,
}

impl Team {
    pub(crate) fn start(who: Who, processes: usize) -> Result<Self, String> {
        let member = || match who {
            Who::Node => Peer::node("bench.mjs", &[]),
            Who::Ours | Who::Official => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args([CLIENT, who.name()]);
                Peer::start(who.name(), command.into())
            }
        };
        let members: Vec<Arc<Peer>> = (0..processes).map(|_| Arc::new(member())).collect();
        let pids = members.iter().map(|member| member.id().ok_or("a client has ended")).collect::<Result<_, _>>()?;
        Ok(Self { who, members, pids })
    }

    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// The first few of them.
    pub(crate) fn first(&self, most: usize) -> Self {
        let count = most.clamp(1, self.size());
        Self { who: self.who, members: self.members[..count].to_vec(), pids: self.pids[..count].to_vec() }
    }

    /// Parts of a number, one for each, as equal as can be.
    pub(crate) fn shares(&self, number: u32) -> Vec<u32> {
        let count = self.size() as u32;
        (0..count).map(|n| number / count + u32::from(n < number % count)).collect()
    }

    /// Gives all of them an order at the same time, and waits for all.
    pub(crate) async fn all(&self, op: &'static str, with: Value) -> Result<Vec<Value>, String> {
        self.each(op, |_| with.clone()).await
    }

    /// The same, with something else for each.
    pub(crate) async fn each(&self, op: &'static str, with: impl Fn(usize) -> Value) -> Result<Vec<Value>, String> {
        let mut asked = JoinSet::new();
        for (n, member) in self.members.iter().enumerate() {
            let (member, with) = (member.clone(), with(n));
            asked.spawn(async move { member.try_ask(op, with).await });
        }
        let answers = asked.join_all().await.into_iter().collect::<Result<Vec<Value>, String>>();
        answers.map_err(|why| format!("{op}: {why}"))
    }

    /// Orders that add jobs, numbered from 0, together; each number once.
    pub(crate) async fn add(&self, op: &'static str, jobs: u32, how: (&str, Vec<u32>)) -> Result<(), String> {
        let shares = self.shares(jobs);
        let first = |n: usize| shares[..n].iter().sum::<u32>();
        self.each(op, |n| json!({ "first": first(n), "jobs": shares[n], how.0: how.1[n] })).await.map(drop)
    }
}

/// The versions of both peers, from the files that pin them.
pub(crate) fn versions() -> (String, String) {
    let root = root();
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let official = lock.split("name = \"bullmq-official\"").nth(1).and_then(|rest| rest.split('"').nth(1));
    let package = std::fs::read_to_string(root.join("peers/node/package.json")).unwrap_or_default();
    let package: Value = serde_json::from_str(&package).unwrap_or_default();
    let node = package["dependencies"]["bullmq"].as_str().unwrap_or("?");
    (official.unwrap_or("?").to_owned(), node.to_owned())
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
