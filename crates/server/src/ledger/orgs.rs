//! Organisations, their plan's monthly limits, and what a period has used and holds reserved.

use super::{Ledger, LedgerError};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Org {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its limits.
    pub plan: Plan,
    /// When it was made.
    pub created_at: i64,
}

/// Monthly limits; `None` is no limit. A month is a calendar month in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The plan's name.
    pub name: String,
    /// Jobs a month.
    pub jobs_limit: Option<i64>,
    /// Tokens a month.
    pub tokens_limit: Option<i64>,
}

/// One month of one organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodRow {
    /// `2026-11`.
    pub period: String,
    /// When the next one begins.
    pub resets_at: i64,
    /// Jobs accepted.
    pub created: i64,
    /// Jobs of this period that have not ended.
    pub reserved_jobs: i64,
    /// Jobs billed.
    pub used_jobs: i64,
    /// Tokens held for jobs that have not ended.
    pub reserved_tokens: i64,
    /// Tokens billed.
    pub used_tokens: i64,
}

impl Ledger {
    /// The organisation that a fresh deployment works for: made once, then found.
    pub async fn ensure_default_org(&self, now: i64) -> Result<Org, LedgerError> {
        todo!("{now}")
    }

    /// Makes an organisation.
    pub async fn create_org(&self, name: &str, plan: &Plan, now: i64) -> Result<Org, LedgerError> {
        todo!("{name} {plan:?} {now}")
    }

    /// One organisation.
    pub async fn org(&self, id: &str) -> Result<Option<Org>, LedgerError> {
        todo!("{id}")
    }

    /// Organisations by id, at most `most` (≤ 100) after `after`.
    pub async fn list_orgs(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Org>, LedgerError> {
        todo!("{after:?} {most}")
    }

    /// Changes the limits; they hold from the next create. Answers whether the organisation exists.
    pub async fn set_plan(&self, org: &str, plan: &Plan, now: i64) -> Result<bool, LedgerError> {
        todo!("{org} {plan:?} {now}")
    }

    /// The current month of an organisation (zeroes when nothing was created in it).
    pub async fn period(&self, org: &str, now: i64) -> Result<PeriodRow, LedgerError> {
        todo!("{org} {now}")
    }
}
