//! Another client of the same queues, as a process: it reads an order per line and answers with a line.
//!
//! An order is `{"n": 1, "op": "…", "with": …}`, its answer `{"n": 1, "ok": …}` or `{"n": 1, "error": "…"}`; answers come in
//! any order. A line without a number is news: `{"news": "…", …}`. Drivers lie under `peers/`, the packages that they use
//! under `target/peers/`, where `scripts/setup test` puts them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// News that nobody has heard yet; a peer with more to say waits.
const NEWS: usize = 100_000;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A peer. It is killed when dropped.
pub struct Peer {
    name: String,
    child: Child,
    orders: tokio::sync::Mutex<ChildStdin>,
    number: AtomicU64,
    waiting: Waiting,
    news: tokio::sync::Mutex<mpsc::Receiver<Value>>,
}

impl Peer {
    /// Runs a driver of `peers/node` with Node.js. Its working directory is the one that holds the packages.
    pub fn node(driver: &str, arguments: &[&str]) -> Self {
        let packages = target("node");
        let mut command = Command::new("node");
        command.arg(root().join("peers/node").join(driver)).args(arguments).current_dir(packages);
        Self::start(driver, command)
    }

    /// Runs a driver of `peers/python` with Python.
    pub fn python(driver: &str, arguments: &[&str]) -> Self {
        let packages = target("python");
        let mut command = Command::new("python3");
        command.arg("-u").arg(root().join("peers/python").join(driver)).args(arguments).env("PYTHONPATH", packages);
        Self::start(driver, command)
    }

    /// Runs any program that speaks this way.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|why| {
            panic!("{name} cannot be started: {why}; `scripts/setup test` installs what it needs (`make test` does it)")
        });
        let orders = child.stdin.take().expect("it was asked for");
        let said = child.stdout.take().expect("it was asked for");
        let waiting = Waiting::default();
        let (tell, news) = mpsc::channel(NEWS);
        tokio::spawn(listen(name.to_owned(), BufReader::new(said), waiting.clone(), tell));
        Self {
            name: name.to_owned(),
            child,
            orders: orders.into(),
            number: AtomicU64::new(1),
            waiting,
            news: news.into(),
        }
    }

    /// The number of its process; `None` when it has ended and that is known.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Gives an order and answers what became of it; an error is what the peer says of it.
    pub async fn try_ask(&self, op: &str, with: Value) -> Result<Value, String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, tell);
        let line = format!("{}\n", json!({ "n": number, "op": op, "with": with }));
        let mut orders = self.orders.lock().await;
        orders.write_all(line.as_bytes()).await.map_err(|why| format!("{} is gone: {why}", self.name))?;
        drop(orders);
        match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("{} ended before it answered {op}", self.name)),
            Err(_) => Err(format!("{} did not answer {op} within {ANSWER:?}", self.name)),
        }
    }

    /// Gives an order that must succeed.
    pub async fn ask(&self, op: &str, with: Value) -> Value {
        let name = &self.name;
        self.try_ask(op, with.clone()).await.unwrap_or_else(|why| panic!("{name}: {op} {with}: {why}"))
    }

    /// The next news.
    pub async fn news(&self) -> Value {
        match timeout(ANSWER, self.news.lock().await.recv()).await {
            Ok(Some(news)) => news,
            Ok(None) => panic!("{} has ended", self.name),
            Err(_) => panic!("{} had no news within {ANSWER:?}", self.name),
        }
    }

    /// Ends it as a crash does (SIGKILL); answers when it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a running process can be killed");
    }

    /// Ends it by ending its orders; answers when it is gone.
    pub async fn end(self) {
        let Self { name, mut child, orders, .. } = self;
        drop(orders);
        let ended = timeout(ANSWER, child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{name} does not end")).expect("it can be waited for");
        assert!(status.success(), "{name} ended with {status}");
    }
}

/// Where the packages of one kind of peer lie.
fn target(kind: &str) -> PathBuf {
    let folder = root().join("target/peers").join(kind);
    assert!(folder.is_dir(), "{} is missing: `scripts/setup test` fetches it (`make test` does it)", folder.display());
    folder
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

async fn listen(
    name: String,
    said: BufReader<tokio::process::ChildStdout>,
    waiting: Waiting,
    news: mpsc::Sender<Value>,
) {
    let mut lines = said.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut line) = serde_json::from_str::<Value>(&line) else {
            eprintln!("{name} says: {line}");
            continue;
        };
        let Some(number) = line["n"].as_u64() else {
            // Nobody listens any more when the peer is being dropped.
            let _ = news.send(line).await;
            continue;
        };
        let told = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let answer = match line["error"].take() {
            Value::Null => Ok(line["ok"].take()),
            Value::String(why) => Err(why),
            why => Err(why.to_string()),
        };
        if let Some(told) = told {
            // Who asked may have given up.
            let _ = told.send(answer);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Peer {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Peer::start("shell", command)
    }

    #[tokio::test]
    async fn answers_errors_and_news_are_told_apart() {
        let peer =
            shell(r#"read -r _; echo '{"news":"x"}'; echo '{"n":1,"ok":[2]}'; read -r _; echo '{"n":2,"error":"no"}'"#);
        assert_eq!(peer.try_ask("a", Value::Null).await, Ok(json!([2])));
        assert_eq!(peer.try_ask("b", Value::Null).await, Err("no".to_owned()));
        assert_eq!(peer.news().await["news"], "x");
        peer.end().await;
    }

    #[tokio::test]
    async fn a_peer_that_ends_leaves_no_asker_waiting() {
        let peer = shell("read -r _; exit 3");
        let why = peer.try_ask("a", Value::Null).await.expect_err("it said nothing");
        assert!(why.contains("ended before"), "{why}");
    }
}
