//! The books over every run: steps 3 to 7 of the protocol between database and queue. The row decides what becomes of a
//! job; the queue is told afterwards.

use async_trait::async_trait;
use launchkit_queue::backend::Held;
use launchkit_queue::{Begin, Ending, Failure, FailureKind, Journal, JournalError, Outcome, Payload, Queue, Timestamp};

use std::sync::Arc;

use super::handler::{self, Said};
use crate::failpoint::{self, Point};
use crate::ledger::{
    Begun, Decision, Ended, Finish, JobError, JobState, Kind, Ledger, LedgerError, Mirror, Start, Usage, What,
    parse_queue_id,
};

/// How often a queue job without a row is looked for again before it is failed.
const UNKNOWN_STARTS: u32 = 3;
/// How long between two such looks.
const UNKNOWN_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) struct Books {
    ledger: Ledger,
    queue: Queue,
    holder: String,
}

impl Books {
    pub(super) fn new(ledger: Ledger, queue: Queue, holder: &str) -> Self {
        Self { ledger, queue, holder: holder.to_owned() }
    }

    fn now(&self) -> i64 {
        self.queue.clock().now().millis()
    }
}

#[async_trait]
impl Journal for Books {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        let mut decisions: Vec<Option<Begin>> = Vec::with_capacity(held.len());
        let mut starts = Vec::with_capacity(held.len());
        for job in held {
            match parse_queue_id(job.lock.id.as_str()) {
                Some((id, generation)) => {
                    starts.push(Start { id: id.to_owned(), generation, made: i64::from(job.made) });
                    decisions.push(None);
                }
                None => decisions.push(Some(Begin::Skip(dead("unknown-job", "this is not one of our jobs")))),
            }
        }
        failpoint::pass(Point::Beginning);
        let begun = self.ledger.begin(Kind::Job, &starts, &self.holder, self.now()).await.map_err(unwritten)?;
        failpoint::pass(Point::Begun);
        let mut begun = begun.into_iter();
        let mut all = Vec::with_capacity(held.len());
        for (job, decision) in held.iter().zip(decisions) {
            let decision = match decision {
                Some(decision) => decision,
                None => self.decided(job, begun.next().unwrap_or(Begun::Unknown)),
            };
            all.push(decision);
        }
        Ok(all)
    }

    async fn end(&self, endings: &mut [Ending]) -> Result<(), JournalError> {
        let finishes: Vec<Option<Finish>> = endings.iter().map(finish).collect();
        let known: Vec<Finish> = finishes.iter().flatten().cloned().collect();
        failpoint::pass(Point::Ending);
        let ended = self.ledger.end(Kind::Job, known, self.now()).await.map_err(unwritten)?;
        failpoint::pass(Point::Ended);
        let mut ended = ended.into_iter();
        for (ending, finish) in endings.iter_mut().zip(&finishes) {
            let Some(finish) = finish else { continue };
            if let Some(ended) = ended.next() {
                self.settle(ending, finish, ended);
            }
        }
        Ok(())
    }
}

impl Books {
    fn decided(&self, job: &Held, begun: Begun) -> Begin {
        match begun {
            Begun::Run(run) => Begin::Run(Arc::new(handler::Begun::new(run))),
            Begun::Skip(mirror) => Begin::Skip(mirrored(mirror)),
            Begun::Superseded | Begun::Adopted { .. } => Begin::Skip(Outcome::Done(superseded())),
            Begun::Unknown if job.started < UNKNOWN_STARTS => {
                Begin::Skip(Outcome::Later(self.queue.clock().now().plus(UNKNOWN_WAIT)))
            }
            Begun::Unknown => Begin::Skip(dead("unknown-job", "the database does not know this job")),
        }
    }

    /// Tells the queue what the row decided.
    fn settle(&self, ending: &mut Ending, finish: &Finish, ended: Ended) {
        let id = &finish.id;
        let decision = match ended {
            Ended::Applied(decision) => decision,
            Ended::Stale => {
                // Another run has the row: nothing was written or billed, and this one's lock is lost too.
                tracing::warn!(job = %id, queue = %self.queue.name(), "a late run was ignored");
                ending.outcome = Outcome::Done(superseded());
                return;
            }
        };
        let failure = failure_of(&ending.outcome, &finish.what);
        ending.outcome = match decision {
            Decision::Done => {
                log_success(id, &finish.what);
                Outcome::Done(Payload::null())
            }
            Decision::Retry { at } => {
                tracing::warn!("Job {id} failed and will be tried again: {}", failure.message);
                Outcome::Retry { at: Timestamp::from_millis(at), failure }
            }
            Decision::Dead => {
                tracing::warn!("Job {id} failed: {}", failure.message);
                Outcome::Dead(failure)
            }
            Decision::GivenBack { until: Some(at) } => Outcome::Later(Timestamp::from_millis(at)),
            Decision::GivenBack { until: None } => match ending.outcome {
                Outcome::SlowDown(until) => Outcome::SlowDown(until),
                Outcome::AwaitChildren => Outcome::AwaitChildren,
                Outcome::SlowDownGroup(until) => Outcome::SlowDownGroup(until),
                _ => Outcome::Back,
            },
            Decision::Canceled => {
                tracing::info!("Job {id} was canceled");
                Outcome::Dead(Failure::new(FailureKind::Canceled, "the job was canceled"))
            }
        };
    }
}

/// What the books are told of an ending; `None` for a run that they did not begin.
fn finish(ending: &Ending) -> Option<Finish> {
    let begun = ending.carry.clone().downcast::<handler::Begun>().ok()?;
    let said = begun.said();
    let what = match (&ending.outcome, said.as_deref()) {
        (Outcome::Done(_), Some(Said::Answer(answer))) => {
            What::Succeeded { output: answer.output.to_string(), usage: Some(usage(&answer.usage)) }
        }
        (Outcome::Done(_), _) => {
            What::Failed { error: error("internal", "the processor gave no answer", true), usage: None, retry_at: None }
        }
        (Outcome::Retry { failure, .. } | Outcome::Dead(failure), said) => failed(failure, said),
        (Outcome::Later(at), _) => What::GiveBack { until: Some(at.millis()) },
        (Outcome::Back | Outcome::SlowDown(_) | Outcome::SlowDownGroup(_) | Outcome::AwaitChildren, _) => {
            What::GiveBack { until: None }
        }
    };
    Some(Finish { id: begun.run.id.clone(), generation: begun.run.generation, run: begun.run.run, what })
}

fn failed(failure: &Failure, said: Option<&Said>) -> What {
    let message = &*failure.message;
    let error = match (failure.kind, said) {
        (FailureKind::Canceled, _) => return What::Canceled,
        (FailureKind::Error | FailureKind::GaveUp, Some(Said::Failure(failure))) => {
            error(failure.code, &failure.message, failure.retryable)
        }
        (FailureKind::Error, _) => error("failed", message, true),
        (FailureKind::GaveUp, _) => error("failed", message, false),
        (FailureKind::Panic, _) => error("internal", "the processor broke down on this input", true),
        (FailureKind::Timeout, _) => error("timeout", message, true),
        (FailureKind::Stalled, _) => error("stalled", "the workers that ran this job vanished", false),
        (FailureKind::Damaged, _) => error("internal", "the queue's record of this job is damaged", false),
        (FailureKind::Child, _) => error("failed", message, false),
        (FailureKind::Expired, _) => error("expired", "no worker started the job in time", false),
    };
    What::Failed { error, usage: None, retry_at: None }
}

fn failure_of(outcome: &Outcome, what: &What) -> Failure {
    match (outcome, what) {
        // What a panic says may quote the input, which belongs neither into the log nor into the queue.
        (Outcome::Retry { failure, .. } | Outcome::Dead(failure), What::Failed { error, .. })
            if failure.kind == FailureKind::Panic =>
        {
            Failure::new(failure.kind, &error.message)
        }
        (Outcome::Retry { failure, .. } | Outcome::Dead(failure), _) => failure.clone(),
        (_, What::Failed { error, .. }) => Failure::new(FailureKind::Error, &error.message),
        _ => Failure::new(FailureKind::Error, "the job failed"),
    }
}

fn mirrored(mirror: Mirror) -> Outcome {
    let message = mirror.error.as_ref().map_or("the job had ended before", |error| &error.message);
    match mirror.state {
        JobState::Canceled => Outcome::Dead(Failure::new(FailureKind::Canceled, "the job was canceled")),
        JobState::Failed => Outcome::Dead(Failure::new(FailureKind::Error, message)),
        JobState::Succeeded | JobState::Queued | JobState::Processing => Outcome::Done(Payload::null()),
    }
}

fn log_success(id: &str, what: &What) {
    let usage = match what {
        What::Succeeded { usage: Some(usage), .. } => usage.clone(),
        _ => Usage::default(),
    };
    let tokens = usage.input_tokens + usage.output_tokens;
    let cents = usage.cost_micros / 10_000;
    tracing::info!("Job {id} completed successfully. Tokens: {tokens}, Cost: ${}.{:02}", cents / 100, cents % 100);
}

fn usage(usage: &crate::ai::Usage) -> Usage {
    Usage {
        input_tokens: i64::try_from(usage.input_tokens).unwrap_or(i64::MAX),
        output_tokens: i64::try_from(usage.output_tokens).unwrap_or(i64::MAX),
        provider: usage.provider.clone(),
        model: usage.model.clone(),
        cost_micros: usage.cost_micros,
    }
}

fn superseded() -> Payload {
    Payload::null()
}

fn dead(code: &str, message: &str) -> Outcome {
    Outcome::Dead(Failure::new(FailureKind::GaveUp, &format!("{code}: {message}")))
}

fn error(code: &str, message: &str, retryable: bool) -> JobError {
    JobError { code: code.to_owned(), message: message.to_owned(), retryable }
}

fn unwritten(error: LedgerError) -> JournalError {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    JournalError(format!("{error}{source}"))
}
