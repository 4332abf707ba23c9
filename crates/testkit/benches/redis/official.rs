//! `bullmq-official`, BullMQ's own client for Rust, as its documentation shows it.

use std::ops::Range;
use std::sync::Arc;

use bullmq::options::RedisConnectionOptions;
use bullmq::queue::BulkJob;
use bullmq::types::{BackoffStrategy, KeepJobs, RemoveOnFinish};
use bullmq::{Job, JobOptions, Queue, QueueOptions, Worker, WorkerOptions};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::client::{Client, Fault, KIND, Seen, Text};

/// How long a stop may take, in ms.
const STOP: u64 = 10_000;

#[derive(Clone)]
pub(crate) struct Official {
    connection: RedisConnectionOptions,
    queue: Queue,
}

pub(crate) struct Working {
    worker: Arc<Worker>,
    running: JoinHandle<Result<(), bullmq::Error>>,
}

impl Client for Official {
    type Ready = Worker;
    type Working = Working;

    async fn open(url: &str, queue: &str) -> Result<Self, Fault> {
        let connection = RedisConnectionOptions { url: url.to_owned(), ..RedisConnectionOptions::new() };
        let options = QueueOptions::new().connection(connection.clone()).default_job_options(options());
        Ok(Self { connection, queue: Queue::with_options(queue, options).await? })
    }

    async fn add(&self, number: u32) -> Result<(), Fault> {
        self.queue.add(KIND, Text::new(number)).await?;
        Ok(())
    }

    async fn add_bulk(&self, numbers: Range<u32>) -> Result<(), Fault> {
        self.queue.add_bulk(numbers.map(|number| BulkJob::new(KIND, Text::new(number))).collect()).await?;
        Ok(())
    }

    async fn ready(&self, slots: usize, seen: Arc<Seen>) -> Result<Worker, Fault> {
        let options = WorkerOptions::new().connection(self.connection.clone()).concurrency(slots).manual_start();
        let handler = move |job: Job, _| {
            let seen = seen.clone();
            async move {
                let id = job.data()["jobId"].as_str().unwrap_or_default();
                seen.handle(id).await.map_err(|why| bullmq::Error::InvalidConfig(why.to_string()))?;
                Ok(Value::Null)
            }
        };
        Ok(Worker::with_options(self.queue.name(), handler, options).await?)
    }

    async fn go(worker: Worker) -> Result<Working, Fault> {
        let worker = Arc::new(worker);
        let running = tokio::spawn({
            let worker = worker.clone();
            async move { worker.run().await }
        });
        Ok(Working { worker, running })
    }

    /// It goes when its last wait for jobs is over, up to five seconds later, and nobody waits for it: it has nothing left.
    async fn stop(working: Working) -> Result<(), Fault> {
        if working.running.is_finished() {
            working.running.await??;
        }
        tokio::spawn(async move { working.worker.close(STOP).await });
        Ok(())
    }

    async fn close(self) -> Result<(), Fault> {
        self.queue.close().await;
        Ok(())
    }
}

fn options() -> JobOptions {
    let keep = KeepJobs { age: Some(3_600), count: Some(1_000), limit: None };
    JobOptions::new()
        .attempts(3)
        .backoff(BackoffStrategy::Exponential(2_000))
        .remove_on_complete(RemoveOnFinish::Options(keep))
}
