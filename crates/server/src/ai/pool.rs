//! The processors' own threads: a fixed number of them behind a bounded queue.
//!
//! A long computation must not hold up the runtime's threads, and a panic in one must not end
//! anything else. The pool knows closures only.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type Task = Box<dyn FnOnce() + Send>;

/// Why a closure gave no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum PoolError {
    /// It panicked; the text is the panic's message.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// The threads are gone.
    #[error("the pool has stopped")]
    Closed,
}

/// Dropping it closes the queue: the threads finish what they hold and what waits, then end.
pub(super) struct Pool {
    tasks: SyncSender<Task>,
    places: Arc<Semaphore>,
}

impl Pool {
    /// `threads` and `queue` are raised to 1 where they are 0. A thread that the system refuses is
    /// logged; with none at all every task answers [`PoolError::Closed`].
    pub(super) fn new(threads: usize, queue: usize) -> Self {
        let (threads, queue) = (threads.max(1), queue.max(1));
        let places = threads + queue;
        let (tasks, inbox) = sync_channel::<Task>(places);
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..threads {
            let inbox = inbox.clone();
            let thread = std::thread::Builder::new().name(format!("ai-{number}"));
            if let Err(error) = thread.spawn(move || serve(&inbox)) {
                tracing::error!(%error, number, "a processor thread could not be started");
            }
        }
        Pool { tasks, places: Arc::new(Semaphore::new(places)) }
    }

    /// Waits for a place, then for the result. A dropped future gives up the result, not the place:
    /// that is free again when the closure has ended, so the bound holds for what really runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| PoolError::Closed)?;
        let (reply, result) = oneshot::channel();
        let task: Task = Box::new(move || {
            let outcome = guarded(work, place);
            // Nobody listens any more when the job was canceled.
            let _ = reply.send(outcome);
        });
        // Never full: there are as many places in the channel as permits.
        self.tasks.try_send(task).map_err(|_| PoolError::Closed)?;
        result.await.map_err(|_| PoolError::Closed)?
    }
}

fn serve(inbox: &Mutex<Receiver<Task>>) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(task) => task(),
            Err(_) => return,
        }
    }
}

fn guarded<T>(work: impl FnOnce() -> T, place: OwnedSemaphorePermit) -> Result<T, PoolError> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    drop(place);
    outcome.map_err(|panic| PoolError::Panicked(panic_text(panic.as_ref())))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_thread_lives_on() {
        let pool = Pool::new(1, 1);
        let panicked = pool.run(|| panic!("boom {}", 7)).await;
        assert!(matches!(panicked, Err(PoolError::Panicked(text)) if text == "boom 7"));
        assert_eq!(pool.run(|| 5).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn no_more_tasks_are_held_than_there_are_places() {
        let pool = Arc::new(Pool::new(1, 2));
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    let _ = begun.send(());
                    let _ = gate.recv();
                })
                .await
            }
        });
        has_begun.await.unwrap();
        let held: Vec<_> = (0..2)
            .map(|number| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.run(move || number).await })
            })
            .collect();
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut beyond = Box::pin(pool.run(|| 9));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(beyond.as_mut().poll(cx).is_pending()));
        assert!(polled.await, "the fourth task must wait outside");
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        for (number, task) in held.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), number);
        }
        assert_eq!(beyond.await.unwrap(), 9);
    }
}
