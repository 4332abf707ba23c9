//! `launchkit-queue` as its users use it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::RedisOptions;
use launchkit_queue::{Active, Backoff, Exit, JobKind, JobOptions, Keep, Planned, Queue, Running, Store, Worker};

use crate::client::{Client, Fault, KIND, Seen, Text};

#[derive(Clone)]
pub(crate) struct Ours {
    store: Store,
    queue: Queue,
}

impl JobKind for Text {
    const NAME: &'static str = KIND;
    type Output = ();

    fn options() -> JobOptions {
        JobOptions {
            attempts: 3,
            backoff: Backoff::exponential(Duration::from_secs(2)),
            keep_completed: Keep { count: Some(1_000), age: Some(Duration::from_secs(3_600)) },
            ..JobOptions::default()
        }
    }
}

impl Client for Ours {
    type Ready = Worker;
    type Working = Running;

    async fn open(url: &str, queue: &str) -> Result<Self, Fault> {
        let store = Store::redis(&RedisOptions::parse(url)?).await?;
        let queue = Queue::new(&store, queue)?;
        Ok(Self { store, queue })
    }

    async fn add(&self, number: u32) -> Result<(), Fault> {
        self.queue.add(Text::new(number)).await?;
        Ok(())
    }

    async fn add_bulk(&self, numbers: Range<u32>) -> Result<(), Fault> {
        self.queue.add_all(numbers.map(|number| Planned::new(&Text::new(number))).collect()).await?;
        Ok(())
    }

    async fn ready(&self, slots: usize, seen: Arc<Seen>) -> Result<Worker, Fault> {
        let handler = move |job: Active<Text>| {
            let seen = seen.clone();
            async move { seen.handle(&job.data().job_id).await.map_err(Exit::from) }
        };
        Ok(Worker::builder(&self.queue).concurrency(slots).on::<Text>(handler).build()?)
    }

    async fn go(worker: Worker) -> Result<Running, Fault> {
        Ok(worker.start())
    }

    async fn stop(worker: Running) -> Result<(), Fault> {
        worker.stop().await;
        Ok(())
    }

    async fn close(self) -> Result<(), Fault> {
        self.store.close().await;
        Ok(())
    }
}
