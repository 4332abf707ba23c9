//! What any call of the ledger may suffer from the database. What a call *decides* is its own answer type, never here.

/// A database failure, told apart by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database is locked, out of connections, or rolled the transaction back to resolve a conflict.
    /// Nothing was changed; the same call may be made again.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The connection failed. Whether the transaction was committed is unknown; every call of the ledger may be repeated.
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
    /// The database answered something that this version does not understand, or refused a statement: a fault of ours, or a
    /// damaged database.
    #[error("the database answered unexpectedly: {0}")]
    Broken(String, #[source] Option<sqlx::Error>),
}
