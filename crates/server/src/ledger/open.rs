//! Opening: the database's address, the migrations, the settings read back, and the deployment's identity.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _};

use super::db::{Db, Tx};
use super::id::Ids;
use super::sql::{Sql, Texts};
use super::{Inner, Ledger, LedgerError};

/// Where the database is. Its `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A `postgres://` address, as given.
    Postgres(String),
}

/// Whether opening may change the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// Bring the schema up to date first.
    Apply,
    /// Refuse to open a database whose schema is not this version's.
    Check,
}

/// How to open.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether to migrate.
    pub migrate: Migrate,
    /// Connections kept at most (on SQLite: readers beside the one writer), 1–100.
    pub connections: u32,
    /// How long a call waits for a connection or for the write lock before it answers `Busy`.
    pub patience: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { migrate: Migrate::Apply, connections: 8, patience: Duration::from_secs(10) }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one we understand.
    #[error("{0}")]
    BadUrl(String),
    /// The database cannot be reached, its file cannot be opened, or it refused.
    #[error("cannot open the database {url}")]
    Unreachable {
        /// The address, without a password.
        url: String,
        /// Why.
        #[source]
        source: LedgerError,
    },
    /// The schema is another version's.
    #[error("the database's schema has version {found}, this program needs {needed}: {hint}")]
    Schema {
        /// What the database has; 0 is none.
        found: i64,
        /// What this program needs.
        needed: i64,
        /// What to do.
        hint: &'static str,
    },
    /// A setting that durability rests on did not take.
    #[error("the database did not take the setting {name}: it is {found}")]
    Setting {
        /// The pragma.
        name: &'static str,
        /// What was read back.
        found: String,
    },
}

/// A step from one version of the schema to the next.
struct Step {
    text: &'static str,
    /// The earliest version that a program may need and still run on what this step leads to. A step that only adds (a table, a
    /// column that may be null or has a default) leaves it as it is; one that takes something away is made when no program that
    /// needs it is left, and raises it.
    oldest: i64,
}

/// The schema's versions: the n-th step leads to version n.
const MIGRATIONS: [Step; 1] = [Step { text: include_str!("../../migrations/0001_first.sql"), oldest: 1 }];

impl DatabaseUrl {
    /// Reads `sqlite://path`, `sqlite:path`, `postgres://…` or `postgresql://…`. An in-memory SQLite database is refused:
    /// its connections would not share it.
    pub fn parse(text: &str) -> Result<DatabaseUrl, OpenError> {
        let bad = |why: &str| Err(OpenError::BadUrl(format!("DATABASE_URL: {why}")));
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match PgConnectOptions::from_str(text) {
                Ok(_) => Ok(DatabaseUrl::Postgres(text.to_owned())),
                // The driver's message may quote the address, and with it the password.
                Err(_) => bad("this PostgreSQL address cannot be read"),
            };
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return bad("it must begin with sqlite:// or postgres://");
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(":memory:") || path.contains('?') {
            return bad("sqlite:// takes the path of a file, without parameters");
        }
        Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
    }

    /// The address without a password, for messages.
    pub fn shown(&self) -> String {
        match self {
            DatabaseUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
            DatabaseUrl::Postgres(text) => {
                let rest = text.split_once("://").map_or("", |(_, rest)| rest);
                let rest = rest.split('?').next().unwrap_or("");
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                format!("postgres://{host}/{path}")
            }
        }
    }
}

impl std::fmt::Display for DatabaseUrl {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.shown())
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.shown())
    }
}

impl Ledger {
    /// Opens the database, migrates it if told to, reads the settings back, and makes the deployment id on the first open.
    /// The directory of a SQLite file must exist.
    pub async fn open(url: &DatabaseUrl, options: OpenOptions, now: i64) -> Result<Ledger, OpenError> {
        let unreachable = |source: LedgerError| OpenError::Unreachable { url: url.shown(), source };
        let db = match url {
            DatabaseUrl::Sqlite(path) => open_sqlite(path, &options).await,
            DatabaseUrl::Postgres(text) => open_pg(text, &options).await,
        }
        .map_err(|why| unreachable(why.into()))?;
        if let Db::Sqlite { .. } = &db {
            check_settings(&db).await.map_err(|why| match why {
                Checked::Store(source) => unreachable(source),
                Checked::Setting(name, found) => OpenError::Setting { name, found },
            })?;
        }
        let (found, oldest) = schema(&db, options.migrate).await.map_err(unreachable)?;
        let needed = MIGRATIONS.len() as i64;
        let hint = if found < needed {
            "run `launchkit migrate` first"
        } else {
            "a newer version has been here; use that one"
        };
        if !(oldest..=found).contains(&needed) {
            return Err(OpenError::Schema { found, needed, hint });
        }
        let ids = Ids::default();
        let deployment = deployment(&db, &ids, now).await.map_err(unreachable)?;
        Ok(Ledger { inner: Arc::new(Inner { db, ids, deployment }) })
    }

    /// The id that this database got when it was made; the queue carries the same one.
    pub fn deployment_id(&self) -> &str {
        &self.inner.deployment
    }

    /// The database server's own time; `None` on SQLite, whose clock is this machine's.
    pub async fn server_time(&self) -> Result<Option<i64>, LedgerError> {
        match self.db() {
            Db::Sqlite { .. } => Ok(None),
            Db::Pg { pool, .. } => {
                let text = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
                Ok(Some(sqlx::query_scalar(text).fetch_one(pool).await?))
            }
        }
    }

    /// Answers when the database can be read: for `/readyz`.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        let sql = Sql::new("open.ping", "SELECT value FROM meta WHERE name = 'deployment'");
        match self.db().row(sql).await? {
            Some(_) => Ok(()),
            None => Err(LedgerError::Unreadable("the deployment id is gone".to_owned())),
        }
    }

    /// Closes the connections; on SQLite after the last checkpoint. Calls made later answer `Unreachable`.
    pub async fn close(&self) {
        match self.db() {
            Db::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Pg { pool, .. } => pool.close().await,
        }
    }
}

async fn open_sqlite(path: &Path, options: &OpenOptions) -> Result<Db, sqlx::Error> {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.patience)
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .row_buffer_size(1_024)
        // A checkpoint runs within some commit; at SQLite's own 1,000 pages it costs a third of the throughput.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("cache_size", "-16000")
        .disable_statement_logging();
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(options.patience)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let writer = pool().max_connections(1).connect_with(connect.clone()).await?;
    let readers =
        pool().max_connections(options.connections.clamp(1, 100)).connect_lazy_with(connect.pragma("query_only", "ON"));
    Ok(Db::Sqlite { writer, readers, texts: Texts::default() })
}

/// Every statement of ours finds its rows by an index. Left to its guesses about tables that have just grown, the planner reads
/// them whole for a batch of a hundred (100 ms instead of 2 with 20,000 jobs).
const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// What a process that is frozen, or gone without a word, has locked is free again after this long, and no wait for one lock is longer.
fn bounds(patience: Duration) -> String {
    let millis = patience.as_millis().clamp(1, i32::MAX as u128);
    format!("SET idle_in_transaction_session_timeout = {millis}; SET lock_timeout = {millis}")
}

async fn open_pg(text: &str, options: &OpenOptions) -> Result<Db, sqlx::Error> {
    let patience = options.patience;
    let connect = PgConnectOptions::from_str(text)?
        .application_name("launchkit")
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .acquire_timeout(options.patience)
        .max_connections(options.connections.clamp(1, 100))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(PLANS).await?;
                connection.execute(sqlx::AssertSqlSafe(bounds(patience))).await.map(drop)
            })
        })
        .connect_with(connect)
        .await?;
    Ok(Db::Pg { pool, texts: Texts::default() })
}

enum Checked {
    Store(LedgerError),
    Setting(&'static str, String),
}

/// A pragma that is misspelled or refused says nothing: read back what durability rests on.
async fn check_settings(db: &Db) -> Result<(), Checked> {
    let journal = Sql::new("open.journal_mode", "PRAGMA journal_mode");
    let rows = db.once(journal).await.map_err(Checked::Store)?;
    for mut row in rows {
        let found = row.text().map_err(Checked::Store)?;
        if found != "wal" {
            return Err(Checked::Setting("journal_mode", found));
        }
    }
    let synchronous = Sql::new("open.synchronous", "PRAGMA synchronous");
    let rows = db.once(synchronous).await.map_err(Checked::Store)?;
    for mut row in rows {
        let found = row.int().map_err(Checked::Store)?;
        if found < 2 {
            return Err(Checked::Setting("synchronous", found.to_string()));
        }
    }
    Ok(())
}

/// Brings the schema up to date (or only looks) in one transaction that two starting nodes cannot both be in; answers the
/// version that the database has then, and the oldest one that runs on it.
async fn schema(db: &Db, migrate: Migrate) -> Result<(i64, i64), LedgerError> {
    let mut tx = db.write().await?;
    // However long another node takes.
    tx.lock(|| Sql::new("open.patience", "SELECT set_config('lock_timeout', '0', true)")).await?;
    // Any number; it only has to be the same for every node.
    tx.lock(|| Sql::new("open.lock", "SELECT pg_advisory_xact_lock(7301944)")).await?;
    if migrate == Migrate::Apply {
        let table =
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, oldest BIGINT NOT NULL)";
        tx.script(table).await?;
    } else if !has_version_table(db, &mut tx).await? {
        return Ok((0, 0));
    }
    let version = Sql::new("open.version", "SELECT version, oldest FROM schema_version ORDER BY version DESC LIMIT 1");
    let found = match tx.row(version).await? {
        Some(mut row) => (row.int()?, row.int()?),
        None => (0, 0),
    };
    if migrate == Migrate::Check || found.0 >= MIGRATIONS.len() as i64 {
        return Ok(found);
    }
    let (mut found, done) = (found, usize::try_from(found.0).unwrap_or(usize::MAX));
    for (at, step) in MIGRATIONS.iter().enumerate().skip(done) {
        tx.script(step.text).await?;
        found = (at as i64 + 1, found.1.max(step.oldest));
        let noted = Sql::new("open.migrated", "INSERT INTO schema_version (version, oldest) VALUES ($1, $2)");
        tx.run(noted.bind(found.0).bind(found.1)).await?;
    }
    tx.commit().await?;
    Ok(found)
}

async fn has_version_table(db: &Db, tx: &mut Tx<'_>) -> Result<bool, LedgerError> {
    let sql = match db {
        Db::Sqlite { .. } => Sql::new(
            "open.has_version.sqlite",
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
        ),
        Db::Pg { .. } => Sql::new(
            "open.has_version.pg",
            "SELECT CAST(to_regclass('schema_version') AS TEXT) WHERE to_regclass('schema_version') IS NOT NULL",
        ),
    };
    Ok(tx.row(sql).await?.is_some())
}

async fn deployment(db: &Db, ids: &Ids, now: i64) -> Result<String, LedgerError> {
    let made = Sql::new(
        "open.deployment.make",
        "INSERT INTO meta (name, value) VALUES ('deployment', $1) ON CONFLICT (name) DO NOTHING",
    );
    let read = Sql::new("open.deployment", "SELECT value FROM meta WHERE name = 'deployment'");
    let mut tx = db.write().await?;
    tx.run(made.bind(ids.make(now))).await?;
    let id = match tx.row(read).await? {
        Some(mut row) => row.text()?,
        None => return Err(LedgerError::Unreadable("no deployment id".to_owned())),
    };
    tx.commit().await?;
    Ok(id)
}
