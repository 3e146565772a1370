//! What a caller of the storage can be told.

use diesel::result::DatabaseErrorKind as Kind;
use diesel::result::Error as DieselError;
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
    Query(#[from] DieselError),
}

impl StorageError {
    /// Whether there is no such row.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Rows(error) => error.is_not_found(),
            Self::Query(error) => matches!(error, DieselError::NotFound),
            Self::Amount(_) | Self::Connection(_) => false,
        }
    }

    /// Whether a row with this id, or with one of these unique values, is there already.
    pub fn is_duplicate(&self) -> bool {
        match self {
            Self::Rows(error) => error.is_duplicate(),
            Self::Query(error) => {
                matches!(error, DieselError::DatabaseError(Kind::UniqueViolation, _))
            }
            Self::Amount(_) | Self::Connection(_) => false,
        }
    }

    /// Whether a constraint of a table stands in the way.
    pub fn is_constraint_violation(&self) -> bool {
        match self {
            Self::Rows(error) => error.is_constraint_violation(),
            Self::Query(DieselError::DatabaseError(kind, _)) => is_of_constraint(kind),
            Self::Query(_) | Self::Amount(_) | Self::Connection(_) => false,
        }
    }
}

/// Whether it is one of the kinds that Diesel makes of PostgreSQL's class 23.
fn is_of_constraint(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::UniqueViolation
            | Kind::ForeignKeyViolation
            | Kind::RestrictViolation
            | Kind::NotNullViolation
            | Kind::CheckViolation
            | Kind::ExclusionViolation
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a caller is told of an error of Diesel's: not found, a duplicate, a violation.
    fn told(error: DieselError) -> (bool, bool, bool) {
        let error = StorageError::from(error);
        (error.is_not_found(), error.is_duplicate(), error.is_constraint_violation())
    }

    #[test]
    fn what_postgresql_says_to_a_query_by_hand_is_told_apart() {
        for (kind, is_duplicate, is_violation) in [
            (Kind::UniqueViolation, true, true),
            (Kind::ForeignKeyViolation, false, true),
            (Kind::RestrictViolation, false, true),
            (Kind::NotNullViolation, false, true),
            (Kind::CheckViolation, false, true),
            (Kind::ExclusionViolation, false, true),
            (Kind::SerializationFailure, false, false),
            (Kind::ReadOnlyTransaction, false, false),
            (Kind::UnableToSendCommand, false, false),
            (Kind::ClosedConnection, false, false),
            (Kind::Unknown, false, false),
        ] {
            let text = format!("{kind:?}");
            let error = DieselError::DatabaseError(kind, Box::new(text.clone()));
            assert_eq!(told(error), (false, is_duplicate, is_violation), "{text}");
        }
    }

    #[test]
    fn what_diesel_says_itself_is_told_apart() {
        assert_eq!(told(DieselError::NotFound), (true, false, false));
        let nul = std::ffi::CString::new("\0").expect_err("a byte that no text has");
        for error in [
            DieselError::InvalidCString(nul),
            DieselError::QueryBuilderError("none".into()),
            DieselError::DeserializationError("none".into()),
            DieselError::SerializationError("none".into()),
            DieselError::RollbackTransaction,
            DieselError::AlreadyInTransaction,
            DieselError::NotInTransaction,
            DieselError::BrokenTransactionManager,
            DieselError::RollbackErrorOnCommit {
                rollback_error: Box::new(DieselError::NotFound),
                commit_error: Box::new(DieselError::NotFound),
            },
        ] {
            let text = error.to_string();
            assert_eq!(told(error), (false, false, false), "{text}");
        }
    }
}
