//! Idempotency rows: the first answer to a key is kept for 24 h. A create stores its answer in the transaction that makes the
//! jobs; any other request claims the key first and settles or releases it after.

use super::{JobRow, Ledger, LedgerError};

/// An answer as it was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// A create's idempotency key.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The organisation, or the token's `sub` where there is none.
    pub scope: String,
    /// The header's value.
    pub key: String,
    /// What makes two requests equal: method, path and hash of the raw body.
    pub fingerprint: String,
    /// Makes the answer that is stored (and replayed) from the rows just made.
    pub render: fn(&[JobRow]) -> Answer,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The key is this caller's for 60 s: do the work, then settle or release.
    Fresh,
    /// The same request was answered before.
    Replay(Answer),
    /// Another request has this key.
    Mismatch,
    /// The same request is being worked on.
    InProgress,
}

impl Ledger {
    /// Claims a key for a request other than a create.
    pub async fn claim(
        &self,
        scope: &str,
        key: &str,
        fingerprint: &str,
        now: i64,
    ) -> Result<Claim, LedgerError> {
        todo!("{scope} {key} {fingerprint} {now}")
    }

    /// Stores the answer of a claimed key for 24 h.
    pub async fn settle_claim(
        &self,
        scope: &str,
        key: &str,
        fingerprint: &str,
        answer: &Answer,
        now: i64,
    ) -> Result<(), LedgerError> {
        todo!("{scope} {key} {fingerprint} {answer:?} {now}")
    }

    /// Gives a claimed key back: the request was refused, and a refused request is not stored.
    pub async fn release_claim(
        &self,
        scope: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<(), LedgerError> {
        todo!("{scope} {key} {fingerprint}")
    }

    /// Removes up to 1,000 rows that have expired; answers how many.
    pub async fn purge_idempotency(&self, now: i64) -> Result<u64, LedgerError> {
        todo!("{now}")
    }
}
