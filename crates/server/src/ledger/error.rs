//! What any call of the ledger may suffer from the database. What a call *decides* is its own answer type, never here.

/// A database failure, told apart by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database is locked, out of connections, or rolled the transaction back to resolve a
    /// conflict. Nothing was changed; the same call may be made again.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The connection failed. Whether the transaction was committed is unknown.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The caller sent more than the call's bound. Nothing was changed.
    #[error("{given} items in one call, at most {most} are taken")]
    TooMany {
        /// How many came.
        given: usize,
        /// How many are taken.
        most: usize,
    },
    /// The database refused a statement, or a setting, or its disk is full. Nothing was changed.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
    /// A stored value that this version does not understand: a newer version's, or damage.
    #[error("the database holds a value that cannot be read: {0}")]
    Unreadable(String),
}

impl LedgerError {
    /// Refuses a call that brings more than its bound.
    pub(crate) fn bound(given: usize, most: usize) -> Result<(), LedgerError> {
        if given > most {
            return Err(LedgerError::TooMany { given, most });
        }
        Ok(())
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => LedgerError::Busy(error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => LedgerError::Unreachable(error),
            sqlx::Error::Database(answer) => match answer.code().map(|code| kind_of(&code)) {
                Some(Code::Busy) => LedgerError::Busy(error),
                Some(Code::Gone) => LedgerError::Unreachable(error),
                Some(Code::Other) | None => LedgerError::Refused(error),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => LedgerError::Unreadable(error.to_string()),
            _ => LedgerError::Refused(error),
        }
    }
}

enum Code {
    Busy,
    Gone,
    Other,
}

/// SQLite's extended codes are numbers (their low byte is the primary code), PostgreSQL's are five characters.
fn kind_of(code: &str) -> Code {
    match code {
        // Serialization failure, deadlock, lock not available, canceled by a timeout, too many connections.
        "40001" | "40P01" | "55P03" | "57014" | "53300" => Code::Busy,
        // Shut down, crashed, starting up; ended because its transaction stood still.
        "57P01" | "57P02" | "57P03" | "25P03" => Code::Gone,
        _ if code.len() == 5 && code.starts_with("08") => Code::Gone,
        _ if code.len() == 5 => Code::Other,
        _ => match code.parse::<u32>().map(|number| number & 0xff) {
            Ok(5 | 6) => Code::Busy,
            Ok(10 | 14) => Code::Gone,
            _ => Code::Other,
        },
    }
}
