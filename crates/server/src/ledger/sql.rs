//! Statements: placeholders, arguments, batches.
//!
//! A statement is one text for both databases. `$n` stands as it is. A batch's text has `{v}` where its rows come, as the
//! table `v(…) AS (VALUES …)`, and `?` for what comes after them: SQLite looks a named placeholder up by walking all of them,
//! which is quadratic in a batch, so there the batch stays positional.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, SqlStr};

use super::LedgerError;

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
    Gather { gather: Gather, columns: &'static [&'static str], rows: usize },
}

/// A read of many rows of one table that the transaction goes on to write.
///
/// SQLite's driver hands rows over one by one, each with a switch between threads, which costs more than reading them: there
/// they come as one JSON text. On PostgreSQL they are locked in the order of their ids, so that two batches never wait for
/// each other.
pub(crate) struct Gather {
    /// What to read of the table's row `j`.
    pub(crate) select: &'static str,
    pub(crate) table: &'static str,
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

    /// Reads and locks the rows with these ids; see [`Gather`]. Give it to [`Tx::gather`](super::db::Tx::gather).
    pub(crate) fn gather<'i>(name: &'static str, gather: Gather, ids: impl Iterator<Item = &'i str>) -> Sql {
        let batch = Sql::batch(name, "", &["k_id"], ids.map(|id| vec![id.into()]).collect());
        let text = match batch.text {
            Text::Batch { columns, rows, .. } => Text::Gather { gather, columns, rows },
            other => other,
        };
        Sql { text, ..batch }
    }

    /// Adds an argument.
    pub(crate) fn bind(mut self, value: impl Into<Arg>) -> Sql {
        self.args.push(value.into());
        self
    }

    /// The text for one of the databases.
    pub(crate) fn text_for(&self, placeholder: Placeholder, texts: &Texts) -> SqlStr {
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
            Text::Gather { gather, columns, rows } => {
                texts.batch((self.name, *rows), || render(&gather.template(placeholder), columns, *rows, placeholder))
            }
        };
        texts.note(self.name, &text);
        AssertSqlSafe(text).into_sql_str()
    }
}

/// How a database marks a batch's arguments.
#[derive(Clone, Copy)]
pub(crate) enum Placeholder {
    /// `?`
    Positional,
    /// `$1`, `$2`, …
    Numbered,
}

impl Gather {
    fn template(&self, placeholder: Placeholder) -> String {
        let Gather { select, table } = self;
        let from = format!("FROM v JOIN {table} j ON j.id = v.k_id");
        match placeholder {
            Placeholder::Positional => {
                format!("WITH {{v}} SELECT json_group_array(json_array({select})) {from}")
            }
            Placeholder::Numbered => {
                format!("WITH {{v}} SELECT {select} {from} ORDER BY j.id FOR UPDATE OF j")
            }
        }
    }
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

macro_rules! args {
    ($name:ident, $kind:ty) => {
        /// The arguments, as the driver takes them.
        pub(crate) fn $name(self) -> Result<$kind, LedgerError> {
            let mut args = <$kind>::default();
            args.reserve(self.args.len(), self.args.len() * 16);
            for value in self.args {
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
impl Sql {
    args!(sqlite_args, SqliteArguments);
    args!(pg_args, PgArguments);
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
