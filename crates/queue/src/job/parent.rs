//! What binds a job to its parent.

use serde::{Deserialize, Serialize};

use super::{JobId, QueueName};

/// What the final failure of a child means for its parent. BullMQ has four options that exclude each other; here they are
/// one choice.
///
/// ```
/// use launchkit_queue::ChildFailure;
/// assert_eq!(ChildFailure::default(), ChildFailure::Wait);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildFailure {
    /// The parent waits until the child is retried with success, removed or detached (BullMQ without any option).
    #[default]
    Wait,
    /// The parent fails at once, with a failure of the kind [`Child`](crate::FailureKind::Child)
    /// (`failParentOnFailure`).
    FailParent,
    /// The parent runs at once, whatever other children are pending (`continueParentOnFailure`).
    ContinueParent,
    /// The child counts as done; its reason stays with its parent (`ignoreDependencyOnFailure`).
    Ignore,
    /// The child counts as done and leaves no trace with its parent (`removeDependencyOnFailure`).
    Remove,
}

/// The living parent of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub id: JobId,
    /// What this job's failure means for it.
    pub on_failure: ChildFailure,
}
