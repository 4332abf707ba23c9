//! Organisations, their plan's monthly limits, and what a period has used and holds reserved.

use super::calendar::{month_end, month_of};
use super::db::Row;
use super::sql::Sql;
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

/// The id of the organisation that a fresh deployment works for.
const DEFAULT_ORG: &str = "default";

fn read_org(mut row: Row) -> Result<Org, LedgerError> {
    Ok(Org {
        id: row.text()?,
        name: row.text()?,
        plan: Plan { name: row.text()?, jobs_limit: row.opt_int()?, tokens_limit: row.opt_int()? },
        created_at: row.int()?,
    })
}

impl Ledger {
    /// The organisation that a fresh deployment works for (id `default`, without limits): made once, then found.
    pub async fn ensure_default_org(&self, now: i64) -> Result<Org, LedgerError> {
        let org = Org {
            id: DEFAULT_ORG.to_owned(),
            name: "Default".to_owned(),
            plan: Plan { name: "unlimited".to_owned(), ..Plan::default() },
            created_at: now,
        };
        self.insert_org(&org).await?;
        Ok(self.org(DEFAULT_ORG).await?.unwrap_or(org))
    }

    /// Makes an organisation.
    pub async fn create_org(&self, name: &str, plan: &Plan, now: i64) -> Result<Org, LedgerError> {
        let org = Org { id: self.new_id(now), name: name.to_owned(), plan: plan.clone(), created_at: now };
        self.insert_org(&org).await?;
        Ok(org)
    }

    async fn insert_org(&self, org: &Org) -> Result<(), LedgerError> {
        let sql = Sql::new(
            "orgs.insert",
            "INSERT INTO orgs (id, name, plan, jobs_limit, tokens_limit, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
        );
        let sql = sql
            .bind(&org.id)
            .bind(&org.name)
            .bind(&org.plan.name)
            .bind(org.plan.jobs_limit)
            .bind(org.plan.tokens_limit)
            .bind(org.created_at);
        self.db().run(sql).await?;
        Ok(())
    }

    /// One organisation.
    pub async fn org(&self, id: &str) -> Result<Option<Org>, LedgerError> {
        let sql =
            Sql::new("orgs.get", "SELECT id, name, plan, jobs_limit, tokens_limit, created_at FROM orgs WHERE id = $1");
        self.db().row(sql.bind(id)).await?.map(read_org).transpose()
    }

    /// Organisations by id, at most `most` (≤ 100) after `after`.
    pub async fn list_orgs(&self, after: Option<&str>, most: usize) -> Result<Vec<Org>, LedgerError> {
        LedgerError::bound(most, 100)?;
        let sql = Sql::new(
            "orgs.list",
            "SELECT id, name, plan, jobs_limit, tokens_limit, created_at FROM orgs
             WHERE id > $1 ORDER BY id LIMIT $2",
        );
        let rows = self.db().rows(sql.bind(after.unwrap_or("")).bind(most as i64)).await?;
        rows.into_iter().map(read_org).collect()
    }

    /// Changes the limits; they hold from the next create. Answers whether the organisation exists.
    pub async fn set_plan(&self, org: &str, plan: &Plan) -> Result<bool, LedgerError> {
        let sql =
            Sql::new("orgs.set_plan", "UPDATE orgs SET plan = $2, jobs_limit = $3, tokens_limit = $4 WHERE id = $1");
        let sql = sql.bind(org).bind(&plan.name).bind(plan.jobs_limit).bind(plan.tokens_limit);
        Ok(self.db().run(sql).await? > 0)
    }

    /// The current month of an organisation (zeroes when nothing was created in it).
    pub async fn period(&self, org: &str, now: i64) -> Result<PeriodRow, LedgerError> {
        let period = month_of(now);
        let sql = Sql::new(
            "orgs.period",
            "SELECT created, reserved_jobs, used_jobs, reserved_tokens, used_tokens
             FROM periods WHERE org = $1 AND period = $2",
        );
        let found = self.db().row(sql.bind(org).bind(period.as_str())).await?;
        let mut answer = PeriodRow {
            period,
            resets_at: month_end(now),
            created: 0,
            reserved_jobs: 0,
            used_jobs: 0,
            reserved_tokens: 0,
            used_tokens: 0,
        };
        if let Some(mut row) = found {
            answer.created = row.int()?;
            answer.reserved_jobs = row.int()?;
            answer.used_jobs = row.int()?;
            answer.reserved_tokens = row.int()?;
            answer.used_tokens = row.int()?;
        }
        Ok(answer)
    }
}
