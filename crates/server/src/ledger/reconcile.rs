//! Steps 10 and 11 of the protocol: who may reconcile, which rows nobody has touched, and what to do when the queue does not
//! have them; and the counters of the periods compared with what they count.

use super::{JobState, Kind, Ledger, LedgerError};

/// A row that has not ended, as it was read: every field is a guard of [`Ledger::relive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    /// The row's id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// Its generation.
    pub generation: i64,
    /// Its last run.
    pub run: i64,
    /// Queued or Processing.
    pub state: JobState,
    /// When it was last written.
    pub updated_at: i64,
    /// How often it was lost before.
    pub lost: i64,
}

/// A page of rows that nobody has touched.
#[derive(Debug, Clone)]
pub struct StalePage {
    /// The rows.
    pub rows: Vec<OpenRow>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<(String, String)>,
}

/// What became of a row that the queue does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relived {
    /// QUEUED in this new generation, not yet in the queue.
    Queued {
        /// The new generation.
        generation: i64,
    },
    /// It was lost three times before: FAILED with `lost`.
    Lost,
    /// Somebody wrote the row since it was read: nothing was changed.
    Moved,
}

/// What [`Ledger::repair_counters`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Period rows compared.
    pub compared: u64,
    /// Period rows that were wrong and are right now.
    pub repaired: u64,
}

impl Ledger {
    /// Takes or renews the lease of this name for `ttl` ms; answers whether `holder` has it.
    pub async fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl: i64,
        now: i64,
    ) -> Result<bool, LedgerError> {
        todo!("{name} {holder} {ttl} {now}")
    }

    /// Rows that have not ended and were last written before `untouched_since` and are in the queue as far as the database
    /// knows; a walk in pages over all rows that have not ended (500 rows looked at in a page).
    pub async fn stale(
        &self,
        kind: Kind,
        untouched_since: i64,
        after: Option<&(String, String)>,
    ) -> Result<StalePage, LedgerError> {
        todo!("{kind:?} {untouched_since} {after:?}")
    }

    /// Gives rows that the queue does not have a new life (at most 500), guarded by all that was read.
    pub async fn relive(
        &self,
        kind: Kind,
        rows: &[OpenRow],
        now: i64,
    ) -> Result<Vec<Relived>, LedgerError> {
        todo!("{kind:?} {rows:?} {now}")
    }

    /// Compares what the periods of this and the last month hold with open reservations and usage rows, and repairs.
    pub async fn repair_counters(&self, now: i64) -> Result<Repairs, LedgerError> {
        todo!("{now}")
    }
}
