//! Shared budgets: one row for each that is not full.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::fault::Fault;
use super::scribe::Tx;
use crate::backend::spend::{self, Fill};
use crate::backend::{MAX_EVICT, Spend, Spent};
use crate::time::Timestamp;

const KEEP: &str = "INSERT INTO budgets (key, full_at, at) VALUES (?1, ?2, ?3) \
    ON CONFLICT (key) DO UPDATE SET full_at = excluded.full_at, at = excluded.at";
const FORGET_FULL: &str =
    "DELETE FROM budgets WHERE key IN (SELECT key FROM budgets WHERE full_at <= ?1 ORDER BY full_at LIMIT ?2)";

pub(super) fn spend(tx: &mut Tx<'_>, (spends, now): &(Vec<Spend>, Timestamp)) -> Result<Spent, Fault> {
    let conn = tx.conn;
    let stands = |key: &Arc<str>| -> Result<Option<Fill>, Fault> {
        let mut find = conn.prepare_cached("SELECT full_at, at FROM budgets WHERE key = ?1")?;
        let fill = |row: &rusqlite::Row<'_>| Ok(Fill { full: row.get(0)?, at: Timestamp::from_millis(row.get(1)?) });
        Ok(find.query_row([&**key], fill).optional()?)
    };
    let keep = |key: &Arc<str>, fill: Fill| -> Result<(), Fault> {
        conn.prepare_cached(KEEP)?.execute(params![&**key, fill.full, fill.at.millis()])?;
        Ok(())
    };
    let spent = spend::spend(spends, *now, stands, keep)?;
    if matches!(spent, Spent::Granted(_)) {
        // For each that is written, two that are full again are forgotten: else names that come once would pile up.
        let most = (spends.len() * MAX_EVICT) as i64;
        conn.prepare_cached(FORGET_FULL)?.execute(params![Fill::nanos(*now), most])?;
    }
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::super::{row::OptionsCache, schema, scribe::Tx};
    use super::*;
    use crate::backend::Budget;

    #[test]
    fn budgets_that_are_full_again_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let conn = schema::writer(&folder.path().join("queue.db")).unwrap();
        let mut options = OptionsCache::default();
        let mut tx = Tx { conn: &conn, options: &mut options, lanes: HashMap::new() };
        for n in 0..100 {
            let budget = Budget::new(&format!("b{n}"), NonZeroU32::MIN, Duration::from_secs(5)).unwrap();
            spend(&mut tx, &(vec![budget.want(1)], Timestamp::from_millis(n * 1_000))).unwrap();
        }
        let kept: i64 = conn.query_row("SELECT COUNT(*) FROM budgets", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 5);
    }
}
