//! The audit: who changed what, when, from where.

use super::sql::Sql;
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
        let sql = Sql::new(
            "audit.insert",
            "INSERT INTO audit (id, org, who, what, target, from_where, at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        );
        let sql = sql
            .bind(self.new_id(entry.at))
            .bind(entry.org.clone())
            .bind(&entry.who)
            .bind(&entry.what)
            .bind(&entry.target)
            .bind(&entry.from)
            .bind(entry.at);
        self.db().run(sql).await?;
        Ok(())
    }

    /// Entries of one organisation, newest first, at most `most` (≤ 100) before the entry with id `before`. Answers each with
    /// its id.
    pub async fn audit_log(
        &self,
        org: &str,
        before: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, AuditEntry)>, LedgerError> {
        LedgerError::bound(most, 100)?;
        let sql = Sql::new(
            "audit.list",
            "SELECT id, org, who, what, target, from_where, at FROM audit
             WHERE org = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        );
        let sql = sql
            .bind(org)
            // Every id begins with `c`.
            .bind(before.unwrap_or("d"))
            .bind(most as i64);
        let rows = self.db().rows(sql).await?;
        rows.into_iter()
            .map(|mut row| {
                let id = row.text()?;
                let entry = AuditEntry {
                    org: row.opt_text()?,
                    who: row.text()?,
                    what: row.text()?,
                    target: row.text()?,
                    from: row.text()?,
                    at: row.int()?,
                };
                Ok((id, entry))
            })
            .collect()
    }
}
