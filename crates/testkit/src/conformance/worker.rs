//! Whole workers over a store. Time is the runtime's: on a store without threads of its own it is paused and jumps from
//! timer to timer, so that waits cost nothing and are exact; on the others it is real.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::{Backend, NewJob, Shared};
use launchkit_queue::*;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::given::{self, T0};
use crate::{Given, Harness};

mod books;
mod ends;
mod fleet;
mod groups;
mod harm;
mod limits;
mod metrics;
mod policies;
mod repeat;
mod stops;

pub use books::*;
pub use ends::*;
pub use fleet::*;
pub use groups::*;
pub use harm::*;
pub use limits::*;
pub use metrics::*;
pub use policies::*;
pub use repeat::*;
pub use stops::*;

/// How long a case may take; only one that hangs needs it.
const GUARD: Duration = Duration::from_secs(120);

/// What cases work on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Text {
    n: u32,
}

impl JobKind for Text {
    const NAME: &'static str = "text";
    const FORMER_NAMES: &'static [&'static str] = &["old-text"];
    type Output = u32;
}

/// A queue with the clock of the runtime, and the seam below it.
struct Bench {
    queue: Queue,
    given: Given,
    clock: Clock,
    /// Whether time is paused: then waits are exact.
    exact: bool,
}

impl Bench {
    fn on(h: &impl Harness) -> Self {
        Self::over(h.backend())
    }

    fn over(backend: Arc<dyn Backend>) -> Self {
        let exact = backend.promises().shared == Shared::Process;
        if exact {
            tokio::time::pause();
        }
        Self::with(backend, Clock::runtime(T0), exact)
    }

    fn with(backend: Arc<dyn Backend>, clock: Clock, exact: bool) -> Self {
        let store = Store::over(backend.clone(), clock.clone());
        let queue = Queue::new(&store, "cases").expect("a queue name");
        Self { given: Given::over(backend, queue.name().clone()), queue, clock, exact }
    }

    /// The same bench over another handle.
    fn beside(&self, backend: Arc<dyn Backend>) -> Self {
        Self::with(backend, self.clock.clone(), self.exact)
    }

    fn worker(&self) -> WorkerBuilder {
        Worker::builder(&self.queue)
    }

    /// Adds one job of the cases' kind.
    async fn add(&self, text: &str, n: u32, options: JobOptions) -> JobId {
        self.queue.add(Text { n }).options(options).id(text).await.expect("add").id().clone()
    }

    /// Adds `a0`, `a1`, … with their numbers as data.
    async fn add_many(&self, count: u32, options: &JobOptions) {
        let data = |n: u32| given::json(&format!("{{\"n\":{n}}}"));
        let new = |n: u32| NewJob { data: data(n), ..given::named(&format!("a{n}"), options.clone()) };
        self.given.add((0..count).map(new).collect(), self.clock.now()).await;
    }

    async fn outcome(&self, id: &JobId) -> Result<u32, OutcomeError> {
        self.queue.outcome::<Text>(id, GUARD).await
    }

    /// The failure of a job that fails.
    async fn failure(&self, id: &JobId) -> Failure {
        match self.outcome(id).await {
            Err(OutcomeError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Follows the events from the beginning until this one has come this many times.
    async fn until(&self, count: usize, wanted: impl Fn(&Event) -> bool) {
        let mut events = self.queue.events(Position::START);
        let mut seen = 0;
        while seen < count {
            if let Told::Event(_, event) = events.next().await.expect("events") {
                seen += usize::from(wanted(&event));
            }
        }
    }

    async fn until_ended(&self, count: usize) {
        self.until(count, |event| matches!(event, Event::Completed { .. } | Event::Failed { .. })).await;
    }
}

/// Runs a worker during a piece of work, then stops it.
async fn during<O>(worker: WorkerBuilder, work: impl Future<Output = O>) -> (O, Report) {
    let (stop, stopped) = oneshot::channel::<()>();
    let running = worker.build().expect("a worker").run_until(async {
        // Either way it is time to stop.
        let _ = stopped.await;
    });
    let working = async {
        let answer = guard(work).await;
        drop(stop);
        answer
    };
    // Workers are large futures, and these are nested.
    let (working, running) = (Box::pin(working), Box::pin(running));
    guard(async { tokio::join!(working, running) }).await
}

/// Ends a case that hangs.
async fn guard<O>(work: impl Future<Output = O>) -> O {
    tokio::time::timeout(GUARD, work).await.expect("the case ends")
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // Nobody may be listening any more.
        let _ = self.0.send(());
    }
}
