//! The hook that money hangs on: whoever keeps books over jobs is told of every start and every end, in batches, and its
//! word comes before the queue's.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use crate::backend::Held;
use crate::exit::Outcome;

/// What a journal attaches to a run; it comes back with the run's end, and the handler can read it.
pub type Carry = Arc<dyn Any + Send + Sync>;

/// What to do with a job that has been taken.
#[derive(Debug)]
pub enum Begin {
    /// Run it, with what the journal wants to remember of this run.
    Run(Carry),
    /// Do not run it: it ends like this, and the journal will not be asked again.
    Skip(Outcome),
}

/// A run that has ended, before the queue knows of it. The journal may change the outcome.
#[derive(Debug)]
pub struct Ending {
    /// The job as it was taken.
    pub held: Held,
    /// What the journal attached at the beginning.
    pub carry: Carry,
    /// What becomes of the job.
    pub outcome: Outcome,
}

/// Why a journal could not write. A panic is taken for one. The worker tries again, after the first refusal with one end at a
/// time, and keeps the locks meanwhile. An end that is refused again and again while others are taken, or for ten lock times, is
/// let go of: its job runs again when the lock has run out.
#[derive(Debug, thiserror::Error)]
#[error("the journal could not be written: {0}")]
pub struct JournalError(pub String);

/// Keeps books over the jobs of a worker. Every call is a batch; crashes between a call and the queue's own step are
/// survived by being asked again, so both calls must be idempotent. A call that takes longer than
/// [`ANSWER`](crate::backend::ANSWER) is dropped where it stands and repeated; what it began may end after that.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Jobs have been taken: answers one decision each, in order. Jobs with `failed_already` are begun too, so that their
    /// end can be told.
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError>;

    /// Runs have ended. Called before the queue is told; what stands in `outcome` afterwards is what it is told.
    async fn end(&self, endings: &mut [Ending]) -> Result<(), JournalError>;
}

/// The journal of those who keep no books.
#[derive(Debug)]
pub(crate) struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        let nothing: Carry = Arc::new(());
        Ok(held.iter().map(|_| Begin::Run(nothing.clone())).collect())
    }

    async fn end(&self, _: &mut [Ending]) -> Result<(), JournalError> {
        Ok(())
    }
}
