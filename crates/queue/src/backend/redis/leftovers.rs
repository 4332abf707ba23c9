//! What BullMQ 5 has left in a queue that BullMQ 6 and ours do differently.

use std::sync::Arc;

use super::Redis;
use super::reply::*;
use crate::error::StoreError;
use crate::job::QueueName;
use crate::time::Timestamp;

/// Job schedulers that are looked at.
const MOST: u32 = 10_000;

/// What is there of BullMQ 5; see `docs/from-bullmq.md` for what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Who opened the queue last as a BullMQ queue (`bullmq:6.7.0`, say); ours does not say so.
    pub version: Option<Arc<str>>,
    /// Jobs in the list `paused`, where BullMQ 5 keeps what waits while a queue is paused. They count as waiting; a resume
    /// brings them back in front.
    pub paused: u64,
    /// Keys of repeatable jobs, of the first 10,000 schedulers. Only workers of BullMQ 5 make their next jobs.
    pub repeatables: Vec<Arc<str>>,
}

impl Leftovers {
    /// Whether a client of BullMQ 5 was the last to open the queue: then it is not paused.
    pub fn opened_by_5(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.strip_prefix("bullmq:")?.split('.').next());
        major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 6)
    }

    /// Whether there is nothing to do before its clients are replaced by ours.
    pub fn is_clean(&self) -> bool {
        !self.opened_by_5() && self.paused == 0 && self.repeatables.is_empty()
    }
}

impl Redis {
    /// Reads what BullMQ 5 has left in a queue.
    pub async fn leftovers(&self, queue: &QueueName) -> Result<Leftovers, StoreError> {
        self.open_still()?;
        let mut call = self.call(&self.scripts.leftovers, queue, Timestamp::default());
        call.arg(MOST);
        let [version, paused, repeatables] = parts(self.link.call(call).await?)?;
        Ok(Leftovers {
            version: Some(text(version)?).filter(|version| !version.is_empty()).map(Into::into),
            paused: count(paused)?,
            repeatables: texts(repeatables)?,
        })
    }
}
