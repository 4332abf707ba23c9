//! The two databases behind one set of statements: placeholders, batches, rows and transactions.
//!
//! A statement is one text for both. `$n` stands as it is. A batch's text has `{v}` where its rows come, as the table
//! `v(…) AS (VALUES …)`, and `?` for what comes after them: SQLite looks a named placeholder up by walking all of them, which
//! is quadratic in a batch, so there the batch stays positional.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::{PgArguments, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Executor, Row as _, SqlStr, Transaction};

use super::LedgerError;

/// The connections.
pub(crate) enum Db {
    /// One writer, so that this process's writers queue up fairly instead of polling a lock; readers beside it.
    Sqlite { writer: SqlitePool, readers: SqlitePool, texts: Texts },
    /// One pool for all.
    Pg { pool: PgPool, texts: Texts },
}

/// Texts of batches, made once for each size.
#[derive(Default)]
pub(crate) struct Texts {
    batches: Mutex<HashMap<(&'static str, usize), Arc<str>>>,
    #[cfg(test)]
    pub(crate) seen: Mutex<std::collections::BTreeMap<&'static str, String>>,
}

/// One argument.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
}

/// One statement with its arguments.
pub(crate) struct Sql {
    name: &'static str,
    text: Text,
    args: Vec<Arg>,
}

enum Text {
    Plain(&'static str),
    Built(String),
    Batch { template: String, columns: &'static [&'static str], rows: usize },
}

/// A row of an answer, read from the left.
pub(crate) struct Row {
    row: EitherRow,
    at: usize,
}

enum EitherRow {
    Sqlite(SqliteRow),
    Pg(PgRow),
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

/// Row counts that batches are padded to (with rows of NULLs, which match nothing), so that few texts are prepared.
const SHAPES: [usize; 10] = [1, 2, 5, 10, 25, 50, 100, 200, 350, 500];

/// Rows in one batch at most: 500 rows of 40 columns stay below both databases' limits of arguments.
pub(crate) const MOST_ROWS: usize = 500;

impl Sql {
    /// A statement with `$n` placeholders. `name` tells it apart in tests.
    pub(crate) fn new(name: &'static str, text: &'static str) -> Sql {
        Sql { name, text: Text::Plain(text), args: Vec::new() }
    }

    /// The same for a text put together from constants.
    pub(crate) fn built(name: &'static str, text: String) -> Sql {
        Sql { name, text: Text::Built(text), args: Vec::new() }
    }

    /// A statement over rows, which come first among its arguments.
    pub(crate) fn batch(
        name: &'static str,
        template: impl Into<String>,
        columns: &'static [&'static str],
        rows: Vec<Vec<Arg>>,
    ) -> Sql {
        let wanted = shape(rows.len());
        let mut args = Vec::with_capacity(wanted * columns.len() + 4);
        let count = rows.len();
        let kinds: Vec<Arg> = rows.first().map(|row| row.iter().map(Arg::null).collect()).unwrap_or_default();
        for row in rows {
            debug_assert_eq!(row.len(), columns.len(), "{name}");
            args.extend(row);
        }
        for _ in count..wanted {
            args.extend(kinds.iter().cloned());
        }
        Sql { name, text: Text::Batch { template: template.into(), columns, rows: wanted }, args }
    }

    /// Adds an argument.
    pub(crate) fn bind(mut self, value: impl Into<Arg>) -> Sql {
        self.args.push(value.into());
        self
    }

    fn text_for(&self, placeholder: Placeholder, texts: &Texts) -> SqlStr {
        use sqlx::SqlSafeStr as _;
        let text = match &self.text {
            Text::Plain(text) => {
                texts.note(self.name, text);
                return text.into_sql_str();
            }
            Text::Built(text) => {
                texts.note(self.name, text);
                return AssertSqlSafe(text.clone()).into_sql_str();
            }
            Text::Batch { template, columns, rows } => {
                texts.batch((self.name, *rows), || render(template, columns, *rows, placeholder))
            }
        };
        texts.note(self.name, &text);
        AssertSqlSafe(text).into_sql_str()
    }
}

#[derive(Clone, Copy)]
enum Placeholder {
    Positional,
    Numbered,
}

fn shape(rows: usize) -> usize {
    SHAPES.iter().copied().find(|shape| *shape >= rows).unwrap_or(rows)
}

fn render(template: &str, columns: &[&str], rows: usize, placeholder: Placeholder) -> String {
    let mut text = String::with_capacity(template.len() + rows * columns.len() * 6);
    let mut number = 0;
    let mut mark = |text: &mut String| {
        number += 1;
        match placeholder {
            Placeholder::Positional => text.push('?'),
            Placeholder::Numbered => {
                text.push('$');
                text.push_str(&number.to_string());
            }
        }
    };
    let (before, after) = template.split_once("{v}").unwrap_or((template, ""));
    text.push_str(before);
    text.push_str("v(");
    text.push_str(&columns.join(", "));
    text.push_str(") AS (VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns.len() {
            if column > 0 {
                text.push_str(", ");
            }
            mark(&mut text);
        }
        text.push(')');
    }
    text.push(')');
    for character in after.chars() {
        match character {
            '?' => mark(&mut text),
            other => text.push(other),
        }
    }
    text
}

impl Texts {
    fn batch(&self, key: (&'static str, usize), make: impl FnOnce() -> String) -> Arc<str> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.entry(key).or_insert_with(|| make().into()).clone()
    }

    #[cfg(test)]
    fn note(&self, name: &'static str, text: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(name).or_insert_with(|| text.to_owned());
    }

    #[cfg(not(test))]
    fn note(&self, _: &'static str, _: &str) {}
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
    let query = sqlx::query_with(text, sqlite_args(sql.args)?);
    let rows = query.fetch_all(on).await?;
    Ok(rows.into_iter().map(|row| Row { row: EitherRow::Sqlite(row), at: 0 }).collect())
}

async fn sqlite_run<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<u64, LedgerError>
where
    E: Executor<'e, Database = Sqlite>,
{
    let text = sql.text_for(Placeholder::Positional, texts);
    let query = sqlx::query_with(text, sqlite_args(sql.args)?);
    Ok(query.execute(on).await?.rows_affected())
}

async fn pg_rows<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<Vec<Row>, LedgerError>
where
    E: Executor<'e, Database = Postgres>,
{
    let text = sql.text_for(Placeholder::Numbered, texts);
    let query = sqlx::query_with(text, pg_args(sql.args)?);
    let rows = query.fetch_all(on).await?;
    Ok(rows.into_iter().map(|row| Row { row: EitherRow::Pg(row), at: 0 }).collect())
}

async fn pg_run<'e, E>(on: E, sql: Sql, texts: &Texts) -> Result<u64, LedgerError>
where
    E: Executor<'e, Database = Postgres>,
{
    let text = sql.text_for(Placeholder::Numbered, texts);
    let query = sqlx::query_with(text, pg_args(sql.args)?);
    Ok(query.execute(on).await?.rows_affected())
}

macro_rules! args {
    ($name:ident, $kind:ty) => {
        fn $name(values: Vec<Arg>) -> Result<$kind, LedgerError> {
            let mut args = <$kind>::default();
            args.reserve(values.len(), values.len() * 16);
            for value in values {
                match value {
                    Arg::Text(text) => args.add(text),
                    Arg::Int(int) => args.add(int),
                }
                .map_err(|why| LedgerError::Refused(sqlx::Error::Encode(why)))?;
            }
            Ok(args)
        }
    };
}
args!(sqlite_args, SqliteArguments);
args!(pg_args, PgArguments);

macro_rules! columns {
    ($name:ident, $kind:ty) => {
        pub(crate) fn $name(&mut self) -> Result<$kind, LedgerError> {
            let at = self.at;
            self.at += 1;
            Ok(match &self.row {
                EitherRow::Sqlite(row) => row.try_get(at)?,
                EitherRow::Pg(row) => row.try_get(at)?,
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

impl Arg {
    fn null(like: &Arg) -> Arg {
        match like {
            Arg::Text(_) => Arg::Text(None),
            Arg::Int(_) => Arg::Int(None),
        }
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Arg {
        Arg::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Arg {
        Arg::Text(Some(text.clone()))
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Arg {
        Arg::Text(Some(text))
    }
}

impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Arg {
        Arg::Text(text)
    }
}

impl From<i64> for Arg {
    fn from(int: i64) -> Arg {
        Arg::Int(Some(int))
    }
}

impl From<Option<i64>> for Arg {
    fn from(int: Option<i64>) -> Arg {
        Arg::Int(int)
    }
}
