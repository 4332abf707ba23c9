//! bullmq-official as a peer: the orders and answers of peers/node/driver.mjs.
//!
//!     official PORT     Redis listens on 127.0.0.1:PORT

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bullmq::{
    BulkJob, Error, FlowJob, FlowProducer, FlowProducerOptions, Job, JobNode, JobOptions, Queue, QueueEvents,
    QueueEventsOptions, QueueOptions, RateLimiterOptions, Worker, WorkerOptions,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::{sleep, timeout};

mod events;

const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Value, String>;

struct Peer {
    url: String,
    queues: AsyncMutex<HashMap<String, Arc<Queue>>>,
    workers: AsyncMutex<HashMap<String, (String, Worker)>>,
    listeners: AsyncMutex<HashMap<String, Arc<Listener>>>,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
}

struct Listener {
    events: QueueEvents,
    heard: AsyncMutex<Vec<(String, Value)>>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn options(given: &Value) -> Result<JobOptions, String> {
    serde_json::from_value(if given.is_null() { json!({}) } else { given.clone() }).map_err(text)
}

fn string(given: &Value) -> &str {
    given.as_str().unwrap_or_default()
}

fn number(given: &Value) -> u64 {
    given.as_u64().unwrap_or_default()
}

impl Peer {
    async fn queue(&self, name: &str) -> Result<Arc<Queue>, String> {
        let mut queues = self.queues.lock().await;
        if let Some(queue) = queues.get(name) {
            return Ok(queue.clone());
        }
        let mut options = QueueOptions::default();
        options.connection.url = self.url.clone();
        let queue = Arc::new(Queue::with_options(name, options).await.map_err(text)?);
        queues.insert(name.to_owned(), queue.clone());
        Ok(queue)
    }

    fn gate(&self, name: &str) -> watch::Receiver<bool> {
        let mut gates = self.gates.lock().expect("no holder panics");
        gates.entry(name.to_owned()).or_insert_with(|| watch::channel(false).0).subscribe()
    }

    fn release(&self, name: &str) {
        let _ = self.gate(name);
        if let Some(gate) = self.gates.lock().expect("no holder panics").get(name) {
            gate.send_replace(true);
        }
    }

    async fn work(&self, order: &Value) -> Answer {
        let (name, given) = (string(&order["queue"]).to_owned(), &order["options"]);
        let mut options = WorkerOptions::default();
        options.connection.url = self.url.clone();
        options.name = Some(string(&order["as"]).to_owned());
        options.concurrency = given["concurrency"].as_u64().unwrap_or(1) as _;
        options.lock_duration = given["lockDuration"].as_u64().unwrap_or(options.lock_duration);
        options.stalled_interval = given["stalledInterval"].as_u64().unwrap_or(options.stalled_interval);
        options.max_stalled_count = given["maxStalledCount"].as_u64().unwrap_or(1) as u32;
        if let (Some(max), Some(duration)) = (given["limiter"]["max"].as_u64(), given["limiter"]["duration"].as_u64()) {
            options.limiter = Some(RateLimiterOptions::new(max, Duration::from_millis(duration)));
        }
        let gate = self.gate(&name);
        let processor = move |job: Job, _| process(job, gate.clone());
        let worker = Worker::with_options(&name, processor, options).await.map_err(text)?;
        self.workers.lock().await.insert(string(&order["as"]).to_owned(), (name, worker));
        Ok(Value::Null)
    }

    async fn stop(&self, name: &str) -> Answer {
        // Nobody else waits for the list while it closes.
        let gone = self.workers.lock().await.remove(name);
        if let Some((_, worker)) = gone {
            // It waits for the end of its blocking read otherwise, 5 s; no job of a cell runs any more.
            worker.close(200).await.map_err(text)?;
        }
        Ok(Value::Null)
    }

    async fn listen(&self, name: &str) -> Answer {
        let mut options = QueueEventsOptions::default();
        options.connection.url = self.url.clone();
        options.last_event_id = Some("0".to_owned());
        let events = QueueEvents::with_options(name, options).await.map_err(text)?;
        let listener = Arc::new(Listener { events, heard: AsyncMutex::default() });
        self.listeners.lock().await.insert(name.to_owned(), listener);
        Ok(Value::Null)
    }

    async fn heard(&self, order: &Value) -> Answer {
        let listener = self.listeners.lock().await.get(string(&order["queue"])).cloned().ok_or("nobody listens")?;
        let mut heard = listener.heard.lock().await;
        let read = async {
            while heard.iter().filter(|(event, _)| *event == order["event"]).count() < number(&order["count"]) as usize
            {
                let Some(entry) = listener.events.next_event().await else { break };
                heard.push(events::plain(entry.event));
            }
        };
        if timeout(PATIENCE, read).await.is_err() {
            return Err(format!("heard only {}", json!(*heard)));
        }
        Ok(json!(*heard))
    }

    async fn forget(&self, name: &str) -> Answer {
        self.release(name);
        let workers: Vec<String> = {
            let workers = self.workers.lock().await;
            workers.iter().filter(|(_, (queue, _))| queue == name).map(|(worker, _)| worker.clone()).collect()
        };
        for worker in workers {
            self.stop(&worker).await?;
        }
        self.listeners.lock().await.remove(name);
        self.gates.lock().expect("no holder panics").remove(name);
        let queue = self.queues.lock().await.remove(name);
        if let Some(queue) = queue {
            queue.close().await;
        }
        Ok(Value::Null)
    }

    async fn flow(&self, flow: &Value) -> Answer {
        let mut options = FlowProducerOptions::default();
        options.connection.url = self.url.clone();
        let producer = FlowProducer::with_options(options).await.map_err(text)?;
        let mut ids = Vec::new();
        list(&producer.add(tree(flow)?).await.map_err(text)?, &mut ids);
        Ok(json!(ids))
    }

    async fn of_queue(&self, queue: &Queue, op: &str, args: &Value) -> Answer {
        let done = |()| Value::Null;
        Ok(match op {
            "add" => {
                let add = queue.add(string(&args[0]), args[1].clone()).options(options(&args[2])?);
                view(&add.await.map_err(text)?)
            }
            "addBulk" => {
                let one = |one: &Value| {
                    Ok(BulkJob::with_options(string(&one["name"]), one["data"].clone(), options(&one["opts"])?))
                };
                let jobs: Result<Vec<_>, String> = args[0].as_array().ok_or("no list")?.iter().map(one).collect();
                json!(queue.add_bulk(jobs?).await.map_err(text)?)
            }
            "getJob" => queue.get_job(string(&args[0])).await.map_err(text)?.as_ref().map_or(Value::Null, view),
            "getJobState" => json!(queue.get_job_state(string(&args[0])).await.map_err(text)?.to_string()),
            "getJobCounts" => json!(queue.get_job_counts().await.map_err(text)?),
            "getJobLogs" => {
                let (logs, count) = queue.get_job_logs(string(&args[0]), 0, -1, true).await.map_err(text)?;
                json!({ "logs": logs, "count": count })
            }
            "pause" => queue.pause().await.map(done).map_err(text)?,
            "resume" => queue.resume().await.map(done).map_err(text)?,
            "remove" => json!(queue.remove(string(&args[0])).await.map_err(text)?),
            "drain" => queue.drain(args[0] == true).await.map(done).map_err(text)?,
            "rateLimit" => queue.rate_limit(number(&args[0])).await.map(done).map_err(text)?,
            "setGlobalConcurrency" => queue.set_global_concurrency(number(&args[0])).await.map(done).map_err(text)?,
            "setGlobalRateLimit" => {
                queue.set_global_rate_limit(number(&args[0]), number(&args[1])).await.map(done).map_err(text)?
            }
            "upsertJobScheduler" => {
                let repeat = serde_json::from_value(args[1].clone()).map_err(text)?;
                let template = &args[2];
                let data = template.get("data").cloned();
                let made = queue
                    .upsert_job_scheduler(
                        string(&args[0]),
                        repeat,
                        template["name"].as_str(),
                        data,
                        Some(options(&template["opts"])?),
                    )
                    .await;
                json!(made.map_err(text)?)
            }
            "removeJobScheduler" => json!(queue.remove_job_scheduler(string(&args[0])).await.map_err(text)?),
            _ => return Err(format!("{op} is not among the orders of this peer")),
        })
    }

    async fn of_job(&self, queue: &Queue, id: &str, op: &str, args: &Value) -> Answer {
        let mut job = queue.get_job(id).await.map_err(text)?.ok_or_else(|| format!("no job {id}"))?;
        match op {
            "retry" => job.retry(args[0].as_str().unwrap_or("failed"), None).await,
            "promote" => job.promote().await,
            "updateData" => job.update_data(args[0].clone()).await,
            _ => return Err(format!("job.{op} is not among the orders of this peer")),
        }
        .map_err(text)?;
        Ok(Value::Null)
    }

    async fn obey(&self, op: &str, order: &Value) -> Answer {
        let name = string(&order["queue"]);
        match op {
            "flow" => self.flow(&order["flow"]).await,
            "work" => self.work(order).await,
            "stop" => self.stop(string(&order["as"])).await,
            "listen" => self.listen(name).await,
            "heard" => self.heard(order).await,
            "forget" => self.forget(name).await,
            "release" => {
                self.release(name);
                Ok(Value::Null)
            }
            _ => {
                let queue = self.queue(name).await?;
                match op.strip_prefix("job.") {
                    Some(op) => self.of_job(&queue, string(&order["id"]), op, &order["args"]).await,
                    None => self.of_queue(&queue, op, &order["args"]).await,
                }
            }
        }
    }
}

/// A job's fields; its own form leaves the priority out.
fn view(job: &Job) -> Value {
    let mut fields = json!(job);
    fields["priority"] = json!(job.priority());
    fields
}

/// What a worker does with a job, as its data says.
async fn process(mut job: Job, mut gate: watch::Receiver<bool>) -> Result<Value, Error> {
    let does = job.data().clone();
    let attempt = u64::from(job.attempts_made()) + 1;
    for line in does["lines"].as_array().into_iter().flatten() {
        job.log(string(line)).await?;
    }
    for value in does["progress"].as_array().into_iter().flatten() {
        job.update_progress(serde_json::from_value(value.clone())?).await?;
    }
    if does["hang"] == true {
        // A gate that is gone lets everybody go on.
        let _ = gate.wait_for(|open| *open).await;
    }
    if let Some(time) = does["slow"].as_u64() {
        sleep(Duration::from_millis(time)).await;
    }
    if let Some(why) = does["gone"].as_str() {
        return Err(Error::Unrecoverable(why.to_owned()));
    }
    if number(&does["fail"]) >= attempt {
        let why = does["why"].as_str().map_or_else(|| format!("boom {attempt}"), str::to_owned);
        return Err(Error::ProcessingError(why));
    }
    if does["children"] == true {
        return Ok(json!(job.get_children_values().await?));
    }
    Ok(does.get("value").cloned().unwrap_or(Value::Null))
}

fn tree(flow: &Value) -> Result<FlowJob, String> {
    let children: Result<Vec<_>, String> = flow["children"].as_array().into_iter().flatten().map(tree).collect();
    Ok(FlowJob {
        name: string(&flow["name"]).to_owned(),
        queue_name: string(&flow["queueName"]).to_owned(),
        data: flow["data"].clone(),
        opts: Some(options(&flow["opts"])?),
        prefix: None,
        children: Some(children?).filter(|children| !children.is_empty()),
    })
}

fn list(node: &JobNode, ids: &mut Vec<String>) {
    ids.push(node.job.id().to_owned());
    for child in node.children.iter().flatten() {
        list(child, ids);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).expect("official PORT");
    let peer = Arc::new(Peer {
        url: format!("redis://127.0.0.1:{port}"),
        queues: AsyncMutex::default(),
        workers: AsyncMutex::default(),
        listeners: AsyncMutex::default(),
        gates: Mutex::default(),
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let order: Value = serde_json::from_str(&line).expect("an order is JSON");
        let peer = peer.clone();
        tokio::spawn(async move {
            let answer = match peer.obey(string(&order["op"]), &order["with"]).await {
                Ok(ok) => json!({ "n": order["n"], "ok": ok }),
                Err(why) => json!({ "n": order["n"], "error": why }),
            };
            println!("{answer}");
        });
    }
    std::process::exit(0);
}
