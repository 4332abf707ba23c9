//! All loops of a process beside a queue that falls sick: its calls fail, or are carried out and fail, or come late, or are never
//! answered. Rows are carried there, run, told to stop and given a new life all the same.

use async_trait::async_trait;
use launchkit_queue::{Clock, Store, Worker};
use launchkit_testkit::Faulty;
use launchkit_testkit::faulty::{Fault, Verb};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ai::{AiFailure, Answer, JobType, Usage};
use crate::ledger::tests::new_job;
use crate::ledger::{By, Create, Created, DatabaseUrl, JobRow, JobState, Kind, NewJob, OpenOptions};

/// What the loops call; the worker's own calls are played in simulated time by the queue's tests.
const VERBS: [Verb; 4] = [Verb::Add, Verb::Edit, Verb::Control, Verb::Read];
const LOCK: Duration = Duration::from_secs(1);
/// Within this everything is well again.
const WELL: Duration = Duration::from_secs(60);

/// Answers, but for a text that it waits with until it is told to stop; tells of that one's start.
struct Waiter(mpsc::UnboundedSender<()>);

#[async_trait]
impl Processor for Waiter {
    async fn process(&self, _: JobType, input: &Value, stop: &CancellationToken) -> Result<Answer, AiFailure> {
        if input["text"] == "Wait." {
            let _ = self.0.send(());
            stop.cancelled().await;
            return Err(AiFailure { code: "canceled", message: "told to stop".to_owned(), retryable: true });
        }
        let usage =
            Usage { input_tokens: 1, output_tokens: 1, provider: "local".into(), model: "none".into(), cost_micros: 0 };
        Ok(Answer { output: json!({"summary": "Some text."}), usage })
    }
}

/// One call of each verb fares like this.
async fn gets_over(fault: Fault) {
    let folder = tempfile::tempdir().unwrap();
    let healthy = Store::memory();
    let faulty = Faulty::over(healthy.backend().clone());
    let store = Store::over(faulty.clone(), Clock::system());
    let queue = Queue::new(&store, "ai-jobs").unwrap();
    let now = || queue.clock().now().millis();
    let old = now() - 3_600_000;
    let url = DatabaseUrl::Sqlite(folder.path().join("launchkit.db"));
    let ledger = Ledger::open(&url, OpenOptions::default(), old).await.unwrap();
    let org = ledger.ensure_default_org(old).await.unwrap().id;
    let create = async |job: NewJob, at: i64| {
        let create = Create { org: org.clone(), jobs: vec![job], idempotency: None };
        let Created::Created(rows) = ledger.create(vec![create], at).await.unwrap().remove(0) else {
            panic!("refused")
        };
        rows[0].id.clone()
    };
    let waiting = create(NewJob { input: r#"{"text":"Wait."}"#.to_owned(), ..new_job() }, now()).await;
    let plain = create(new_job(), now()).await;
    // In the queue, as far as the database knows.
    let lost = create(new_job(), old).await;
    ledger.dispatched(Kind::Job, &[(lost.clone(), 1)], old).await.unwrap();

    VERBS.iter().for_each(|verb| faulty.plan(*verb, [Some(fault)]));
    let owner = Arc::new(Owner::new(&store, ledger.deployment_id()));
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let processor: Arc<dyn Processor> = Arc::new(Waiter(begun));
    let settings = WorkSettings { concurrency: 4, grace: LOCK, lock_for: LOCK };
    let (name, stop) = ("sick".to_owned(), CancellationToken::new());
    let hire = {
        let (queue, ledger) = (Queue::new(&healthy, "ai-jobs").unwrap(), ledger.clone());
        move || -> Result<Worker, BadWorker> { ai_worker(&queue, &ledger, processor.clone(), "sick", &settings) }
    };
    let carried = Carried {
        ledger: ledger.clone(),
        queue: queue.clone(),
        owner: owner.clone(),
        wake: Arc::new(Notify::new()),
        pulse: Arc::new(Pulse::default()),
    };
    let watched = Watched {
        ledger: ledger.clone(),
        queue: queue.clone(),
        owner: owner.clone(),
        holder: name.clone(),
        skew: Arc::new(Skew::default()),
    };
    let mut loops = tokio::task::JoinSet::new();
    loops.spawn(dispatch(carried, stop.clone()));
    loops.spawn(watch_owner(owner.clone(), stop.clone()));
    loops.spawn(tell_canceled(ledger.clone(), queue.clone(), name, stop.clone()));
    loops.spawn(reconcile(watched, LOCK, stop.clone()));
    let worker = tokio::spawn(work_while_ours(hire().unwrap(), hire, owner, stop.clone()));

    let ended = async {
        has_begun.recv().await.unwrap();
        ledger.cancel(&org, &waiting, By { who: "who", from: "::1" }, now()).await.unwrap();
        loop {
            let mut rows: Vec<JobRow> = Vec::new();
            for id in [&waiting, &plain, &lost] {
                rows.extend(ledger.get(&org, id).await.unwrap());
            }
            let struck = faulty.faults() == VERBS.len() as u64;
            if struck && rows.iter().all(|row| row.state.is_final()) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // how often is asked
        }
    };
    let rows = tokio::time::timeout(WELL, ended).await.expect("all ends, and every fault was met");
    let states: Vec<(JobState, i64)> = rows.iter().map(|row| (row.state, row.generation)).collect();
    assert_eq!(states, [(JobState::Canceled, 1), (JobState::Succeeded, 1), (JobState::Succeeded, 2)], "{fault:?}");
    stop.cancel();
    let stopped = async {
        worker.await.unwrap().unwrap();
        loops.join_all().await;
    };
    tokio::time::timeout(WELL, stopped).await.expect("all stop");
}

#[tokio::test]
async fn loops_get_over_calls_that_fail() {
    gets_over(Fault::Before).await;
}

#[tokio::test]
async fn loops_get_over_answers_that_are_lost() {
    gets_over(Fault::After).await;
}

#[tokio::test]
async fn loops_get_over_calls_that_come_late() {
    gets_over(Fault::Slow).await;
}

#[tokio::test]
async fn loops_get_over_calls_that_are_never_answered() {
    gets_over(Fault::Hang).await;
}

#[tokio::test]
async fn loops_get_over_calls_that_are_done_and_never_answered() {
    gets_over(Fault::Deaf).await;
}
