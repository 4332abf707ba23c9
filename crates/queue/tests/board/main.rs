//! Bull Board over our queues, in a browser: what a person sees there, and what becomes of a click, in the keys and by our
//! worker. `peers/node/board.mjs` looks and clicks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::{Active, Clock, Exit, JobId, JobKind, OutcomeError, Payload, Queue, Running, Store, Worker};
use launchkit_testkit::Peer;
use launchkit_testkit::redis::{Kind, RedisServer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod flow;
mod jobs;
mod pages;
mod queue;
mod schedulers;

/// What a job of the tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, our store over it, and a browser that shows the board.
struct Board {
    server: RedisServer,
    store: Store,
    peer: Peer,
}

impl Board {
    /// A board that shows the queues of these names.
    async fn over(queues: &[&str]) -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let store = Store::redis(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
        let port = server.port().to_string();
        let peer = Peer::node("board.mjs", &[&[port.as_str()], queues].concat());
        Self { server, store, peer }
    }

    fn queue(&self, name: &str) -> Queue {
        Queue::new(&self.store, name).expect("a name")
    }

    /// A queue whose clock is a minute slow: what is done through it was done a minute ago.
    fn a_minute_ago(&self, name: &str) -> Queue {
        let slow = Clock::runtime(Clock::system().now().minus(Duration::from_secs(60)));
        Queue::new(&Store::over(self.store.backend().clone(), slow), name).expect("a name")
    }

    /// Opens a page and waits until it shows all of these.
    async fn see(&self, at: &str, has: &[&str]) -> String {
        self.look(json!({ "at": at, "has": has })).await
    }

    /// The same on one of a job's tabs.
    async fn see_tab(&self, at: &str, tab: &str, has: &[&str]) -> String {
        self.look(json!({ "at": at, "press": [{ "tab": tab }], "has": has })).await
    }

    /// The same, by the words of `board.mjs`.
    async fn look(&self, what: Value) -> String {
        let shown = self.peer.ask("see", what).await;
        shown.as_str().expect("a text").to_owned()
    }

    /// Opens a page, presses something, and confirms it. Answers what the board's server did.
    async fn click(&self, at: &str, press: Value) -> String {
        self.fill(at, press, json!({}), "Confirm").await
    }

    /// Opens a page, presses something, fills in the form that comes up, and sends it.
    async fn fill(&self, at: &str, press: Value, form: Value, end: &str) -> String {
        let order = json!({ "at": at, "press": [press], "fill": form, "end": end });
        let done = self.peer.ask("do", order.clone()).await;
        let status = done["status"].as_u64().expect("a status");
        assert!((200..300).contains(&status), "{order}: {done}");
        done["asked"].as_str().expect("a text").to_owned()
    }

    /// What a plain client reads: the words of a command, its answer as text.
    fn ask(&self, command: &str) -> String {
        self.server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer").trim().to_owned()
    }

    /// The ids of a list or a sorted set, its first one first.
    fn ids(&self, key: &str) -> Vec<String> {
        let command = match self.ask(&format!("TYPE {key}")).as_str() {
            "zset" => format!("ZRANGE {key} 0 -1"),
            _ => format!("LRANGE {key} 0 -1"),
        };
        self.ask(&command).lines().map(str::to_owned).collect()
    }

    /// Takes everything down.
    async fn close(self) {
        self.peer.end().await;
        self.store.close().await;
    }
}

/// Any of our jobs; it ends with its data, unless its name says otherwise.
#[derive(Serialize, Deserialize)]
struct Any;

impl JobKind for Any {
    const NAME: &'static str = "any";
    type Output = Value;
}

async fn work(job: Active<Payload>) -> Result<Payload, Exit> {
    match job.name() {
        "fails at first" if job.started() == 1 => Err("the till is empty".into()),
        "reports" => {
            job.log("counted the coins");
            job.log("wrote the receipt");
            job.progress(&40)?;
            Ok(job.into_data())
        }
        "holds" => {
            job.canceled().await;
            Err("let go".into())
        }
        _ => Ok(job.into_data()),
    }
}

fn worker(queue: &Queue) -> Running {
    Worker::builder(queue).name("clerk").on_rest(work).build().expect("a worker").start()
}

fn id(text: &str) -> JobId {
    JobId::parse(text).expect("an id")
}

/// What a job ended with.
async fn result(queue: &Queue, job: &str) -> Value {
    queue.outcome::<Any>(&id(job), PATIENCE).await.unwrap_or_else(|why| panic!("{job}: {why}"))
}

/// Waits for a final failure.
async fn failure(queue: &Queue, job: &str) -> String {
    match queue.outcome::<Any>(&id(job), PATIENCE).await {
        Err(OutcomeError::Failed(failure)) => failure.message.to_string(),
        other => panic!("{job}: {other:?}"),
    }
}
