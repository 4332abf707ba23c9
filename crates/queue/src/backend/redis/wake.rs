//! Who waits for work, and what wakes them.
use super::link::Link;
use super::keys::Keys;
use crate::error::StoreError;
use crate::event::Position;
use crate::job::QueueName;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Bells {
    link: Arc<Link>,
    keys: Keys,
}

impl Bells {
    pub(super) fn new(link: Arc<Link>, keys: Keys) -> Self {
        Self { link, keys }
    }
    pub(super) fn called(&self, _queue: &QueueName, _worker: &str) {}
    pub(super) async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("BZPOPMIN");
        cmd.arg(format!("{}marker", self.keys.base(queue))).arg(at_most.as_secs_f64().max(0.001));
        let mut own = self.link.own().await?;
        let _ = tokio::time::timeout(at_most, own.send_packed_command(&cmd)).await;
        Ok(())
    }
    pub(super) async fn wait_events(&self, _queue: &QueueName, _after: Position, _at_most: Duration) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) async fn close(&self) {}
}
