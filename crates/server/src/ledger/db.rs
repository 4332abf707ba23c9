//! The two databases behind one set of calls: connections, transactions, rows.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::postgres::{PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{Executor, Row as _, Transaction};

use super::LedgerError;
use super::sql::{Gather, Placeholder, Sql, Texts};

/// The connections.
pub(crate) enum Db {
    /// One writer, so that this process's writers queue up fairly instead of polling a lock; readers beside it.
    Sqlite { writer: SqlitePool, readers: SqlitePool, texts: Texts },
    /// One pool for all.
    Pg { pool: PgPool, texts: Texts },
}

/// A row of an answer, read from the left.
pub(crate) struct Row {
    row: EitherRow,
    at: usize,
}

enum EitherRow {
    Sqlite(SqliteRow),
    Pg(PgRow),
    /// A row that came within one text.
    Json(Vec<Value>),
}

/// An open transaction; dropped without `commit` it is rolled back.
pub(crate) struct Tx<'a> {
    open: Open,
    texts: &'a Texts,
}

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

impl Db {
    /// Opens a transaction that writes. On SQLite it takes the write lock at once, so that it never fails half way.
    pub(crate) async fn write(&self) -> Result<Tx<'_>, LedgerError> {
        Ok(match self {
            Db::Sqlite { writer, texts, .. } => {
                Tx { open: Open::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?), texts }
            }
            Db::Pg { pool, texts } => Tx { open: Open::Pg(pool.begin().await?), texts },
        })
    }

    /// Reads.
    pub(crate) async fn rows(&self, sql: Sql) -> Result<Vec<Row>, LedgerError> {
        match self {
            Db::Sqlite { readers, texts, .. } => sqlite_rows(readers, sql, texts).await,
            Db::Pg { pool, texts } => pg_rows(pool, sql, texts).await,
        }
    }

    /// Reads one row at most.
    pub(crate) async fn row(&self, sql: Sql) -> Result<Option<Row>, LedgerError> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// One write that is a transaction by itself; answers what it returns.
    pub(crate) async fn once(&self, sql: Sql) -> Result<Vec<Row>, LedgerError> {
        match self {
            Db::Sqlite { writer, texts, .. } => sqlite_rows(writer, sql, texts).await,
            Db::Pg { pool, texts } => pg_rows(pool, sql, texts).await,
        }
    }

    /// One write that is a transaction by itself; answers how many rows it touched.
    pub(crate) async fn run(&self, sql: Sql) -> Result<u64, LedgerError> {
        match self {
            Db::Sqlite { writer, texts, .. } => sqlite_run(writer, sql, texts).await,
            Db::Pg { pool, texts } => pg_run(pool, sql, texts).await,
        }
    }

    #[cfg(test)]
    pub(crate) fn texts(&self) -> &Texts {
        match self {
            Db::Sqlite { texts, .. } | Db::Pg { texts, .. } => texts,
        }
    }
}

impl Tx<'_> {
    /// Runs a statement and answers its rows.
    pub(crate) async fn rows(&mut self, sql: Sql) -> Result<Vec<Row>, LedgerError> {
        match &mut self.open {
            Open::Sqlite(tx) => sqlite_rows(&mut **tx, sql, self.texts).await,
            Open::Pg(tx) => pg_rows(&mut **tx, sql, self.texts).await,
        }
    }

    /// Reads and locks the rows of these ids, in the order of the ids; `read` answers each with its id.
    pub(crate) async fn by_id<'a, T>(
        &mut self,
        name: &'static str,
        gather: Gather,
        ids: impl Iterator<Item = &'a str>,
        read: impl Fn(&mut Row) -> Result<(String, T), LedgerError>,
    ) -> Result<HashMap<String, T>, LedgerError> {
        let mut ids: Vec<&str> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let mut rows = self.rows(Sql::gather(name, gather, ids.into_iter())).await?;
        if matches!(self.open, Open::Sqlite(_)) {
            // All of them come as one text.
            rows = match rows.first_mut() {
                Some(row) => unpack(&row.text()?)?,
                None => Vec::new(),
            };
        }
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Runs a statement that must touch exactly `expected` rows, because they were read and locked before.
    pub(crate) async fn run_all(&mut self, sql: Sql, expected: usize) -> Result<(), LedgerError> {
        let touched = self.run(sql).await?;
        if touched != expected as u64 {
            let why = format!("{touched} rows were written where {expected} were locked");
            return Err(LedgerError::Unreadable(why));
        }
        Ok(())
    }

    /// Runs a statement and answers its first row.
    pub(crate) async fn row(&mut self, sql: Sql) -> Result<Option<Row>, LedgerError> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// Runs a statement and answers how many rows it touched.
    pub(crate) async fn run(&mut self, sql: Sql) -> Result<u64, LedgerError> {
        match &mut self.open {
            Open::Sqlite(tx) => sqlite_run(&mut **tx, sql, self.texts).await,
            Open::Pg(tx) => pg_run(&mut **tx, sql, self.texts).await,
        }
    }

    /// Runs several statements without arguments (a migration).
    pub(crate) async fn script(&mut self, text: &'static str) -> Result<(), LedgerError> {
        match &mut self.open {
            Open::Sqlite(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop)?,
            Open::Pg(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    /// Locks the rows that `sql` (which ends in `FOR UPDATE`) reads, in its order, so that two batches never wait for each
    /// other. SQLite has one writer and needs none.
    pub(crate) async fn lock(&mut self, sql: impl FnOnce() -> Sql) -> Result<(), LedgerError> {
        match &mut self.open {
            Open::Sqlite(_) => Ok(()),
            Open::Pg(tx) => pg_rows(&mut **tx, sql(), self.texts).await.map(drop),
        }
    }

    /// Commits; what was written is durable when this answers.
    pub(crate) async fn commit(self) -> Result<(), LedgerError> {
        match self.open {
            Open::Sqlite(tx) => tx.commit().await?,
            Open::Pg(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

async fn sqlite_rows<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<Vec<Row>, LedgerError>
where
    E: Executor<'e, Database = Sqlite>,
{
    let text = sql.text_for(Placeholder::Positional, texts);
    let query = sqlx::query_with(text, sql.sqlite_args()?);
    let rows = query.fetch_all(on).await?;
    Ok(rows.into_iter().map(|row| Row { row: EitherRow::Sqlite(row), at: 0 }).collect())
}

async fn sqlite_run<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<u64, LedgerError>
where
    E: Executor<'e, Database = Sqlite>,
{
    let text = sql.text_for(Placeholder::Positional, texts);
    let query = sqlx::query_with(text, sql.sqlite_args()?);
    Ok(query.execute(on).await?.rows_affected())
}

async fn pg_rows<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<Vec<Row>, LedgerError>
where
    E: Executor<'e, Database = Postgres>,
{
    let text = sql.text_for(Placeholder::Numbered, texts);
    let query = sqlx::query_with(text, sql.pg_args()?);
    let rows = query.fetch_all(on).await?;
    Ok(rows.into_iter().map(|row| Row { row: EitherRow::Pg(row), at: 0 }).collect())
}

async fn pg_run<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<u64, LedgerError>
where
    E: Executor<'e, Database = Postgres>,
{
    let text = sql.text_for(Placeholder::Numbered, texts);
    let query = sqlx::query_with(text, sql.pg_args()?);
    Ok(query.execute(on).await?.rows_affected())
}

fn unpack(text: &str) -> Result<Vec<Row>, LedgerError> {
    let rows: Vec<Vec<Value>> = serde_json::from_str(text).map_err(|why| LedgerError::Unreadable(why.to_string()))?;
    Ok(rows.into_iter().map(|values| Row { row: EitherRow::Json(values), at: 0 }).collect())
}

macro_rules! columns {
    ($name:ident, $kind:ty) => {
        pub(crate) fn $name(&mut self) -> Result<$kind, LedgerError> {
            let at = self.at;
            self.at += 1;
            Ok(match &mut self.row {
                EitherRow::Sqlite(row) => row.try_get(at)?,
                EitherRow::Pg(row) => row.try_get(at)?,
                EitherRow::Json(values) => {
                    let value = values.get_mut(at).map(Value::take).unwrap_or_default();
                    serde_json::from_value(value)
                        .map_err(|why| LedgerError::Unreadable(format!("column {at}: {why}")))?
                }
            })
        }
    };
}

/// Each call reads the next column.
impl Row {
    columns!(text, String);
    columns!(opt_text, Option<String>);
    columns!(int, i64);
    columns!(opt_int, Option<i64>);
}
