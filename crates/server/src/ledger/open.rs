//! Opening: the database's address, the migrations, the settings read back, and the deployment's identity.

use super::Ledger;

/// Where the database is. Its `Debug` and `Display` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file on this machine.
    Sqlite(std::path::PathBuf),
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
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            migrate: Migrate::Apply,
            connections: 8,
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one we understand.
    #[error("{0}")]
    BadUrl(String),
    /// The database cannot be reached or its file cannot be opened.
    #[error("cannot open the database")]
    Unreachable(#[source] sqlx::Error),
    /// The schema is older (with `Migrate::Check`) or newer than this version's, or a migration failed.
    #[error("the database's schema does not fit this version: {0}")]
    Schema(String),
    /// A setting that durability rests on did not take.
    #[error("the database did not take the setting {name}: it is {found}")]
    Setting {
        /// The pragma.
        name: &'static str,
        /// What was read back.
        found: String,
    },
}

impl DatabaseUrl {
    /// Reads `sqlite://path`, `sqlite:path`, `postgres://…` or `postgresql://…`. An in-memory SQLite database is refused:
    /// its connections would not share it.
    pub fn parse(text: &str) -> Result<DatabaseUrl, OpenError> {
        todo!("{text}")
    }
}

impl Ledger {
    /// Opens the database, migrates it if told to, reads the settings back, and makes the deployment id on the first open.
    pub async fn open(
        url: &DatabaseUrl,
        options: OpenOptions,
        now: i64,
    ) -> Result<Ledger, OpenError> {
        todo!("{url:?} {options:?} {now}")
    }

    /// The id that this database got when it was made; the queue carries the same one.
    pub fn deployment_id(&self) -> &str {
        todo!()
    }

    /// The database server's own time; `None` on SQLite, whose clock is this machine's.
    pub async fn server_time(&self) -> Result<Option<i64>, super::LedgerError> {
        todo!()
    }

    /// Answers when the database answers: for `/readyz`.
    pub async fn ping(&self) -> Result<(), super::LedgerError> {
        todo!()
    }

    /// Closes the connections; on SQLite after the last checkpoint.
    pub async fn close(&self) {
        todo!()
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
