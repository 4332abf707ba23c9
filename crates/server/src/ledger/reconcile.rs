//! Steps 10 and 11 of the protocol: who may reconcile, which rows nobody has touched, and what to do when the queue does not
//! have them; and the counters of the periods compared with what they count.

use std::collections::HashMap;

use super::calendar::month_before;
use super::db::{Arg, Sql, Tx};
use super::settle::{Closing, Guard, lock_rows};
use super::{JobState, Kind, Ledger, LedgerError};

/// A row that has not ended, as it was read: every field is a guard of [`Ledger::relive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    /// The row's id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// Its generation.
    pub generation: i64,
    /// Its last run.
    pub run: i64,
    /// Queued or Processing.
    pub state: JobState,
    /// When it was last written.
    pub updated_at: i64,
    /// How often it was lost before.
    pub lost: i64,
}

/// A page of rows that nobody has touched.
#[derive(Debug, Clone)]
pub struct StalePage {
    /// The rows.
    pub rows: Vec<OpenRow>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<(String, String)>,
}

/// What became of a row that the queue does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relived {
    /// QUEUED in this new generation, not yet in the queue.
    Queued {
        /// The new generation.
        generation: i64,
    },
    /// It was lost three times before: FAILED with `lost`.
    Lost,
    /// It had been told to stop: CANCELED.
    Canceled,
    /// Somebody wrote the row since it was read: nothing was changed.
    Moved,
}

/// What [`Ledger::repair_counters`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Period rows compared.
    pub compared: u64,
    /// Period rows that were wrong and are right now.
    pub repaired: u64,
}

/// Rows in one call or page, at most.
const MOST: usize = 500;
/// Period rows compared in one statement.
const PAGE: usize = 100;
/// How often a row may be lost before it is FAILED.
const LOST_AT_MOST: i64 = 3;

impl Ledger {
    /// Takes or renews the lease of this name for `ttl` ms; answers whether `holder` has it.
    pub async fn lease(&self, name: &str, holder: &str, ttl: i64, now: i64) -> Result<bool, LedgerError> {
        let sql = Sql::new(
            "reconcile.lease",
            "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE leases.holder = excluded.holder OR leases.until <= $4
             RETURNING holder",
        );
        let sql = sql.bind(name).bind(holder).bind(now + ttl).bind(now);
        Ok(!self.db().once(sql).await?.is_empty())
    }

    /// Rows that have not ended, were last written before `untouched_since`, and are in the queue as far as the database
    /// knows: a walk over all rows that have not ended, 500 of them looked at in a page.
    pub async fn stale(
        &self,
        kind: Kind,
        untouched_since: i64,
        after: Option<&(String, String)>,
    ) -> Result<StalePage, LedgerError> {
        let sql = match kind {
            Kind::Job => Sql::new(
                "reconcile.stale.jobs",
                "SELECT id, org, gen, run, state, updated_at, lost, queued_gen FROM jobs
                 WHERE state IN ('QUEUED', 'PROCESSING') AND (org, id) > ($1, $2) ORDER BY org, id LIMIT $3",
            ),
            Kind::Delivery => Sql::new(
                "reconcile.stale.deliveries",
                "SELECT id, org, gen, run, state, updated_at, lost, queued_gen FROM deliveries
                 WHERE state IN ('QUEUED', 'PROCESSING') AND (org, id) > ($1, $2) ORDER BY org, id LIMIT $3",
            ),
        };
        let (org, id) = after.map_or(("", ""), |(org, id)| (org.as_str(), id.as_str()));
        let found = self.db().rows(sql.bind(org).bind(id).bind(MOST as i64)).await?;
        let full = found.len() == MOST;
        let mut page = StalePage { rows: Vec::new(), next: None };
        for mut row in found {
            let open = OpenRow {
                id: row.text()?,
                org: row.text()?,
                generation: row.int()?,
                run: row.int()?,
                state: JobState::read(&row.text()?)?,
                updated_at: row.int()?,
                lost: row.int()?,
            };
            page.next = full.then(|| (open.org.clone(), open.id.clone()));
            if row.int()? == open.generation && open.updated_at < untouched_since {
                page.rows.push(open);
            }
        }
        Ok(page)
    }

    /// Gives rows that the queue does not have a new life (at most 500), guarded by all that was read. Tries that have ended
    /// still count.
    pub async fn relive(&self, kind: Kind, rows: &[OpenRow], now: i64) -> Result<Vec<Relived>, LedgerError> {
        LedgerError::bound(rows.len(), MOST)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut sorted: Vec<&OpenRow> = rows.iter().collect();
        sorted.sort_unstable_by_key(|row| &row.id);
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, kind, sorted.iter().map(|row| row.id.as_str())).await?;
        let mut relived = requeue(&mut tx, kind, &sorted, now).await?;
        for (id, run, closing) in read_unlucky(&mut tx, kind, &sorted, &relived).await? {
            let Some(row) = sorted.iter().find(|row| row.id == id) else {
                continue;
            };
            let guard = Guard { id: &id, generation: row.generation, run };
            if self.close_row(&mut tx, kind, guard, closing, now).await? {
                let answer = match closing {
                    Closing::Canceled => Relived::Canceled,
                    Closing::Lost | Closing::Expired => Relived::Lost,
                };
                relived.insert(id, answer);
            }
        }
        tx.commit().await?;
        Ok(rows.iter().map(|row| relived.get(&row.id).cloned().unwrap_or(Relived::Moved)).collect())
    }

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
            "reconcile.drifts",
            "SELECT p.org, p.period, p.repairs,
                CAST((SELECT COUNT(*) FROM jobs j WHERE j.org = p.org AND j.state IN ('QUEUED', 'PROCESSING')
                    AND j.period = p.period) - p.reserved_jobs AS BIGINT),
                CAST((SELECT COALESCE(SUM(j.reserved), 0) FROM jobs j WHERE j.org = p.org
                    AND j.state IN ('QUEUED', 'PROCESSING') AND j.period = p.period) - p.reserved_tokens AS BIGINT),
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
            "reconcile.repair",
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

const GUARDS: [&str; 5] = ["k_id", "k_gen", "k_run", "k_state", "k_updated_at"];

fn guards(rows: &[&OpenRow]) -> Vec<Vec<Arg>> {
    rows.iter()
        .map(|row| {
            vec![
                Arg::from(&row.id),
                row.generation.into(),
                row.run.into(),
                row.state.as_str().into(),
                row.updated_at.into(),
            ]
        })
        .collect()
}

async fn requeue(
    tx: &mut Tx<'_>,
    kind: Kind,
    rows: &[&OpenRow],
    now: i64,
) -> Result<HashMap<String, Relived>, LedgerError> {
    let (name, table) = match kind {
        Kind::Job => ("reconcile.relive.jobs", "jobs"),
        Kind::Delivery => ("reconcile.relive.deliveries", "deliveries"),
    };
    let text = format!(
        "WITH {{v}} UPDATE {table} SET gen = gen + 1, state = 'QUEUED', made = 0, lost = lost + 1, holder = NULL,
            updated_at = ?
         FROM v WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.run = v.k_run
            AND {table}.state = v.k_state AND {table}.updated_at = v.k_updated_at
            AND {table}.state IN ('QUEUED', 'PROCESSING') AND {table}.cancel_at IS NULL AND {table}.lost < ?
         RETURNING {table}.id, {table}.gen"
    );
    let sql = Sql::batch(name, text, &GUARDS, guards(rows)).bind(now).bind(LOST_AT_MOST);
    let mut relived = HashMap::new();
    for mut row in tx.rows(sql).await? {
        let id = row.text()?;
        let generation = row.int()?;
        relived.insert(id, Relived::Queued { generation });
    }
    Ok(relived)
}

/// Rows that are still as they were read and yet were not queued again: lost too often, or told to stop.
async fn read_unlucky(
    tx: &mut Tx<'_>,
    kind: Kind,
    rows: &[&OpenRow],
    relived: &HashMap<String, Relived>,
) -> Result<Vec<(String, i64, Closing)>, LedgerError> {
    let rest: Vec<&OpenRow> = rows.iter().filter(|row| !relived.contains_key(&row.id)).copied().collect();
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let (name, table) = match kind {
        Kind::Job => ("reconcile.unlucky.jobs", "jobs"),
        Kind::Delivery => ("reconcile.unlucky.deliveries", "deliveries"),
    };
    let text = format!(
        "WITH {{v}} SELECT j.id, j.run, j.cancel_at FROM v JOIN {table} j ON j.id = v.k_id
         WHERE j.gen = v.k_gen AND j.run = v.k_run AND j.state = v.k_state AND j.updated_at = v.k_updated_at"
    );
    let found = tx.rows(Sql::batch(name, text, &GUARDS, guards(&rest))).await?;
    found
        .into_iter()
        .map(|mut row| {
            let (id, run) = (row.text()?, row.int()?);
            let closing = match row.opt_int()? {
                Some(_) => Closing::Canceled,
                None => Closing::Lost,
            };
            Ok((id, run, closing))
        })
        .collect()
}
