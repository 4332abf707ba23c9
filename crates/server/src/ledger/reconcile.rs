//! Step 10 of the protocol: who may reconcile, which rows nobody has touched, and what to do when the queue does not have
//! them.

use std::collections::HashMap;

use super::db::Tx;
use super::settle::{Closing, Guard, lock_rows};
use super::sql::{Arg, Sql};
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

/// Rows in one call or page, at most.
const MOST: usize = 500;
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
                 WHERE completed_at IS NULL AND (org, id) > ($1, $2) ORDER BY org, id LIMIT $3",
            ),
            Kind::Delivery => Sql::new(
                "reconcile.stale.deliveries",
                "SELECT id, org, gen, run, state, updated_at, lost, queued_gen FROM deliveries
                 WHERE completed_at IS NULL AND (org, id) > ($1, $2) ORDER BY org, id LIMIT $3",
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
