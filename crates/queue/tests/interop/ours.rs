//! Our side: the library in this process behind the verbs of a peer, with options in BullMQ's words.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::backend::{Made, Rate};
use launchkit_queue::{
    Active, Backoff, ChildFailure, Dedup, Event, Exit, Flow, JobId, JobOptions, Keep, Payload, Planned, Position,
    Queue, Record, Repeat, Schedule, Store, Told, Worker,
};
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::cell::{RUNTIME, SERVER};

pub(crate) struct Ours {
    store: Store,
    workers: Mutex<Vec<Working>>,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
}

struct Working {
    queue: String,
    name: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The id of a job that is there.
fn id(text: &Value) -> JobId {
    JobId::parse(text.as_str().expect("an id")).expect("an id")
}

fn millis(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_millis)
}

/// BullMQ's options as ours.
pub(crate) fn options(given: &Value) -> JobOptions {
    let keep = |value: &Value| match value {
        Value::Null | Value::Bool(false) => Keep::ALL,
        Value::Bool(true) => Keep::NONE,
        Value::Number(count) => Keep::newest(count.as_u64().expect("a count")),
        rule => Keep { count: rule["count"].as_u64(), age: rule["age"].as_u64().map(Duration::from_secs) },
    };
    let backoff = |value: &Value| match (value["type"].as_str(), millis(&value["delay"])) {
        (Some("fixed"), Some(delay)) => Backoff::fixed(delay),
        (Some("exponential"), Some(delay)) => Backoff::exponential(delay),
        _ => Backoff::None,
    };
    let dedup = &given["deduplication"];
    JobOptions {
        priority: given["priority"].as_u64().unwrap_or(0) as u32,
        delay: millis(&given["delay"]).unwrap_or_default(),
        lifo: given["lifo"] == true,
        attempts: given["attempts"].as_u64().unwrap_or(0) as u32,
        backoff: backoff(&given["backoff"]),
        keep_completed: keep(&given["removeOnComplete"]),
        keep_failed: keep(&given["removeOnFail"]),
        deduplication: dedup
            .is_object()
            .then(|| serde_json::from_value::<Dedup>(dedup.clone()).expect("deduplication")),
        ..JobOptions::default()
    }
}

fn planned(name: &Value, data: &Value, given: &Value) -> Planned {
    let planned = Planned::named(name.as_str().expect("a name"), data).options(options(given));
    match given["jobId"].as_str() {
        Some(id) => planned.id(id),
        None => planned,
    }
}

impl Ours {
    pub(crate) async fn open() -> Self {
        let options = RedisOptions::parse(&SERVER.url()).expect("a URL");
        let store = Store::redis(&options).await.expect("a store");
        Self { store, workers: Mutex::default(), gates: Mutex::default() }
    }

    pub(crate) fn queue(&self, name: &str) -> Queue {
        Queue::new(&self.store, name).expect("a name")
    }

    fn gate(&self, queue: &str) -> watch::Receiver<bool> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(queue.to_owned()).or_insert_with(|| watch::channel(false).0).subscribe()
    }

    /// A method of BullMQ's Queue, by its name.
    pub(crate) async fn call(&self, queue: &str, op: &str, args: Value) -> Value {
        let queue = self.queue(queue);
        let admin = queue.admin();
        let number = |at: usize| NonZeroU32::new(args[at].as_u64().expect("a number") as u32).expect("not 0");
        match op {
            "add" => {
                let jobs = vec![planned(&args[0], &args[1], &args[2])];
                json!({ "id": queue.add_all(jobs).await.expect("added")[0].id() })
            }
            "addBulk" => {
                let jobs = args[0].as_array().expect("jobs").iter();
                let jobs = jobs.map(|job| planned(&job["name"], &job["data"], &job["opts"])).collect();
                let added = queue.add_all(jobs).await.expect("added");
                added.iter().map(|added| json!({ "id": added.id() })).collect()
            }
            "getJob" => queue.get(&id(&args[0])).await.expect("read").map_or(Value::Null, |record| view(&record)),
            "getJobState" => {
                let record = queue.get(&id(&args[0])).await.expect("read");
                record.map_or("unknown", |record| record.state.name()).into()
            }
            "getJobLogs" => json!({ "logs": queue.logs(&id(&args[0]), 0, 1_000).await.expect("read").lines }),
            "pause" => admin.pause().await.map(|()| Value::Null).expect("paused"),
            "resume" => admin.resume().await.map(|()| Value::Null).expect("resumed"),
            "remove" => queue.remove(&id(&args[0])).await.map(|()| Value::Null).expect("removed"),
            "rateLimit" => admin.hold(millis(&args[0]).expect("a time")).await.map(|()| Value::Null).expect("held"),
            "drain" => admin.drain().await.expect("drained").into(),
            "setGlobalConcurrency" => admin.set_concurrency(Some(number(0))).await.map(|()| Value::Null).expect("set"),
            "setGlobalRateLimit" => {
                let per = millis(&args[1]).expect("a time");
                admin.set_rate_limit(Some(Rate { max: number(0), per })).await.map(|()| Value::Null).expect("set")
            }
            "upsertJobScheduler" => {
                queue.schedule(repeat(&args)).await.expect("scheduled");
                Value::Null
            }
            "removeJobScheduler" => queue.unschedule(args[0].as_str().expect("an id")).await.expect("gone").into(),
            _ => unreachable!("{op}"),
        }
    }

    /// A method of BullMQ's Job, by its name.
    pub(crate) async fn of_job(&self, queue: &str, job: &str, op: &str, args: Value) -> Value {
        let (queue, id) = (self.queue(queue), id(&job.into()));
        match op {
            "retry" => queue.retry(&id, Made::Keep).await.map(|()| Value::Null).expect("retried"),
            "promote" => queue.promote(&id).await.map(|()| Value::Null).expect("promoted"),
            "updateData" => queue.update_data(&id, &args[0]).await.map(|()| Value::Null).expect("updated"),
            _ => unreachable!("{op}"),
        }
    }

    pub(crate) async fn order(&self, op: &str, with: Value) -> Value {
        let queue = with["queue"].as_str().unwrap_or_default();
        match op {
            "flow" => {
                let flow = self.flow(&with["flow"]);
                let root = self.queue(with["flow"]["queueName"].as_str().expect("a queue"));
                let added = root.add_flow(flow).await.expect("added");
                return added.iter().map(|added| json!(added.id())).collect();
            }
            "work" => self.work(queue, with["as"].as_str().expect("a name"), &with["options"]),
            "stop" => self.stop(|working| working.name == with["as"]).await,
            "release" => self.release(queue),
            "forget" => {
                self.release(queue);
                self.stop(|working| working.queue == queue).await;
            }
            // An event stream is pulled: it is opened when it is read.
            "listen" => {}
            "heard" => {
                let (event, count) =
                    (with["event"].as_str().expect("a name"), with["count"].as_u64().expect("a count"));
                return self.heard(queue, event, count as usize).await;
            }
            _ => unreachable!("{op}"),
        }
        Value::Null
    }

    fn flow(&self, given: &Value) -> Flow {
        let queue = self.queue(given["queueName"].as_str().expect("a queue"));
        let on_failure = [
            ("failParentOnFailure", ChildFailure::FailParent),
            ("continueParentOnFailure", ChildFailure::ContinueParent),
            ("ignoreDependencyOnFailure", ChildFailure::Ignore),
            ("removeDependencyOnFailure", ChildFailure::Remove),
        ];
        let chosen = on_failure.into_iter().find(|(option, _)| given["opts"][option] == true);
        let mut flow = Flow::named(&queue, given["name"].as_str().expect("a name"), &given["data"])
            .options(options(&given["opts"]))
            .on_failure(chosen.map_or(ChildFailure::Wait, |(_, policy)| policy));
        if let Some(id) = given["opts"]["jobId"].as_str() {
            flow = flow.id(id);
        }
        given["children"].as_array().into_iter().flatten().fold(flow, |flow, child| flow.child(self.flow(child)))
    }

    fn work(&self, name: &str, worker: &str, given: &Value) {
        let gate = self.gate(name);
        let mut builder = Worker::builder(&self.queue(name))
            .name(worker)
            .concurrency(given["concurrency"].as_u64().unwrap_or(1) as usize)
            .max_stalled(given["maxStalledCount"].as_u64().unwrap_or(1) as u32)
            .on_rest(move |job| handle(job, gate.clone()));
        if let Some(time) = millis(&given["lockDuration"]) {
            builder = builder.lock_for(time);
        }
        if let Some(time) = millis(&given["stalledInterval"]) {
            builder = builder.rescue_every(time);
        }
        if let Some(max) = given["limiter"]["max"].as_u64().and_then(|max| NonZeroU32::new(max as u32)) {
            builder = builder.rate(max, millis(&given["limiter"]["duration"]).expect("a time"));
        }
        let worker_ = builder.build().expect("a worker");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = RUNTIME.spawn(async move {
            // A sender that is dropped stops it, too.
            worker_.run_until(async { stopped.await.unwrap_or(()) }).await;
        });
        let working = Working { queue: name.to_owned(), name: worker.to_owned(), stop, task };
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(working);
    }

    fn take(&self, which: impl Fn(&Working) -> bool) -> Vec<Working> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.extract_if(.., |working| which(working)).collect()
    }

    async fn stop(&self, which: impl Fn(&Working) -> bool) {
        for working in self.take(which) {
            drop(working.stop);
            working.task.await.expect("a worker ends");
        }
    }

    /// Ends the workers of a queue as a crash does.
    pub(crate) async fn crash(&self, queue: &str) {
        for working in self.take(|working| working.queue == queue) {
            working.task.abort();
            // It was, or it had ended.
            let _ = working.task.await;
        }
    }

    fn release(&self, queue: &str) {
        drop(self.gate(queue));
        if let Some(gate) = self.gates.lock().unwrap_or_else(PoisonError::into_inner).get(queue) {
            gate.send_replace(true);
        }
    }

    async fn heard(&self, queue: &str, event: &str, count: usize) -> Value {
        let mut events = self.queue(queue).events(Position::START);
        let mut heard: Vec<(String, Value)> = Vec::new();
        while heard.iter().filter(|(name, _)| name == event).count() < count {
            match events.next().await.expect("events") {
                Told::Event(_, event) => heard.push((event.name().to_owned(), fields(&event))),
                Told::Gap(at) => panic!("a gap at {at}"),
            }
        }
        json!(heard)
    }
}

/// What a worker does with a job, as its data says.
async fn handle(job: Active<Payload>, mut gate: watch::Receiver<bool>) -> Result<Payload, Exit> {
    let does: Value = job.data().decode()?;
    for line in does["lines"].as_array().into_iter().flatten() {
        job.log(line.as_str().unwrap_or_default());
    }
    for value in does["progress"].as_array().into_iter().flatten() {
        job.progress(value)?;
    }
    if does["hang"] == true {
        gate.wait_for(|open| *open).await?;
    }
    if let Some(time) = millis(&does["slow"]) {
        tokio::time::sleep(time).await;
    }
    if let Some(why) = does["gone"].as_str() {
        return Err(Exit::give_up(why.to_owned()));
    }
    if does["fail"].as_u64().unwrap_or(0) >= u64::from(job.attempt()) {
        let why = does["why"].as_str().map_or_else(|| format!("boom {}", job.attempt()), str::to_owned);
        return Err(Exit::from(why));
    }
    if does["children"] == true {
        let found = job.children(0, 1_000).await?;
        let values = found.children.iter().filter_map(|child| {
            let value = serde_json::from_str(child.result.as_ref()?.as_str()).ok()?;
            Some((format!("bull:{}:{}", child.queue.as_str(), child.id), value))
        });
        return Ok(Payload::encode(&Value::Object(values.collect()))?);
    }
    Ok(Payload::encode(&does["value"])?)
}

fn repeat(args: &Value) -> Repeat {
    let (id, times, template) = (args[0].as_str().expect("an id"), &args[1], &args[2]);
    let schedule = match times["pattern"].as_str() {
        Some(pattern) => Schedule::cron_in(pattern, times["tz"].as_str().unwrap_or("UTC")),
        None => Schedule::Every(millis(&times["every"]).expect("a time")),
    };
    let name = template["name"].as_str().expect("a name");
    let repeat = Repeat::named(id, schedule, name, &template["data"]).expect("data");
    Repeat { limit: times["limit"].as_u64(), options: options(&template["opts"]), ..repeat }
}

/// A record by the names of BullMQ's Job.
fn view(record: &Record) -> Value {
    let json = |payload: &Option<Payload>| payload.as_ref().map(|payload| payload.decode::<Value>().expect("JSON"));
    json!({
        "name": record.name, "data": record.data.decode::<Value>().expect("JSON"), "progress": json(&record.progress),
        "returnvalue": json(&record.result), "failedReason": record.failure.as_ref().map(|failure| &failure.message),
        "attemptsMade": record.made, "attemptsStarted": record.started, "priority": record.options.priority,
        // Where a job stands tells whether its delay is over.
        "delay": record.due.map_or(0, |due| due.since(record.timestamp).as_millis() as u64),
    })
}

/// An event's fields by BullMQ's names.
fn fields(event: &Event) -> Value {
    let Value::Object(given) = serde_json::to_value(event).expect("JSON") else {
        unreachable!("an event is an object")
    };
    let mut fields = Map::new();
    for (name, value) in given {
        let (name, value) = match (name.as_str(), value) {
            ("event", _) => continue,
            ("id", value) => ("jobId", value),
            ("due", value) => ("delay", value),
            ("result", value) => ("returnvalue", value),
            ("value", value) => ("data", value),
            ("failure", value) => ("failedReason", value["message"].clone()),
            ("made", value) => ("attemptsMade", value),
            (name, value) => {
                fields.insert(name.to_owned(), value);
                continue;
            }
        };
        fields.insert(name.to_owned(), value);
    }
    Value::Object(fields)
}
