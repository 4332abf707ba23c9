//! Following what happens in a queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Events};
use crate::error::StoreError;
use crate::event::{Event, Position};
use crate::job::{JobId, QueueName};

/// How long one look waits for news before it looks again.
const LOOK: Duration = Duration::from_secs(5);
/// Events read in one trip.
const PAGE: u32 = 256;

/// What a reader is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// This happened.
    Event(Position, Event),
    /// Events before this position were no longer kept: what they said is lost, the jobs themselves are not.
    Gap(Position),
}

/// The events of a queue, in order, from a position on. Nothing is kept in memory for a reader that does not read.
pub struct EventStream {
    backend: Arc<dyn Backend>,
    queue: QueueName,
    after: Position,
    read: VecDeque<Told>,
}

impl EventStream {
    pub(super) fn new(backend: Arc<dyn Backend>, queue: QueueName, after: Position) -> Self {
        Self { backend, queue, after, read: VecDeque::new() }
    }

    /// The next event; waits for one. After an error the stream can be asked again and goes on where it was.
    pub async fn next(&mut self) -> Result<Told, StoreError> {
        loop {
            if let Some(told) = self.read.pop_front() {
                return Ok(told);
            }
            self.fill().await?;
            if self.read.is_empty() {
                self.backend.wait_events(&self.queue, self.after, LOOK).await?;
            }
        }
    }

    /// Waits for the next event about a job, or for a gap in which one may have been.
    pub(super) async fn about(&mut self, id: &JobId) -> Result<(), StoreError> {
        loop {
            match self.next().await? {
                Told::Event(_, event) if event.job() == Some(id) => return Ok(()),
                Told::Event(..) => {}
                Told::Gap(_) => return Ok(()),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        let Events { events, gap, next } = self.backend.events(&self.queue, self.after, PAGE).await?;
        if gap {
            self.read.push_back(Told::Gap(events.first().map_or(next, |(position, _)| *position)));
        }
        self.read.extend(events.into_iter().map(|(position, event)| Told::Event(position, event)));
        self.after = next;
        Ok(())
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("queue", &self.queue).field("after", &self.after).finish_non_exhaustive()
    }
}
