//! Shared budgets in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use crate::backend::spend::{self, Fill};
use crate::backend::{MAX_EVICT, Spend, Spent};
use crate::time::Timestamp;

/// The budgets that are not full.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    fills: BTreeMap<Arc<str>, Fill>,
    /// By the time at which they are full again.
    full: BTreeSet<(i64, Arc<str>)>,
}

impl Budgets {
    pub(super) fn spend(&mut self, spends: &[Spend], now: Timestamp) -> Spent {
        let mut kept = Vec::new();
        let stands = |key: &Arc<str>| Ok::<_, Infallible>(self.fills.get(key).copied());
        let keep = |key: &Arc<str>, fill| {
            kept.push((key.clone(), fill));
            Ok(())
        };
        let Ok(spent) = spend::spend(spends, now, stands, keep);
        for _ in 0..kept.len() * MAX_EVICT {
            match self.full.first() {
                Some((full, key)) if *full <= Fill::nanos(now) => {
                    self.fills.remove(&key.clone());
                    self.full.pop_first();
                }
                _ => break,
            }
        }
        for (key, fill) in kept {
            if let Some(old) = self.fills.insert(key.clone(), fill) {
                self.full.remove(&(old.full, key.clone()));
            }
            self.full.insert((fill.full, key));
        }
        spent
    }
}
