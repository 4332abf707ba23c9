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

/// Who changes something, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    /// The key's id or the token's `sub`.
    pub who: &'a str,
    /// The caller's address.
    pub from: &'a str,
}

impl By<'_> {
    /// The entry of a change to one organisation's data.
    pub(crate) fn entry(self, org: &str, what: &str, target: &str, at: i64) -> AuditEntry {
        AuditEntry {
            org: Some(org.to_owned()),
            who: self.who.to_owned(),
            what: what.to_owned(),
            target: target.to_owned(),
            from: self.from.to_owned(),
            at,
        }
    }
}

impl Ledger {
    /// Adds an entry about a change that is not the database's own.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), LedgerError> {
        self.db().run(self.audit_row(entry)).await?;
        Ok(())
    }

    /// The statement that adds an entry: in the transaction of the change itself, wherever there is one.
    pub(crate) fn audit_row(&self, entry: &AuditEntry) -> Sql {
        let sql = Sql::new(
            "audit.insert",
            "INSERT INTO audit (id, org, who, what, target, from_where, at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        );
        sql.bind(self.new_id(entry.at))
            .bind(entry.org.clone())
            .bind(&entry.who)
            .bind(&entry.what)
            .bind(&entry.target)
            .bind(&entry.from)
            .bind(entry.at)
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
