//! Does one AI job. What it answers travels to the books beside the queue, which carries no texts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use launchkit_queue::{Active, Exit, Payload};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::ai::{Ai, AiFailure, Answer, JobType};
use crate::ledger::{Run, Work};

/// Whoever can do jobs: the local processors, a provider, a test's script.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Does one job; told to stop, it answers soon.
    async fn process(&self, kind: JobType, input: &Value, stop: &CancellationToken) -> Result<Answer, AiFailure>;
}

#[async_trait]
impl Processor for Ai {
    async fn process(&self, kind: JobType, input: &Value, stop: &CancellationToken) -> Result<Answer, AiFailure> {
        self.run(kind, input, stop).await
    }
}

/// A run as the books began it, and what its handler said.
pub(super) struct Begun {
    pub(super) run: Run,
    said: Mutex<Option<Arc<Said>>>,
}

/// What a handler said.
pub(super) enum Said {
    /// The job's output.
    Answer(Answer),
    /// Why there is none.
    Failure(AiFailure),
}

impl Begun {
    pub(super) fn new(run: Run) -> Self {
        Self { run, said: Mutex::new(None) }
    }

    /// What the handler said; it stays, since the books may have to be written twice.
    pub(super) fn said(&self) -> Option<Arc<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn say(&self, said: Said) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(said));
    }
}

/// Runs the job with the processors; told to stop, it passes that on and waits for them.
pub(super) async fn run(processor: Arc<dyn Processor>, job: Active<Payload>) -> Result<Payload, Exit> {
    let Some(begun) = job.carry::<Begun>() else {
        return Err(Exit::give_up("the job was not begun in the books"));
    };
    let run = &begun.run;
    let Work::Job(work) = &run.work else {
        return Err(Exit::give_up("this worker does AI jobs only"));
    };
    tracing::info!("Processing job {} of type {} for org {}", run.id, work.job_type, run.org);
    let answer = match (work.job_type.parse::<JobType>(), serde_json::from_str::<Value>(&work.input)) {
        (Ok(kind), Ok(input)) => process(&*processor, kind, &input, &job).await,
        _ => Err(AiFailure { code: "internal", message: "the stored job cannot be read".to_owned(), retryable: false }),
    };
    match answer {
        Ok(answer) => {
            begun.say(Said::Answer(answer));
            Ok(Payload::null())
        }
        Err(failure) => {
            let message = failure.message.clone();
            let retryable = failure.retryable;
            begun.say(Said::Failure(failure));
            Err(if retryable { Exit::Fail(message.into()) } else { Exit::give_up(message) })
        }
    }
}

async fn process(
    processor: &dyn Processor,
    kind: JobType,
    input: &Value,
    job: &Active<Payload>,
) -> Result<Answer, AiFailure> {
    let cancel = CancellationToken::new();
    // Dropped with this future, at a time limit or a lost lock, it stops the processors too.
    let _stop = cancel.clone().drop_guard();
    let mut answer = std::pin::pin!(processor.process(kind, input, &cancel));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = job.canceled() => cancel.cancel(),
    }
    answer.await
}
