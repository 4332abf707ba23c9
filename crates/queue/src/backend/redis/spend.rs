//! Budgets: read, reckoned here, and written if nobody was faster.

use super::Redis;
use super::reply::{int, list, number, text};
use crate::backend::spend::{Fill, spend};
use crate::backend::{Spend, Spent};
use crate::error::StoreError;
use crate::time::Timestamp;

/// How often others may be faster.
const TRIES: usize = 50;

impl Redis {
    pub(super) async fn spend_from(&self, spends: &[Spend], now: Timestamp) -> Result<Spent, StoreError> {
        if spends.is_empty() {
            return Ok(Spent::Granted(Vec::new()));
        }
        let keys: Vec<String> = spends.iter().map(|spend| self.keys.budget(spend.key())).collect();
        for _ in 0..TRIES {
            let mut read = ::redis::cmd("MGET");
            read.arg(&keys);
            let stored: Vec<String> =
                list(self.link.send(&read).await?)?.into_iter().map(text).collect::<Result<_, _>>()?;
            let mut fills: Vec<String> = stored.clone();
            let index = |key: &str| spends.iter().position(|spend| &**spend.key() == key).unwrap_or(0);
            let spent = spend(
                spends,
                now,
                |key| Ok::<_, StoreError>(fill(&stored[index(key)])),
                |key, fill| {
                    fills[index(key)] = format!("{}@{}", fill.full, fill.at);
                    Ok(())
                },
            )?;
            if matches!(spent, Spent::Wait(_)) {
                return Ok(spent);
            }
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            let mut write = self.scripts.spend.call(&names);
            for (before, after) in stored.iter().zip(&fills) {
                let full = fill(after).map_or(0, |fill| fill.full.div_euclid(1_000_000) - fill.at.millis());
                // It is kept a little longer than it counts: clocks differ.
                write.arg(before).arg(after).arg(full.max(0) + 60_000);
            }
            if int(self.link.call(write).await?)? == 1 {
                return Ok(spent);
            }
        }
        Err(StoreError::Busy)
    }
}

fn fill(stored: &str) -> Option<Fill> {
    let (full, at) = stored.split_once('@')?;
    Some(Fill { full: number(full)?, at: Timestamp::from_millis(number(at)?) })
}
