//! Two queues share what a model grants: 100 tokens a second. A handler that finds too little comes back when there is
//! enough, which is no failure. Beside that, one of the queues may start only one job in 300 ms.
//!
//! `cargo run -p launchkit-queue --features sqlite --example budget`

use std::error::Error;
use std::time::{Duration, Instant};

use launchkit_queue::{Active, Budget, Exit, Handler, JobKind, Queue, Rate, Spent, State, Store, Worker};
use serde::{Deserialize, Serialize};

const TOKENS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Serialize, Deserialize)]
struct Ask(String);

impl JobKind for Ask {
    const NAME: &'static str = "ask";
    type Output = String;
}

/// Pays, then asks the model.
#[derive(Clone)]
struct Model {
    store: Store,
    budget: Budget,
}

impl Handler<Ask> for Model {
    async fn run(&self, job: Active<Ask>) -> Result<String, Exit> {
        let question = &job.data().0;
        match self.store.spend(vec![self.budget.want(TOKENS)]).await? {
            Spent::Granted(left) => {
                println!("{question}: granted at start {}, {left:?} tokens left", job.started());
                self.store.spend(vec![self.budget.correct(-5)]).await?; // the answer is shorter than expected
                Ok(format!("answer to {question}"))
            }
            Spent::Wait(wait) => Err(Exit::Later(wait)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::memory();
    let budget = Budget::new("model tokens", 100.try_into()?, Duration::from_secs(1))?;
    let model = Model { store: store.clone(), budget };

    let summaries = Queue::new(&store, "summaries")?;
    let translations = Queue::new(&store, "translations")?;
    let rate = Rate { max: 1.try_into()?, per: PAUSE };
    translations.admin().set_rate_limit(Some(rate)).await?;

    let began = Instant::now();
    let mut jobs = Vec::new();
    let mut workers = Vec::new();
    for queue in [&summaries, &translations] {
        for number in 1..=4 {
            let added = queue.add(Ask(format!("{} {number}", queue.name()))).await?;
            jobs.push((queue, added.id().clone()));
        }
        let worker = Worker::builder(queue).concurrency(4).on::<Ask>(model.clone()).build()?;
        workers.push(worker.start());
    }
    for (queue, id) in &jobs {
        queue.outcome::<Ask>(id, Duration::from_secs(4)).await?;
    }
    let took = began.elapsed();
    for worker in workers {
        let report = worker.stop().await;
        println!("a worker completed {} jobs; {} times one was put off", report.done, report.returned);
        assert_eq!((report.done, report.retried, report.dead), (4, 0, 0));
    }

    // 8 jobs used 25 tokens each; all but the first 100 had to come in, 100 a second.
    println!("{} jobs took {took:?}", jobs.len());
    assert!(took >= Duration::from_secs(1));

    let (mut starts, mut put_off) = (Vec::new(), 0);
    for (queue, id) in &jobs {
        let job = queue.get(id).await?.ok_or("a job is gone")?;
        assert_eq!((job.state, job.made), (State::Completed, 1), "coming back is no attempt");
        put_off += job.started - 1;
        if queue.name() == translations.name() {
            starts.extend(job.processed_on);
        }
    }
    assert!(put_off > 0);
    starts.sort();
    println!("translations started at {starts:?}");
    assert_eq!(starts.len(), 4);
    assert!(starts.windows(2).all(|pair| pair[1].since(pair[0]) >= PAUSE));
    Ok(())
}
