//! What a caller of the storage can be told.

use kv_runtime::PoolError;

use crate::values::InvalidAmount;

/// Why the storage did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A repository's error.
    #[error(transparent)]
    Rows(#[from] kv_runtime::Error),
    /// A sum of payments is more than its column can hold.
    #[error(transparent)]
    Amount(#[from] InvalidAmount),
    /// A query written by hand had no connection.
    #[error(transparent)]
    Connection(#[from] PoolError),
    /// PostgreSQL did not answer a query written by hand.
    #[error("a query was not answered")]
    Query(#[from] diesel::result::Error),
}

impl StorageError {
    /// Whether there is no such row.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Rows(error) if error.is_not_found())
    }

    /// Whether a row with this id, or with one of these unique values, is there already.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Rows(error) if error.is_duplicate())
    }

    /// Whether a constraint of a table stands in the way.
    pub fn is_constraint_violation(&self) -> bool {
        matches!(self, Self::Rows(error) if error.is_constraint_violation())
    }
}
