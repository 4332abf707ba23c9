//! A Rust client under measurement: a process of this program that does what it is told, line by line.
//!
//! Orders come one at a time, so nothing but the queue's own work runs beside them. What is asked of a client is the same for
//! all, Node's driver (`peers/node/bench.mjs`) included: same payload, same options, one handler that notes which job it saw
//! and when.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// A library that is measured.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// A worker that has not begun.
    type Ready: Send;
    /// A worker that works.
    type Working: Send;

    fn open(url: &str, queue: &str) -> impl Future<Output = Result<Self, Fault>> + Send;
    fn add(&self, number: u32) -> impl Future<Output = Result<(), Fault>> + Send;
    fn add_bulk(&self, numbers: Range<u32>) -> impl Future<Output = Result<(), Fault>> + Send;
    fn ready(&self, slots: usize, seen: Arc<Seen>) -> impl Future<Output = Result<Self::Ready, Fault>> + Send;
    fn go(worker: Self::Ready) -> impl Future<Output = Result<Self::Working, Fault>> + Send;
    fn stop(worker: Self::Working) -> impl Future<Output = Result<(), Fault>> + Send;
    fn close(self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The mission document's job, 172 bytes as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Text {
    pub(crate) job_id: String,
    org_id: String,
    r#type: String,
    input: Input,
}

#[derive(Serialize, Deserialize)]
struct Input {
    text: String,
}

pub(crate) const KIND: &str = "SUMMARIZE";

impl Text {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            job_id: format!("cmwu8ddpw00005rwc{number:08}"),
            org_id: "cmwu8ddpw00005rwco3q3as3r".to_owned(),
            r#type: KIND.to_owned(),
            input: Input { text: "x".repeat(60) },
        }
    }
}

/// Which jobs handlers saw, and when.
pub(crate) struct Seen {
    takes: Duration,
    entries: Mutex<Vec<(u32, Instant)>>,
}

impl Seen {
    /// The handler: notes the job, then takes its time.
    pub(crate) async fn handle(&self, job_id: &str) -> Result<(), Fault> {
        let entered = Instant::now();
        let digits = job_id.get(17..).ok_or_else(|| format!("a job with the id {job_id:?}"))?;
        let number = digits.parse()?;
        self.entries.lock().unwrap().push((number, entered));
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        Ok(())
    }
}

/// When a job was added: the call, and its answer.
type Times = HashMap<u32, (Instant, Instant)>;

/// What a client holds between two orders.
struct State<C: Client> {
    open: Option<C>,
    seen: Arc<Seen>,
    ready: Option<C::Ready>,
    working: Option<C::Working>,
    added: Times,
}

/// Follows orders until they end.
pub(crate) fn serve<C: Client>() -> ExitCode {
    // As `#[tokio::main]` makes it.
    let runtime = Runtime::new().unwrap();
    let mut state = State::<C> { open: None, seen: seen(0), ready: None, working: None, added: Times::new() };
    for line in std::io::stdin().lines() {
        let order: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = match runtime.block_on(state.follow(order["op"].as_str().unwrap_or_default(), &order["with"])) {
            Ok(answer) => json!({ "n": order["n"], "ok": answer }),
            Err(why) => json!({ "n": order["n"], "error": why.to_string() }),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
    ExitCode::SUCCESS
}

impl<C: Client> State<C> {
    async fn follow(&mut self, op: &str, with: &Value) -> Result<Value, Fault> {
        let number = |name: &str| with[name].as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(format!("no {name}"));
        let text = |name: &str| with[name].as_str().ok_or(format!("no {name}"));
        match op {
            "open" => self.open = Some(C::open(text("url")?, text("queue")?).await?),
            "add" => self.add(number("first")?, number("jobs")?, number("tasks")?).await?,
            "add_bulk" => self.add_bulk(number("first")?, number("jobs")?, number("size")?).await?,
            "ready" => {
                self.seen = seen(number("handler")?);
                let slots = number("slots")? as usize;
                self.ready = Some(self.client()?.ready(slots, self.seen.clone()).await?);
            }
            "go" => self.working = Some(C::go(self.ready.take().ok_or("no worker is ready")?).await?),
            "offer" => self.offer(number("rate")?, number("jobs")?).await?,
            "stop" => {
                C::stop(self.working.take().ok_or("no worker works")?).await?;
                return Ok(self.saw());
            }
            "close" => C::close(self.open.take().ok_or("nothing is open")?).await?,
            _ => return Err(format!("what is {op:?}?").into()),
        }
        Ok(Value::Null)
    }

    fn client(&self) -> Result<&C, Fault> {
        self.open.as_ref().ok_or_else(|| "nothing is open".into())
    }

    async fn add(&self, first: u32, jobs: u32, tasks: u32) -> Result<(), Fault> {
        let mut adding = JoinSet::new();
        for task in 0..tasks {
            let client = self.client()?.clone();
            adding.spawn(async move {
                for number in (first + task..first + jobs).step_by(tasks as usize) {
                    client.add(number).await?;
                }
                Ok(())
            });
        }
        adding.join_all().await.into_iter().collect()
    }

    async fn add_bulk(&self, first: u32, jobs: u32, size: u32) -> Result<(), Fault> {
        for begin in (first..first + jobs).step_by(size as usize) {
            self.client()?.add_bulk(begin..(begin + size).min(first + jobs)).await?;
        }
        Ok(())
    }

    /// Adds at a steady rate, whatever becomes of the adds before.
    async fn offer(&mut self, rate: u32, jobs: u32) -> Result<(), Fault> {
        let begun = tokio::time::Instant::now();
        let mut adding = JoinSet::new();
        for number in 0..jobs {
            tokio::time::sleep_until(begun + Duration::from_secs(1) * number / rate).await;
            let client = self.client()?.clone();
            adding.spawn(async move {
                let called = Instant::now();
                client.add(number).await?;
                Ok((number, (called, Instant::now())))
            });
        }
        self.added = adding.join_all().await.into_iter().collect::<Result<Times, Fault>>()?;
        Ok(())
    }

    /// Ids in the order in which handlers saw them; microseconds from an offered job's call and answer to its handler.
    fn saw(&mut self) -> Value {
        let entries = std::mem::take(&mut *self.seen.entries.lock().unwrap());
        let added = std::mem::take(&mut self.added);
        let ids: Vec<u32> = entries.iter().map(|(number, _)| *number).collect();
        let mut from_call = Vec::new();
        let mut from_answer = Vec::new();
        for (number, entered) in &entries {
            if let Some((called, answered)) = added.get(number) {
                from_call.push(entered.saturating_duration_since(*called).as_micros() as u64);
                from_answer.push(entered.saturating_duration_since(*answered).as_micros() as u64);
            }
        }
        json!({ "ids": ids, "fromCall": from_call, "fromAnswer": from_answer })
    }
}

fn seen(handler: u32) -> Arc<Seen> {
    Arc::new(Seen { takes: Duration::from_millis(handler.into()), entries: Mutex::default() })
}
