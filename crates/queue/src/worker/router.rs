//! From the stored name of a job to the handler that knows it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::active::Active;
use crate::exit::Exit;
use crate::job::{JobKind, Payload};

/// Runs jobs of one kind. Every `Fn(Active<J>) -> impl Future<Output = Result<J::Output, Exit>>` is one; a type of its own can
/// hold what its jobs need.
///
/// ```
/// # use launchkit_queue::{Active, Exit, Handler, JobKind};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet { name: String }
/// # impl JobKind for Greet { const NAME: &'static str = "greet"; type Output = String; }
/// struct Greeter {
///     greeting: String, // a database pool, a client, another queue …
/// }
///
/// impl Handler<Greet> for Greeter {
///     async fn run(&self, job: Active<Greet>) -> Result<String, Exit> {
///         Ok(format!("{}, {}", self.greeting, job.data().name))
///     }
/// }
/// ```
pub trait Handler<J: JobKind>: Send + Sync + 'static {
    /// Runs one job.
    fn run(&self, job: Active<J>) -> impl Future<Output = Result<J::Output, Exit>> + Send;
}

impl<J, F, Fut> Handler<J> for F
where
    J: JobKind,
    F: Fn(Active<J>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<J::Output, Exit>> + Send,
{
    fn run(&self, job: Active<J>) -> impl Future<Output = Result<J::Output, Exit>> + Send {
        self(job)
    }
}

pub(super) type Run = dyn Future<Output = Result<Payload, Exit>> + Send;
pub(super) type Answer = Pin<Box<Run>>;
type AnyHandler = Arc<dyn Fn(Active<Payload>) -> Answer + Send + Sync>;

#[derive(Default)]
pub(super) struct Router {
    by_name: HashMap<&'static str, AnyHandler>,
    rest: Option<AnyHandler>,
}

impl Router {
    /// Adds a handler under all names of its kind; answers a name that was taken.
    pub(super) fn add<J: JobKind>(&mut self, handler: impl Handler<J>) -> Option<&'static str> {
        let handler = Arc::new(handler);
        let any: AnyHandler = Arc::new(move |job| Box::pin(decoded::<J, _>(handler.clone(), job)));
        let names = std::iter::once(J::NAME).chain(J::FORMER_NAMES.iter().copied());
        let mut doubled = None;
        for name in names {
            if self.by_name.insert(name, any.clone()).is_some() {
                doubled = Some(name);
            }
        }
        doubled
    }

    pub(super) fn set_rest<F, Fut>(&mut self, handler: F)
    where
        F: Fn(Active<Payload>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, Exit>> + Send + 'static,
    {
        self.rest = Some(Arc::new(move |job| Box::pin(handler(job))));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.rest.is_none()
    }

    /// The handler's future for a job; `None` when nobody knows its name.
    pub(super) fn start(&self, job: Active<Payload>) -> Option<Answer> {
        let handler = self.by_name.get(job.name()).or(self.rest.as_ref())?;
        Some(handler(job))
    }
}

/// Decodes, runs, encodes. What cannot be decoded now cannot be decoded later: it is given up.
async fn decoded<J: JobKind, H: Handler<J>>(handler: Arc<H>, job: Active<Payload>) -> Result<Payload, Exit> {
    let data: J = job.data().decode().map_err(|error| Exit::give_up(format!("undecodable payload: {error}")))?;
    let output = handler.run(job.with(data)).await?;
    Payload::encode(&output).map_err(|error| Exit::give_up(format!("unusable result: {error}")))
}
