//! A queue as it lies in Redis, read with a plain client.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd, from_redis_value};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::cell::SERVER;

/// How long an event may take to come.
const PATIENCE: Duration = Duration::from_secs(40);

static CLIENT: OnceCell<MultiplexedConnection> = OnceCell::const_new();

async fn connect() -> MultiplexedConnection {
    let client = Client::open(SERVER.url()).expect("a URL");
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&patient).await.expect("a connection")
}

/// One event: when, what, and the fields after that, in order.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Told {
    /// The server's clock when it was told.
    pub(crate) fn at(&self) -> i64 {
        self.id.split('-').next().unwrap().parse().unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    fn text(&self, but: &str) -> String {
        let fields = self.fields.iter().filter(|(name, _)| name != but).map(|(name, value)| match &**name {
            // Times differ from run to run; cells that are about them read them themselves.
            "delay" => " delay=…".to_owned(),
            _ => format!(" {name}={value}"),
        });
        self.event.clone() + &fields.collect::<String>()
    }
}

pub(crate) struct Look {
    pub(crate) queue: String,
    client: MultiplexedConnection,
}

impl Look {
    pub(crate) async fn at(queue: &str) -> Self {
        Self { queue: queue.to_owned(), client: CLIENT.get_or_init(connect).await.clone() }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("bull:{}:{name}", self.queue)
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.client.clone()).await.unwrap_or_else(|why| panic!("{words:?}: {why}"))
    }

    pub(crate) async fn told(&self) -> Vec<Told> {
        let entries: Vec<(String, Vec<String>)> = self.ask(&["XRANGE", &self.key("events"), "-", "+"]).await;
        let told = |(id, fields): (String, Vec<String>)| {
            let pairs = fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            let mut fields: Vec<_> = pairs.collect();
            let (first, event) = fields.remove(0);
            assert_eq!(first, "event", "the first field of an event says which it is");
            Told { id, event, fields }
        };
        entries.into_iter().map(told).collect()
    }

    /// Each event with its fields, in order: `active jobId=1 prev=waiting`.
    pub(crate) async fn events(&self) -> Vec<String> {
        self.told().await.iter().map(|told| told.text("")).collect()
    }

    /// The events of one job, in order, without its id.
    pub(crate) async fn story(&self, id: &str) -> Vec<String> {
        let told = self.told().await;
        told.iter().filter(|told| told.field("jobId") == Some(id)).map(|told| told.text("jobId")).collect()
    }

    /// The server's clock.
    pub(crate) async fn clock(&self) -> i64 {
        let [seconds, micros]: [i64; 2] = self.ask::<Vec<i64>>(&["TIME"]).await.try_into().expect("a time");
        seconds * 1_000 + micros / 1_000
    }

    /// The ids of events of a name, in order.
    pub(crate) async fn order(&self, event: &str) -> Vec<String> {
        let told = self.told().await;
        told.iter().filter(|told| told.event == event).map(|told| told.field("jobId").unwrap().to_owned()).collect()
    }

    /// A job was taken soon after it had become ready: somebody woke the worker, whose own wait is 5 s.
    pub(crate) async fn soon(&self, id: &str) {
        let told = self.told().await;
        let of = |event: &str| {
            let found = told.iter().rfind(|told| told.event == event && told.field("jobId") == Some(id));
            found.unwrap_or_else(|| panic!("{id} has no {event}")).at()
        };
        let waited = of("active") - of("waiting");
        assert!(waited < 3_500, "{id} waited for {waited} ms beside an idle worker");
    }

    /// Waits until so many events of a name have been told.
    pub(crate) async fn until(&self, event: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut own = None;
        loop {
            let told = self.told().await;
            if told.iter().filter(|told| told.event == event).count() >= count {
                return;
            }
            let last = told.last().map_or("0", |told| &told.id);
            let mut read = cmd("XREAD");
            read.arg("BLOCK").arg(0).arg("STREAMS").arg(self.key("events")).arg(last);
            if own.is_none() {
                own = Some(connect().await);
            }
            let more = read.query_async::<Value>(own.as_mut().expect("it was opened"));
            if timeout_at(deadline, more).await.is_err() {
                let events = self.events().await;
                let shown = &events[events.len().saturating_sub(40)..];
                panic!("{}: {count} × {event} never came; the last events: {shown:#?}", self.queue);
            }
        }
    }

    pub(crate) async fn hash(&self, id: &str) -> BTreeMap<String, String> {
        self.ask(&["HGETALL", &self.key(id)]).await
    }

    /// A number in a job's record.
    pub(crate) async fn number(&self, id: &str, field: &str) -> i64 {
        let hash = self.hash(id).await;
        hash.get(field).unwrap_or_else(|| panic!("{id} has no {field}: {hash:?}")).parse().expect("a number")
    }

    async fn keys(&self) -> Vec<String> {
        let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let pattern = self.key("*");
            let page: Vec<Value> = self.ask(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"]).await;
            let [next, found] = page.try_into().expect("a cursor and a page");
            cursor = from_redis_value(next).expect("a cursor");
            keys.extend(from_redis_value::<Vec<String>>(found).expect("keys"));
            if cursor == "0" {
                return keys;
            }
        }
    }

    /// The ids of the jobs that are kept.
    pub(crate) async fn jobs(&self) -> Vec<String> {
        let mut jobs = Vec::new();
        for set in ["completed", "failed", "delayed", "waiting-children", "prioritized"] {
            jobs.extend(self.ask::<Vec<String>>(&["ZRANGE", &self.key(set), "0", "-1"]).await);
        }
        jobs
    }

    /// What is nobody's any more, or not done: ids that wait or run, locks, marks of stalled jobs, unfinished children,
    /// records without a name.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for list in ["wait", "active", "paused"] {
            let ids: Vec<String> = self.ask(&["LRANGE", &self.key(list), "0", "-1"]).await;
            found.extend(ids.iter().map(|id| format!("{list}: {id}")));
        }
        for set in ["delayed", "prioritized", "waiting-children"] {
            let ids: Vec<String> = self.ask(&["ZRANGE", &self.key(set), "0", "-1"]).await;
            found.extend(ids.iter().map(|id| format!("{set}: {id}")));
        }
        let ids: Vec<String> = self.ask(&["SMEMBERS", &self.key("stalled")]).await;
        found.extend(ids.iter().map(|id| format!("stalled: {id}")));
        let kept: std::collections::HashSet<String> = self.jobs().await.into_iter().collect();
        for key in self.keys().await {
            let name = key[self.key("").len()..].to_owned();
            if name.ends_with(":lock")
                || name.ends_with(":dependencies")
                || name.starts_with("de:")
                || name.starts_with("dn:")
            {
                found.push(name);
            } else if name != "meta"
                && !name.starts_with("metrics:")
                && self.ask::<String>(&["TYPE", &key]).await == "hash"
            {
                let sub = [":processed", ":failed"].iter().any(|sub| name.ends_with(sub));
                if !sub && (!kept.contains(&name) || !self.hash(&name).await.contains_key("name")) {
                    found.push(format!("record: {name}"));
                }
            }
        }
        found
    }
}
