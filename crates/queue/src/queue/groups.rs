//! Groups as operators see them: what is set for each, and how each stands.

use std::time::Duration;

use super::Queue;
use crate::backend::{Control, GroupControl, GroupDefaults, GroupInfo, GroupSettings, GroupsWanted};
use crate::error::StoreError;
use crate::options::Group;

/// The groups of a queue; see [`Queue::groups`].
#[derive(Debug)]
pub struct Groups<'a> {
    queue: &'a Queue,
}

impl Queue {
    /// What is set for groups, and how they stand. A group is there while it holds ready or active jobs, settings, a pause
    /// or a hold; setting something for one that is not there makes it. Ids that no job can have are refused as out of
    /// bounds.
    ///
    /// ```
    /// # use std::num::NonZeroU32;
    /// # use std::time::Duration;
    /// # use launchkit_queue::{GroupDefaults, GroupSettings, GroupStatus, Queue, Store};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queue = Queue::new(&Store::memory(), "texts")?;
    /// let groups = queue.groups();
    /// groups.set("gold", GroupSettings { weight: 10, ..GroupSettings::default() }).await?;
    /// groups.set_defaults(GroupDefaults { concurrency: NonZeroU32::new(5), rate: None }).await?;
    /// groups.pause("late").await?;
    /// let page = groups.list(None, 100).await?;
    /// let late = &page[1];
    /// assert_eq!((late.id.as_str(), late.status(queue.clock().now())), ("late", GroupStatus::Paused));
    /// # Ok(()) }
    /// ```
    pub fn groups(&self) -> Groups<'_> {
        Groups { queue: self }
    }
}

impl Groups<'_> {
    /// Replaces what is set for a group. It holds from the next take on, whatever is ready or active already.
    pub async fn set(&self, group: impl Into<Group>, settings: GroupSettings) -> Result<(), StoreError> {
        self.order(group.into(), GroupControl::Set(settings)).await
    }

    /// Gives out no more jobs of a group (BullMQ Pro `pauseGroup`). Those that are held run on.
    pub async fn pause(&self, group: impl Into<Group>) -> Result<(), StoreError> {
        self.order(group.into(), GroupControl::Pause).await
    }

    /// Gives out the jobs of a group again (BullMQ Pro `resumeGroup`).
    pub async fn resume(&self, group: impl Into<Group>) -> Result<(), StoreError> {
        self.order(group.into(), GroupControl::Resume).await
    }

    /// Starts no job of a group for this long; running ones go on. Never shortens what is said already.
    pub async fn hold(&self, group: impl Into<Group>, wait: Duration) -> Result<(), StoreError> {
        let until = self.queue.clock().now().plus(wait);
        self.order(group.into(), GroupControl::HoldUntil(until)).await
    }

    /// Forgets the starts of a group's running window, and any hold of it.
    pub async fn clear_rate_limit(&self, group: impl Into<Group>) -> Result<(), StoreError> {
        self.order(group.into(), GroupControl::ClearRate).await
    }

    /// What holds for the groups that have no setting of their own. Read it in [`crate::backend::Info`].
    pub async fn set_defaults(&self, defaults: GroupDefaults) -> Result<(), StoreError> {
        let (queue, now) = (self.queue, self.queue.clock().now());
        queue.backend().control(queue.name(), Control::GroupDefaults(defaults), now).await
    }

    /// Reads one group; `None` when it is not there.
    pub async fn get(&self, group: impl Into<Group>) -> Result<Option<GroupInfo>, StoreError> {
        let wanted = GroupsWanted::Ids(vec![group.into()]);
        Ok(self.queue.backend().groups(self.queue.name(), &wanted, 1).await?.pop())
    }

    /// One page of the groups, by id, after the one given; at most 1,000.
    pub async fn list(&self, after: Option<&Group>, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        self.queue.backend().groups(self.queue.name(), &GroupsWanted::After(after.cloned()), most).await
    }

    /// How many groups are there (BullMQ Pro `getGroupsCount`).
    pub async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.queue.info().await?.groups)
    }

    async fn order(&self, group: Group, what: GroupControl) -> Result<(), StoreError> {
        let (queue, now) = (self.queue, self.queue.clock().now());
        queue.backend().group(queue.name(), &group, what, now).await
    }
}
