//! What can go wrong with the file, translated once for those above.

use rusqlite::ErrorCode;

use crate::error::StoreError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error("SQLite did not take the setting {name} = {wanted}; it stands at {got}")]
    Setting { name: &'static str, wanted: String, got: String },
    #[error("the file belongs to another program")]
    Foreign,
    #[error("the file has schema {found}, this version knows up to {known}: use a newer version")]
    Newer { found: usize, known: usize },
    #[error("row of {what} does not decode: {why}")]
    Damaged { what: &'static str, why: String },
    #[error("{0} is on a network file system, where SQLite's locks do not hold: use a local disk, or Redis")]
    Network(String),
    #[error("cannot open the bell beside the file: {0}")]
    Bell(std::io::Error),
    #[error("a verb panicked: this is a bug of the store")]
    Panicked,
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damaged { .. } => StoreError::Damaged(fault.to_string()),
            Fault::Sql(rusqlite::Error::SqliteFailure(code, _))
                if matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                StoreError::Damaged(fault.to_string())
            }
            Fault::Sql(
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..),
            ) => StoreError::Damaged(fault.to_string()),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}
