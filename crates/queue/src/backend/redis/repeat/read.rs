//! Reads job schedulers and their ticks.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::redis::Value;

use super::super::Redis;
use super::super::reply::*;
use super::record::{Stood, stored_tick};
use crate::backend::repeat::is_stuck;
use crate::backend::*;
use crate::error::StoreError;
use crate::job::QueueName;
use crate::repeat::Tick;
use crate::time::Timestamp;

/// Schedulers that one command passes over.
const STEP: u32 = 1_000;

impl Redis {
    pub(in super::super) async fn schedulers(
        &self,
        queue: &QueueName,
        wanted: &Repeats,
        most: u32,
    ) -> Result<RepeatPage, StoreError> {
        if most == 0 {
            return Ok(RepeatPage::default());
        }
        match wanted {
            Repeats::Ids(ids) => {
                let ids = &ids[..ids.len().min(most as usize)];
                Ok(RepeatPage { found: self.known(queue, ids).await?, next: None })
            }
            Repeats::After(after) => {
                let ids = self.names_after(queue, after.as_deref(), most as usize).await?;
                Ok(RepeatPage { found: self.known(queue, &ids).await?, next: None })
            }
            Repeats::Stuck { before, after } => self.stuck(queue, *before, after.as_ref(), most).await,
        }
    }

    async fn known(&self, queue: &QueueName, ids: &[Arc<str>]) -> Result<Vec<Scheduled>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.call(&self.scripts.repeat_read, queue, Timestamp::default());
        call.arg(0);
        for id in ids {
            call.arg(&**id);
        }
        let found = list(self.link.call(call).await?)?;
        Ok(undamaged(queue, found)?.into_iter().map(|(_, one)| one).collect())
    }

    /// The first ids after one, in their own order. The server has them in the order of their slots: all are passed over, in
    /// steps.
    async fn names_after(
        &self,
        queue: &QueueName,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let key = format!("{}repeat", self.keys.base(queue));
        let (mut first, mut cursor) = (BTreeSet::new(), "0".to_owned());
        loop {
            let mut scan = ::redis::cmd("ZSCAN");
            scan.arg(&key).arg(&cursor).arg("COUNT").arg(STEP);
            let [next, page] = parts(self.link.send(&scan).await?)?;
            for id in texts(page)?.into_iter().step_by(2).filter(|id| after.is_none_or(|after| **id > *after)) {
                first.insert(id);
                if first.len() > most {
                    first.pop_last();
                }
            }
            cursor = text(next)?;
            if cursor == "0" {
                return Ok(first.into_iter().collect());
            }
        }
    }

    async fn stuck(
        &self,
        queue: &QueueName,
        before: Timestamp,
        after: Option<&(Timestamp, Arc<str>)>,
        most: u32,
    ) -> Result<RepeatPage, StoreError> {
        let mut call = self.call(&self.scripts.repeat_stuck, queue, Timestamp::default());
        call.arg(before.millis()).arg(most);
        match after {
            Some((slot, id)) => call.arg(slot.millis()).arg(&**id),
            None => call.arg("").arg(""),
        };
        let [found, slot, id] = parts(self.link.call(call).await?)?;
        let found = undamaged(queue, list(found)?)?.into_iter();
        let found = found.filter(|(stood, one)| one.slot.is_some() && is_stuck(&one.repeat, stood.place));
        let next = time(&text(slot)?).map(|slot| Ok::<_, StoreError>((slot, text(id)?.into()))).transpose()?;
        Ok(RepeatPage { found: found.map(|(_, one)| one).collect(), next })
    }

    pub(in super::super) async fn ticks_of(
        &self,
        queue: &QueueName,
        id: &str,
        most: u32,
    ) -> Result<Vec<Tick>, StoreError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut read = ::redis::cmd("ZREVRANGE");
        read.arg(format!("{}ticks:{id}", self.keys.own(queue))).arg(0).arg(most - 1);
        texts(self.link.send(&read).await?)?.iter().map(|tick| stored_tick(tick)).collect()
    }
}

/// A damaged definition, or one of BullMQ 5, must not hold up or hide those beside it. It can be dropped.
fn undamaged(queue: &QueueName, read: Vec<Value>) -> Result<Vec<(Stood, Scheduled)>, StoreError> {
    let mut found = Vec::with_capacity(read.len());
    for one in read {
        let stood = Stood::read(one)?;
        match stood.scheduled() {
            Ok(Some(one)) => found.push((stood, one)),
            Ok(None) => {}
            Err(StoreError::Unsupported(why)) => tracing::warn!(%queue, id = stood.id(), why, "left alone"),
            Err(error) => tracing::error!(%queue, %error, "a scheduler cannot be read"),
        }
    }
    Ok(found)
}
