//! One side of a cell: our library in this process, or a peer in its own, behind the same verbs.

use std::time::Duration;

use launchkit_testkit::Peer;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use crate::cell::SERVER;
use crate::ours::Ours;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Node,
    Python,
    Official,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Node => "node",
            Self::Python => "python",
            Self::Official => "official",
        }
    }

    /// A process of its own, once it obeys: what it takes to begin is nobody's delay.
    async fn ready(self) -> Peer {
        let peer = self.start();
        peer.ask("release", json!({ "queue": "nobody" })).await;
        peer
    }

    fn start(self) -> Peer {
        let port = SERVER.port().to_string();
        match self {
            Self::Ours => unreachable!("we are no peer"),
            Self::Node => Peer::node("driver.mjs", &[&port]),
            Self::Python => Peer::python("driver.py", &[&port]),
            Self::Official => Peer::official(&[&port]),
        }
    }
}

/// The processes that all cells share, and our side.
static OURS: OnceCell<Ours> = OnceCell::const_new();
static PEERS: [OnceCell<Peer>; 3] = [const { OnceCell::const_new() }; 3];

/// Where the verbs of a side go.
pub(crate) enum Line {
    Ours(&'static Ours),
    Shared(&'static Peer),
    Own(Box<Peer>),
}

pub(crate) struct Side {
    pub(crate) who: Who,
    line: Line,
}

/// What is told of a job, by the names of BullMQ's Job.
const VIEW: [&str; 9] =
    ["name", "data", "progress", "returnvalue", "failedReason", "attemptsMade", "attemptsStarted", "delay", "priority"];

impl Side {
    pub(crate) async fn of(who: Who) -> Self {
        let line = match who {
            Who::Ours => Line::Ours(OURS.get_or_init(Ours::open).await),
            peer => Line::Shared(PEERS[peer as usize - 1].get_or_init(async || peer.ready().await).await),
        };
        Self { who, line }
    }

    /// One that can be killed.
    pub(crate) async fn mortal(who: Who) -> Self {
        match who {
            Who::Ours => Self::of(who).await,
            peer => Self { who, line: Line::Own(Box::new(peer.ready().await)) },
        }
    }

    /// Kills its process; of ours, its workers on a queue.
    pub(crate) async fn kill(self, queue: &str) {
        match self.line {
            Line::Ours(ours) => ours.crash(queue).await,
            Line::Own(peer) => peer.kill().await,
            Line::Shared(_) => unreachable!("others need it"),
        }
    }

    fn peer(&self) -> Result<&Peer, &'static Ours> {
        match &self.line {
            Line::Ours(ours) => Err(ours),
            Line::Shared(peer) => Ok(peer),
            Line::Own(peer) => Ok(peer),
        }
    }

    /// A method of BullMQ's Queue, by its name.
    pub(crate) async fn call(&self, queue: &str, op: &str, args: Value) -> Value {
        match self.peer() {
            Ok(peer) => peer.ask(op, json!({ "queue": queue, "args": args })).await,
            Err(ours) => ours.call(queue, op, args).await,
        }
    }

    /// A method of BullMQ's Job, by its name.
    pub(crate) async fn of_job(&self, queue: &str, id: &str, op: &str, args: Value) -> Value {
        match self.peer() {
            Ok(peer) => peer.ask(&format!("job.{op}"), json!({ "queue": queue, "id": id, "args": args })).await,
            Err(ours) => ours.of_job(queue, id, op, args).await,
        }
    }

    async fn order(&self, op: &str, with: Value) -> Value {
        match self.peer() {
            Ok(peer) => peer.ask(op, with).await,
            Err(ours) => ours.order(op, with).await,
        }
    }

    pub(crate) async fn add(&self, queue: &str, name: &str, data: Value, options: Value) -> String {
        let job = self.call(queue, "add", json!([name, data, options])).await;
        job["id"].as_str().expect("a job has an id").to_owned()
    }

    /// Jobs as `{name, data, opts}`.
    pub(crate) async fn bulk(&self, queue: &str, jobs: Vec<Value>) -> Vec<String> {
        let jobs = self.call(queue, "addBulk", json!([jobs])).await;
        jobs.as_array().expect("jobs").iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// A tree as BullMQ's FlowProducer takes it; the ids, each before those of its children.
    pub(crate) async fn flow(&self, flow: Value) -> Vec<String> {
        let ids = self.order("flow", json!({ "flow": flow })).await;
        serde_json::from_value(ids).expect("ids")
    }

    pub(crate) async fn work(&self, queue: &str, name: &str, options: Value) {
        let name = format!("{queue}-{name}");
        self.order("work", json!({ "queue": queue, "as": name, "options": options })).await;
    }

    pub(crate) async fn stop(&self, queue: &str, name: &str) {
        self.order("stop", json!({ "as": format!("{queue}-{name}") })).await;
    }

    /// Lets jobs that hang go on.
    pub(crate) async fn release(&self, queue: &str) {
        self.order("release", json!({ "queue": queue })).await;
    }

    pub(crate) async fn forget(&self, queue: &str) {
        self.order("forget", json!({ "queue": queue })).await;
    }

    pub(crate) async fn listen(&self, queue: &str) {
        self.order("listen", json!({ "queue": queue })).await;
    }

    /// What its QueueEvents tell, once they have told so many of a name.
    pub(crate) async fn heard(&self, queue: &str, event: &str, count: usize) -> Vec<(String, Value)> {
        let heard = self.order("heard", json!({ "queue": queue, "event": event, "count": count })).await;
        serde_json::from_value(heard).expect("events")
    }

    /// A job's fields in one form, whoever read them.
    pub(crate) async fn get(&self, queue: &str, id: &str) -> Value {
        let job = self.call(queue, "getJob", json!([id])).await;
        assert!(!job.is_null(), "{} does not find {id}", self.who.name());
        let view = VIEW.map(|field| {
            let snake: String = field
                .chars()
                .flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] })
                .collect();
            let value = job.get(field).or(job.get(&snake)).cloned().unwrap_or(Value::Null);
            (field.to_owned(), plain(self.who, field, value))
        });
        Value::Object(view.into_iter().collect())
    }

    pub(crate) async fn state(&self, queue: &str, id: &str) -> String {
        let state = self.call(queue, "getJobState", json!([id])).await;
        // The crate names the list.
        state.as_str().expect("a state").replace("wait", "waiting").replace("waitinging", "waiting")
    }

    pub(crate) async fn logs(&self, queue: &str, id: &str) -> Vec<String> {
        let logs = self.call(queue, "getJobLogs", json!([id])).await;
        serde_json::from_value(logs["logs"].clone()).expect("lines")
    }
}

/// One form for what each client reads in its own: nothing is null, numbers are floats, the crate's result is JSON text.
fn plain(who: Who, field: &str, value: Value) -> Value {
    match (field, value) {
        ("returnvalue", Value::String(text)) if who == Who::Official => {
            serde_json::from_str(&text).unwrap_or(Value::Null)
        }
        ("progress" | "delay" | "priority" | "attemptsMade" | "attemptsStarted", Value::Null) => json!(0.0),
        ("progress" | "delay" | "priority" | "attemptsMade" | "attemptsStarted", Value::Number(number)) => {
            json!(number.as_f64())
        }
        ("failedReason", Value::String(text)) if text.is_empty() => Value::Null,
        (_, value) => value,
    }
}

/// Looks at something of another process, which tells nobody, until it is so.
pub(crate) async fn until(what: &str, look: impl AsyncFn() -> bool) {
    let looking = async {
        while !look().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), looking).await.unwrap_or_else(|_| panic!("it never came: {what}"));
}
