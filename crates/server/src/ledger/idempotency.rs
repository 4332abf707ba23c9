//! Idempotency rows: the first answer to a key is kept for 24 h. A create stores its answer in the transaction that makes the
//! jobs; any other request claims the key first and settles or releases it after.

use super::db::{Row, Tx};
use super::sql::{Arg, Sql};
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

/// How long an answer is kept.
const KEPT: i64 = 24 * 3_600 * 1_000;
/// How long a claim without an answer holds: longer than any request may take, so that only a dead node's claim is taken over.
const CLAIMED: i64 = 60 * 1_000;

/// Expired rows that one call removes at most.
pub const PURGED: u64 = 1_000;

/// A key with what it stands for.
pub(crate) struct Entry<'a> {
    pub(crate) scope: &'a str,
    pub(crate) key: &'a str,
    pub(crate) fingerprint: &'a str,
    /// `None` for a claim.
    pub(crate) answer: Option<&'a Answer>,
}

/// Writes entries whose keys are free or expired (each key once in `entries`); answers the (scope, key) of those written. The
/// others stand as they are.
pub(crate) async fn take(
    tx: &mut Tx<'_>,
    mut entries: Vec<Entry<'_>>,
    now: i64,
) -> Result<Vec<(String, String)>, LedgerError> {
    entries.sort_unstable_by_key(|entry| (entry.scope, entry.key));
    let rows = entries
        .iter()
        .map(|entry| {
            vec![
                entry.scope.into(),
                entry.key.into(),
                entry.fingerprint.into(),
                Arg::Int(entry.answer.map(|answer| i64::from(answer.status))),
                Arg::Text(entry.answer.and_then(|answer| answer.location.clone())),
                Arg::Text(entry.answer.map(|answer| answer.body.clone())),
                (now + if entry.answer.is_some() { KEPT } else { CLAIMED }).into(),
            ]
        })
        .collect();
    let sql = Sql::batch(
        "idempotency.take",
        "WITH {v} INSERT INTO idempotency (scope, key, fingerprint, status, location, body, expires_at, created_at)
         SELECT k_scope, k_key, k_fingerprint, k_status, k_location, k_body, k_expires_at, ?
         FROM v WHERE k_scope IS NOT NULL
         ON CONFLICT (scope, key) DO UPDATE SET
            fingerprint = excluded.fingerprint, status = excluded.status, location = excluded.location,
            body = excluded.body, created_at = excluded.created_at, expires_at = excluded.expires_at
         WHERE idempotency.expires_at <= excluded.created_at
         RETURNING scope, key",
        &["k_scope", "k_key", "k_fingerprint", "k_status", "k_location", "k_body", "k_expires_at"],
        rows,
    );
    let rows = tx.rows(sql.bind(now)).await?;
    rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
}

/// What a key that could not be taken says to this fingerprint.
pub(crate) async fn look(tx: &mut Tx<'_>, scope: &str, key: &str, fingerprint: &str) -> Result<Claim, LedgerError> {
    let sql = Sql::new(
        "idempotency.look",
        "SELECT fingerprint, status, location, body FROM idempotency WHERE scope = $1 AND key = $2",
    );
    match tx.row(sql.bind(scope).bind(key)).await? {
        Some(row) => read_claim(row, fingerprint),
        // Released between the two statements: the caller may try again.
        None => Ok(Claim::InProgress),
    }
}

fn read_claim(mut row: Row, fingerprint: &str) -> Result<Claim, LedgerError> {
    if row.text()? != fingerprint {
        return Ok(Claim::Mismatch);
    }
    let (status, location, body) = (row.opt_int()?, row.opt_text()?, row.opt_text()?);
    let Some(status) = status else {
        return Ok(Claim::InProgress);
    };
    let status = u16::try_from(status).map_err(|_| LedgerError::Unreadable(format!("the HTTP status {status}")))?;
    Ok(Claim::Replay(Answer { status, location, body: body.unwrap_or_default() }))
}

/// Removes an entry with this fingerprint.
pub(crate) async fn drop_entry(tx: &mut Tx<'_>, scope: &str, key: &str, fingerprint: &str) -> Result<(), LedgerError> {
    let sql =
        Sql::new("idempotency.drop", "DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND fingerprint = $3");
    tx.run(sql.bind(scope).bind(key).bind(fingerprint)).await?;
    Ok(())
}

impl Ledger {
    /// Claims a key for a request other than a create.
    pub async fn claim(&self, scope: &str, key: &str, fingerprint: &str, now: i64) -> Result<Claim, LedgerError> {
        let mut tx = self.db().write().await?;
        let entry = Entry { scope, key, fingerprint, answer: None };
        if !take(&mut tx, vec![entry], now).await?.is_empty() {
            tx.commit().await?;
            return Ok(Claim::Fresh);
        }
        look(&mut tx, scope, key, fingerprint).await
    }

    /// Stores the answer of a claimed key for 24 h. A claim that was taken over since is left alone.
    pub async fn settle_claim(
        &self,
        scope: &str,
        key: &str,
        fingerprint: &str,
        answer: &Answer,
        now: i64,
    ) -> Result<(), LedgerError> {
        let sql = Sql::new(
            "idempotency.settle",
            "UPDATE idempotency SET status = $4, location = $5, body = $6, expires_at = $7
             WHERE scope = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL",
        );
        let sql = sql
            .bind(scope)
            .bind(key)
            .bind(fingerprint)
            .bind(i64::from(answer.status))
            .bind(answer.location.clone())
            .bind(answer.body.as_str())
            .bind(now + KEPT);
        self.db().run(sql).await?;
        Ok(())
    }

    /// Gives a claimed key back: the request was refused, and a refused request is not stored.
    pub async fn release_claim(&self, scope: &str, key: &str, fingerprint: &str) -> Result<(), LedgerError> {
        let sql = Sql::new(
            "idempotency.release",
            "DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL",
        );
        self.db().run(sql.bind(scope).bind(key).bind(fingerprint)).await?;
        Ok(())
    }

    /// Removes up to [`PURGED`] rows that have expired; answers how many.
    pub async fn purge_idempotency(&self, now: i64) -> Result<u64, LedgerError> {
        let sql = Sql::new(
            "idempotency.purge",
            "DELETE FROM idempotency WHERE (scope, key) IN
                (SELECT scope, key FROM idempotency WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
             AND expires_at <= $1",
        );
        self.db().run(sql.bind(now).bind(PURGED as i64)).await
    }
}
