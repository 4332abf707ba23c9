//! Reservations: an organisation's monthly limits are kept by adding to what it holds, guarded by the limit, in one row that
//! concurrent creates queue up for. What a job holds is given back in the month that it was taken from.

use std::collections::BTreeMap;

use super::calendar::{month_end, month_of};
use super::db::Tx;
use super::sql::{Arg, Sql};
use super::{LedgerError, Quota};

/// What is to be held.
pub(crate) struct Hold<'a> {
    pub(crate) org: &'a str,
    pub(crate) jobs: i64,
    pub(crate) tokens: i64,
    /// How many of the jobs are new (a retried one is not).
    pub(crate) created: i64,
}

/// Whether it is held.
pub(crate) enum Held {
    Yes,
    NoOrg,
    Over { quota: Quota, limit: i64, resets_at: i64 },
}

/// Changes to one period row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) reserved_jobs: i64,
    pub(crate) reserved_tokens: i64,
    pub(crate) used_jobs: i64,
    pub(crate) used_tokens: i64,
}

/// Holds jobs and tokens in the month of `now`, or nothing.
pub(crate) async fn reserve(tx: &mut Tx<'_>, hold: &Hold<'_>, now: i64) -> Result<Held, LedgerError> {
    let period = month_of(now);
    if try_reserve(tx, hold, &period).await? {
        return Ok(Held::Yes);
    }
    let made = Sql::new(
        "periods.make",
        "INSERT INTO periods (org, period, created, reserved_jobs, used_jobs, reserved_tokens, used_tokens, repairs)
         SELECT o.id, $2, 0, 0, 0, 0, 0, 0 FROM orgs o WHERE o.id = $1
         ON CONFLICT (org, period) DO NOTHING",
    );
    if tx.run(made.bind(hold.org).bind(period.as_str())).await? > 0 && try_reserve(tx, hold, &period).await? {
        return Ok(Held::Yes);
    }
    over(tx, hold, &period, now).await
}

async fn try_reserve(tx: &mut Tx<'_>, hold: &Hold<'_>, period: &str) -> Result<bool, LedgerError> {
    let sql = Sql::new(
        "periods.reserve",
        "UPDATE periods SET
            created = created + $3,
            reserved_jobs = reserved_jobs + $4,
            reserved_tokens = reserved_tokens + $5
         WHERE org = $1 AND period = $2
           AND used_jobs + reserved_jobs + $4 <=
               COALESCE((SELECT o.jobs_limit FROM orgs o WHERE o.id = periods.org), 9223372036854775807)
           AND used_tokens + reserved_tokens + $5 <=
               COALESCE((SELECT o.tokens_limit FROM orgs o WHERE o.id = periods.org), 9223372036854775807)",
    );
    let sql = sql.bind(hold.org).bind(period).bind(hold.created).bind(hold.jobs).bind(hold.tokens);
    Ok(tx.run(sql).await? > 0)
}

/// Which limit refused; read after the refusal, so it may have moved: then the jobs' is named.
async fn over(tx: &mut Tx<'_>, hold: &Hold<'_>, period: &str, now: i64) -> Result<Held, LedgerError> {
    let sql = Sql::new(
        "periods.over",
        "SELECT o.jobs_limit, o.tokens_limit, p.used_tokens + p.reserved_tokens
         FROM orgs o JOIN periods p ON p.org = o.id AND p.period = $2 WHERE o.id = $1",
    );
    let Some(mut row) = tx.row(sql.bind(hold.org).bind(period)).await? else {
        return Ok(Held::NoOrg);
    };
    let (jobs_limit, tokens_limit, tokens) = (row.opt_int()?, row.opt_int()?, row.int()?);
    let (quota, limit) = match (jobs_limit, tokens_limit) {
        (_, Some(limit)) if tokens + hold.tokens > limit => (Quota::Tokens, limit),
        (Some(limit), _) => (Quota::Jobs, limit),
        (None, limit) => (Quota::Tokens, limit.unwrap_or(i64::MAX)),
    };
    Ok(Held::Over { quota, limit, resets_at: month_end(now) })
}

/// Adds changes to period rows, in their order.
pub(crate) async fn change(tx: &mut Tx<'_>, changes: BTreeMap<(String, String), Change>) -> Result<(), LedgerError> {
    if changes.len() > 1 {
        let keys = changes.keys().cloned().collect::<Vec<_>>();
        tx.lock(|| {
            Sql::batch(
                "periods.lock",
                "WITH {v} SELECT p.org FROM v JOIN periods p ON p.org = v.k_org AND p.period = v.k_period
                 ORDER BY p.org, p.period FOR UPDATE OF p",
                &["k_org", "k_period"],
                keys.into_iter().map(|(org, period)| vec![org.into(), period.into()]).collect(),
            )
        })
        .await?;
    }
    let rows: Vec<Vec<Arg>> = changes
        .into_iter()
        .map(|((org, period), change)| {
            vec![
                org.into(),
                period.into(),
                change.reserved_jobs.into(),
                change.reserved_tokens.into(),
                change.used_jobs.into(),
                change.used_tokens.into(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    tx.run(Sql::batch(
        "periods.change",
        "WITH {v} UPDATE periods SET
            reserved_jobs = reserved_jobs + v.k_reserved_jobs,
            reserved_tokens = reserved_tokens + v.k_reserved_tokens,
            used_jobs = used_jobs + v.k_used_jobs,
            used_tokens = used_tokens + v.k_used_tokens
         FROM v WHERE periods.org = v.k_org AND periods.period = v.k_period",
        &["k_org", "k_period", "k_reserved_jobs", "k_reserved_tokens", "k_used_jobs", "k_used_tokens"],
        rows,
    ))
    .await?;
    Ok(())
}
