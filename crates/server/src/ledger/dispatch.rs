//! Step 2 of the protocol: which rows are not in the queue yet, and the note that they are.

use super::id::is_id;
use super::settle::lock_rows;
use super::sql::{Arg, Sql};
use super::{Kind, Ledger, LedgerError};

/// A row that the queue does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undispatched {
    /// The row's id.
    pub id: String,
    /// Its generation; the queue's id is [`queue_id`] of both.
    pub generation: i64,
    /// Whose.
    pub org: String,
    /// The job's type; for a delivery the event's.
    pub job_type: String,
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// Not to be started before.
    pub run_at: Option<i64>,
    /// Tries it may have.
    pub max_attempts: i64,
    /// Time for one try, in ms.
    pub timeout: Option<i64>,
    /// FAILED as `expired` when not started by then; `None` once it was started, in whatever life.
    pub start_before: Option<i64>,
    /// W3C trace context of the request that made it.
    pub traceparent: Option<String>,
}

/// Rows in one call, at most.
const MOST: usize = 500;

/// The queue's id of a row: `<id>` in its first generation, `<id>.<generation>` after, because a queue ignores an id that it
/// still keeps.
pub fn queue_id(id: &str, generation: i64) -> String {
    if generation <= 1 { id.to_owned() } else { format!("{id}.{generation}") }
}

/// The row's id and generation from a queue's id; `None` when it is not one of ours.
pub fn parse_queue_id(text: &str) -> Option<(&str, i64)> {
    let (id, generation) = match text.split_once('.') {
        None => (text, 1),
        Some((id, number)) => {
            let plain = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
            let generation = number.parse().ok().filter(|n: &i64| plain && *n > 1)?;
            (id, generation)
        }
    };
    is_id(id).then_some((id, generation))
}

impl Ledger {
    /// Rows that are not in the queue, oldest first, at most `most` (≤ 500).
    pub async fn undispatched(&self, kind: Kind, most: usize) -> Result<Vec<Undispatched>, LedgerError> {
        LedgerError::bound(most, MOST)?;
        let sql = match kind {
            Kind::Job => Sql::new(
                "dispatch.jobs",
                "SELECT id, gen, org, job_type, priority, COALESCE(next_at, run_at), max_attempts, timeout,
                    CASE WHEN started_at IS NULL THEN start_before END, traceparent
                 FROM jobs WHERE queued_gen < gen ORDER BY id LIMIT $1",
            ),
            Kind::Delivery => Sql::new(
                "dispatch.deliveries",
                "SELECT id, gen, org, event_type, CAST(0 AS BIGINT), next_at, max_attempts, CAST(NULL AS BIGINT),
                    CASE WHEN started_at IS NULL THEN start_before END, CAST(NULL AS TEXT)
                 FROM deliveries WHERE queued_gen < gen ORDER BY id LIMIT $1",
            ),
        };
        let rows = self.db().rows(sql.bind(most as i64)).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(Undispatched {
                    id: row.text()?,
                    generation: row.int()?,
                    org: row.text()?,
                    job_type: row.text()?,
                    priority: row.int()?,
                    run_at: row.opt_int()?,
                    max_attempts: row.int()?,
                    timeout: row.opt_int()?,
                    start_before: row.opt_int()?,
                    traceparent: row.opt_text()?,
                })
            })
            .collect()
    }

    /// Notes that these rows are in the queue (at most 500). Rows that have a newer generation are left alone.
    pub async fn dispatched(&self, kind: Kind, rows: &[(String, i64)], now: i64) -> Result<(), LedgerError> {
        LedgerError::bound(rows.len(), MOST)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<&(String, i64)> = rows.iter().collect();
        rows.sort_unstable();
        let args = rows.iter().map(|(id, generation)| vec![Arg::from(id), Arg::from(*generation)]).collect();
        let (name, table) = match kind {
            Kind::Job => ("dispatch.note.jobs", "jobs"),
            Kind::Delivery => ("dispatch.note.deliveries", "deliveries"),
        };
        let sql = Sql::batch(
            name,
            format!(
                "WITH {{v}} UPDATE {table} SET queued_gen = v.k_gen, updated_at = ? FROM v
                 WHERE {table}.id = v.k_id AND {table}.gen = v.k_gen AND {table}.queued_gen < v.k_gen"
            ),
            &["k_id", "k_gen"],
            args,
        );
        let mut tx = self.db().write().await?;
        lock_rows(&mut tx, kind, rows.iter().map(|(id, _)| id.as_str())).await?;
        tx.run(sql.bind(now)).await?;
        tx.commit().await
    }

    /// How many rows are not in the queue, counted up to `most` only.
    pub async fn backlog(&self, kind: Kind, most: u32) -> Result<u64, LedgerError> {
        let sql = match kind {
            Kind::Job => Sql::new(
                "dispatch.backlog.jobs",
                "SELECT COUNT(*) FROM (SELECT id FROM jobs WHERE queued_gen < gen LIMIT $1) AS found",
            ),
            Kind::Delivery => Sql::new(
                "dispatch.backlog.deliveries",
                "SELECT COUNT(*) FROM (SELECT id FROM deliveries WHERE queued_gen < gen LIMIT $1) AS found",
            ),
        };
        match self.db().row(sql.bind(i64::from(most))).await? {
            Some(mut row) => Ok(row.int()?.unsigned_abs()),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c0123456789abcdefghijklmn";

    #[test]
    fn queue_ids_say_the_generation_from_the_second_on() {
        assert_eq!(queue_id(ID, 1), ID);
        assert_eq!(queue_id(ID, 2), format!("{ID}.2"));
        for generation in [1, 2, 10, i64::MAX] {
            let text = queue_id(ID, generation);
            assert_eq!(parse_queue_id(&text), Some((ID, generation)), "{text}");
        }
    }

    #[test]
    fn foreign_queue_ids_are_told() {
        let bad = ["", "17", "c1", ".2", "x.y", "repeat:abc:1"];
        let suffixed = [".", ".1", ".0", ".02", ".+2", ".-2", ".2.3", ".99999999999999999999"];
        for text in bad.iter().map(|text| (*text).to_owned()) {
            assert_eq!(parse_queue_id(&text), None, "{text}");
        }
        for text in suffixed.iter().map(|suffix| format!("{ID}{suffix}")) {
            assert_eq!(parse_queue_id(&text), None, "{text}");
        }
    }
}
