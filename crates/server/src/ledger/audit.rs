//! The audit: who changed what, when, from where.

use super::{Ledger, LedgerError};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose data; `None` for the whole deployment.
    pub org: Option<String>,
    /// The key's id or the token's `sub`.
    pub who: String,
    /// `key.create`, `queue.pause`, …
    pub what: String,
    /// The id or name it was done to.
    pub target: String,
    /// The caller's address.
    pub from: String,
    /// When.
    pub at: i64,
}

impl Ledger {
    /// Adds an entry.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), LedgerError> {
        todo!("{entry:?}")
    }

    /// Entries of one organisation, newest first, at most `most` (≤ 100) before the entry with id `before`. Answers each with
    /// its id.
    pub async fn audit_log(
        &self,
        org: &str,
        before: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, AuditEntry)>, LedgerError> {
        todo!("{org} {before:?} {most}")
    }
}
