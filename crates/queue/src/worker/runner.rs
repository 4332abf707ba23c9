//! Runs one handler to its end and says what was seen: a result, a failure of some kind, or nothing that counts.

use std::any::Any;
use std::future::Future;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Shared;
use super::active::{Active, Cause};
use super::held::Run;
use super::router::{self, Answer};
use crate::backend::Held;
use crate::exit::{Exit, Failure, FailureKind, Ran};
use crate::job::Payload;
use crate::journal::Carry;

/// How long a job of a name that nobody knows is put off.
const UNKNOWN_NAME_WAIT: Duration = Duration::from_secs(5);
/// How long a canceled handler may go on before it is dropped.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a handler may go on after the grace of a stop is over.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the job; `None` means that its lock was lost, so that there is nothing to say.
pub(super) async fn run(shared: &Shared, held: &Held, run: &Arc<Run>, carry: Carry) -> Option<Ran> {
    if let Some(failure) = &held.failed_already {
        return Some(Ran::Failed(failure.clone()));
    }
    // Not only its polling is the handler's code: dropping what it left and writing out its error are too.
    let ended = match Caught(pin!(attempt(shared, held, run, carry))).await {
        Ok(ended) => ended?,
        Err(panicked) => seen(Ok(Err(Exit::Fail(panicked.into())))),
    };
    Some(match (run.cause(), ended) {
        (None, ended) | (_, ended @ Ran::Done(_)) => ended,
        (Some(Cause::Canceled), _) => Ran::Failed(Failure::new(FailureKind::Canceled, "the job was canceled")),
        (Some(_), _) => Ran::Interrupted,
    })
}

/// One attempt from its start to its last word; `None` when nobody listens any more.
async fn attempt(shared: &Shared, held: &Held, run: &Arc<Run>, carry: Carry) -> Option<Ran> {
    let job = Active::new(&shared.queue, held, run.clone(), carry);
    let Some(answer) = start(shared, job) else {
        tracing::warn!(queue = %shared.queue.name(), job = %held.lock.id, name = %held.name, "no handler for this name: put off");
        return Some(Ran::Later(UNKNOWN_NAME_WAIT));
    };
    run.set_begun(shared.queue.clock().now());
    let mut answer = Caught(answer);
    tokio::select! {
        biased;
        ended = within(held.options.timeout, &mut answer) => Some(seen(ended)),
        cause = run.told() => last_word(cause, run, &mut answer).await,
    }
}

/// Starting a handler is its author's code too, and may panic.
fn start(shared: &Shared, job: Active<Payload>) -> Option<Answer> {
    match catch_unwind(AssertUnwindSafe(|| shared.router.start(job))) {
        Ok(answer) => answer,
        Err(panic) => Some(Box::pin(std::future::ready(Err(Exit::Fail(Panicked(words(&*panic)).into()))))),
    }
}

/// What a handler that has been told to stop says within its patience; `None` when nobody listens any more.
async fn last_word(cause: Cause, run: &Run, answer: &mut Caught<Box<router::Run>>) -> Option<Ran> {
    let patience = match cause {
        Cause::LockLost => return None,
        Cause::Canceled => CANCEL_PATIENCE,
        Cause::Shutdown => STOP_PATIENCE,
    };
    tokio::select! {
        biased;
        _ = run.lost() => None,
        ended = within(Some(patience), answer) => Some(seen(ended)),
    }
}

type Ended = Result<Result<Payload, Exit>, TimedOut>;

struct TimedOut(Duration);

async fn within(limit: Option<Duration>, answer: &mut Caught<Box<router::Run>>) -> Ended {
    let answer = match limit {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| TimedOut(limit))?,
    };
    Ok(answer.unwrap_or_else(|panicked| Err(Exit::Fail(panicked.into()))))
}

fn seen(ended: Ended) -> Ran {
    match ended {
        Ok(Ok(result)) => Ran::Done(result),
        Ok(Err(Exit::Later(wait))) => Ran::Later(wait),
        Ok(Err(Exit::SlowDown(wait))) => Ran::SlowDown(wait),
        Ok(Err(Exit::AwaitChildren)) => Ran::AwaitChildren,
        Ok(Err(Exit::SlowDownGroup(wait))) => Ran::SlowDownGroup(wait),
        Ok(Err(Exit::GiveUp(error))) => Ran::Failed(Failure::new(FailureKind::GaveUp, &error.to_string())),
        Ok(Err(Exit::Fail(error))) => {
            let kind = if error.is::<Panicked>() { FailureKind::Panic } else { FailureKind::Error };
            Ran::Failed(Failure::new(kind, &error.to_string()))
        }
        Err(TimedOut(limit)) => {
            Ran::Failed(Failure::new(FailureKind::Timeout, &format!("the attempt took longer than {limit:?}")))
        }
    }
}

/// A handler that panicked, as an error.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
pub(super) struct Panicked(pub(super) String);

/// A future whose panics become errors: what the worker's users wrote must not take its slots and locks with it.
pub(super) struct Caught<P>(pub(super) Pin<P>);

impl<P: DerefMut<Target: Future> + Unpin> Future for Caught<P> {
    type Output = Result<<P::Target as Future>::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the future is never polled again: its broken insides are only dropped.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(Panicked(words(&*panic)))),
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
