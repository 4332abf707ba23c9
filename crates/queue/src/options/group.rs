//! What a caller says so that tenants take turns.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::MAX_PRIORITY;
use crate::error::BadOptions;
use crate::job::label;

/// The class of every ready job that belongs to a group: one behind the last priority.
pub(crate) const GROUPED_CLASS: u32 = MAX_PRIORITY + 1;

/// The group that a job belongs to, a tenant for instance (BullMQ Pro's `group.id`): 1 to 255 bytes without control
/// characters.
///
/// Ready jobs of groups are taken after those without one, and the groups take turns, whatever the numbers of their jobs:
/// the first job of one tenant does not wait for the million jobs of another. Within a group the order is that of the
/// adding. Groups need not be made: one is there while it holds jobs or settings. See [`crate::Queue::groups`].
///
/// ```
/// # use launchkit_queue::{Queue, Store};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::new(&Store::memory(), "texts")?;
/// for text in ["one", "two", "three"] {
///     queue.add_named("index", text).group("tenant-7").await?;
/// }
/// queue.add_named("index", "four").group("tenant-8").await?; // taken second
/// assert_eq!(queue.groups().get("tenant-7").await?.map(|group| group.waiting), Some(3));
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Group(Arc<str>);

impl Group {
    /// Wraps an id; it is checked where it is used.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses ids that no store may hold.
    pub fn check(&self) -> Result<(), BadOptions> {
        label(&self.0).map_err(BadOptions::Group)
    }
}

impl<T: Into<Arc<str>>> From<T> for Group {
    fn from(id: T) -> Self {
        Self::new(id)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
