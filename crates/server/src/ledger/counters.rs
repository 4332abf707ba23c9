//! Step 11 of the protocol: the counters of the periods compared with what they count.

use super::calendar::month_before;
use super::sql::Sql;
use super::{Ledger, LedgerError};

/// What [`Ledger::repair_counters`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Period rows compared.
    pub compared: u64,
    /// Period rows that were wrong and are right now.
    pub repaired: u64,
}

/// Period rows compared in one statement.
const PAGE: usize = 100;

impl Ledger {
    /// Compares what the periods of this and the last month hold with open reservations and usage rows, and repairs. The cost
    /// grows with the usage rows of those months; call it rarely, under a lease.
    pub async fn repair_counters(&self, now: i64) -> Result<Repairs, LedgerError> {
        let since = month_before(now);
        let mut done = Repairs::default();
        let mut after = (String::new(), String::new());
        loop {
            let page = self.drifts(&since, &after).await?;
            let full = page.len() == PAGE;
            for drift in page {
                done.compared += 1;
                if drift.is_any() && self.repair(&drift).await? {
                    done.repaired += 1;
                }
                after = (drift.org, drift.period);
            }
            if !full {
                return Ok(done);
            }
        }
    }

    /// One statement, so that counters and sums are of one moment.
    async fn drifts(&self, since: &str, after: &(String, String)) -> Result<Vec<Drift>, LedgerError> {
        let sql = Sql::new(
            "counters.drifts",
            "SELECT p.org, p.period, p.repairs,
                CAST((SELECT COUNT(*) FROM jobs j WHERE j.org = p.org AND j.completed_at IS NULL
                    AND j.period = p.period) - p.reserved_jobs AS BIGINT),
                CAST((SELECT COALESCE(SUM(j.reserved), 0) FROM jobs j WHERE j.org = p.org
                    AND j.completed_at IS NULL AND j.period = p.period) - p.reserved_tokens AS BIGINT),
                CAST((SELECT COALESCE(SUM(u.jobs), 0) FROM usage u WHERE u.org = p.org AND u.period = p.period)
                    - p.used_jobs AS BIGINT),
                CAST((SELECT COALESCE(SUM(u.input_tokens + u.output_tokens), 0) FROM usage u
                    WHERE u.org = p.org AND u.period = p.period) - p.used_tokens AS BIGINT)
             FROM periods p WHERE p.period >= $1 AND (p.org, p.period) > ($2, $3)
             ORDER BY p.org, p.period LIMIT $4",
        );
        let sql = sql.bind(since).bind(&after.0).bind(&after.1).bind(PAGE as i64);
        let rows = self.db().rows(sql).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(Drift {
                    org: row.text()?,
                    period: row.text()?,
                    repairs: row.int()?,
                    by: [row.int()?, row.int()?, row.int()?, row.int()?],
                })
            })
            .collect()
    }

    /// Adds the difference instead of setting the sum: every other transaction keeps counter and rows together, so the
    /// difference stays right whatever was committed in between. The guard is against a second repairer.
    async fn repair(&self, drift: &Drift) -> Result<bool, LedgerError> {
        let sql = Sql::new(
            "counters.repair",
            "UPDATE periods SET repairs = repairs + 1,
                reserved_jobs = reserved_jobs + $4, reserved_tokens = reserved_tokens + $5,
                used_jobs = used_jobs + $6, used_tokens = used_tokens + $7
             WHERE org = $1 AND period = $2 AND repairs = $3",
        );
        let sql = sql.bind(&drift.org).bind(&drift.period).bind(drift.repairs);
        let sql = drift.by.iter().fold(sql, |sql, by| sql.bind(*by));
        Ok(self.db().run(sql).await? > 0)
    }
}

/// How far a period's counters are off: reserved jobs and tokens, used jobs and tokens.
struct Drift {
    org: String,
    period: String,
    repairs: i64,
    by: [i64; 4],
}

impl Drift {
    fn is_any(&self) -> bool {
        self.by.iter().any(|by| *by != 0)
    }
}
