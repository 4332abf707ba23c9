//! A whole queue is removed.

use super::Redis;
use super::reply::*;
use crate::backend::{HeldJobs, Obliterated};
use crate::error::StoreError;
use crate::job::QueueName;
use crate::time::Timestamp;

impl Redis {
    pub(super) async fn obliterate_step(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        let mut call = self.call_shared(&self.scripts.obliterate, queue, now);
        call.arg(queue.as_str()).arg(most).arg(u8::from(held == HeldJobs::Remove));
        let [what, gone] = parts(self.link.call(call).await?)?;
        let gone = u32::try_from(count(gone)?).map_err(|_| odd())?;
        match text(what)?.as_str() {
            "M" => Ok(Obliterated::More(gone)),
            "A" => Ok(Obliterated::All(gone)),
            "P" => Ok(Obliterated::NotPaused),
            "H" => Ok(Obliterated::Held),
            _ => Err(odd()),
        }
    }
}
