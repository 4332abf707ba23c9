//! API keys: `lk_live_<prefix>_<secret>` (or `lk_test_…`). Only a SHA-256 of the secret is stored, which is enough because
//! the secret has 256 random bits; the prefix is public and finds the row.

use super::{Ledger, LedgerError};

/// The two families of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// `lk_live_…`
    Live,
    /// `lk_test_…`
    Test,
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose.
    pub org: String,
    /// What its owner calls it.
    pub name: String,
    /// Live or test.
    pub mode: KeyMode,
    /// `jobs:read`, `jobs:write`, …; checked by the caller.
    pub scopes: Vec<String>,
    /// When it stops working.
    pub expires_at: Option<i64>,
}

/// A key as stored; the secret cannot be had back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key's id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// What its owner calls it.
    pub name: String,
    /// Live or test.
    pub mode: KeyMode,
    /// The public part.
    pub prefix: String,
    /// Lower-case hexadecimal SHA-256 of the secret.
    pub hash: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it stops working.
    pub expires_at: Option<i64>,
    /// When it was last used, exact to a minute.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A presented key taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedKey<'a> {
    /// Live or test.
    pub mode: KeyMode,
    /// The public part: find the row by it.
    pub prefix: &'a str,
    /// The secret part: give it to [`verify_key`].
    pub secret: &'a str,
}

/// Takes a presented key apart; `None` when it has not the form of one.
pub fn parse_key(text: &str) -> Option<ParsedKey<'_>> {
    todo!("{text}")
}

/// Whether the presented secret and mode are the row's, in time that does not depend on where they differ. Revocation and
/// expiry are the caller's to look at (`revoked_at`, `expires_at`).
pub fn verify_key(row: &KeyRow, presented: &ParsedKey<'_>) -> bool {
    todo!("{row:?} {presented:?}")
}

impl Ledger {
    /// Makes a key. The second value is the whole key, shown this once; `None` when the organisation does not exist.
    pub async fn create_key(
        &self,
        key: &NewKey,
        now: i64,
    ) -> Result<Option<(KeyRow, String)>, LedgerError> {
        todo!("{key:?} {now}")
    }

    /// The key with this public prefix, revoked and expired ones too.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<KeyRow>, LedgerError> {
        todo!("{prefix}")
    }

    /// An organisation's keys, newest first, at most 1,000.
    pub async fn list_keys(&self, org: &str) -> Result<Vec<KeyRow>, LedgerError> {
        todo!("{org}")
    }

    /// Revokes a key. Answers whether the organisation has it; revoking twice keeps the first time.
    pub async fn revoke_key(&self, org: &str, id: &str, now: i64) -> Result<bool, LedgerError> {
        todo!("{org} {id} {now}")
    }

    /// Notes a use; writes at most once a minute for a key.
    pub async fn touch_key(&self, id: &str, now: i64) -> Result<(), LedgerError> {
        todo!("{id} {now}")
    }
}
