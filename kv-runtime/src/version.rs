//! Models with a version, and changes that depend on it.

use std::fmt;

use crate::error::{Error, Operation};
use crate::hot_store::Terms;
use crate::model::KvModel;
use crate::receipt::Receipt;
use crate::repository::Repository;

/// A model with a field `#[kv(version)]`: written by `#[derive(KvModel)]`, not by hand.
#[diagnostic::on_unimplemented(
    message = "the rows of `{Self}` have no version",
    label = "no field of it has `#[kv(version)]`",
    note = "add a field `#[kv(version)] version: i64`, and its column to the table"
)]
pub trait KvVersioned: KvModel {
    /// The row's version.
    fn row_version(&self) -> i64;
}

/// The type of a field `#[kv(version)]`; it exists for the sake of its message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the version of a row",
    label = "not an `i64`",
    note = "the version is an `i64`, in a column `bigint NOT NULL`"
)]
pub trait VersionField {
    /// The version.
    fn as_version(&self) -> i64;
}

impl VersionField for i64 {
    fn as_version(&self) -> i64 {
        *self
    }
}

/// Why [`Repository::update_if`] has changed nothing.
///
/// It becomes an [`Error`] by `?`: then what was a conflict is an [`Error::Conflict`], without
/// the current row.
#[non_exhaustive]
pub enum UpdateIfError<M> {
    /// The row has another version than was expected.
    Conflict {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// The row as it is now.
        current: Box<M>,
    },
    /// What stands in the way of any change: see [`Repository::update`].
    Other(Error),
}

/// What the caller can do about a conflict.
pub(crate) const CONFLICT: &str = "has another version than was expected; read it and decide again";

impl<M> UpdateIfError<M> {
    /// The row as it is now, if it has another version than was expected.
    ///
    /// # Errors
    /// What else stood in the way.
    pub fn into_current(self) -> Result<M, Error> {
        match self {
            Self::Conflict { current, .. } => Ok(*current),
            Self::Other(error) => Err(error),
        }
    }
}

impl<M> fmt::Debug for UpdateIfError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Not the row, whose values are nobody's business in a log.
            Self::Conflict { at, id, .. } => {
                f.debug_struct("Conflict").field("at", at).field("id", id).finish_non_exhaustive()
            }
            Self::Other(error) => f.debug_tuple("Other").field(error).finish(),
        }
    }
}

impl<M> fmt::Display for UpdateIfError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { at, id, .. } => write!(f, "{at}: the row with id `{id}` {CONFLICT}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl<M> std::error::Error for UpdateIfError<M> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Conflict { .. } => None,
            Self::Other(error) => error.source(),
        }
    }
}

impl<M> From<UpdateIfError<M>> for Error {
    fn from(error: UpdateIfError<M>) -> Self {
        match error {
            UpdateIfError::Conflict { at, id, .. } => Self::Conflict { at, id, reason: CONFLICT },
            UpdateIfError::Other(error) => error,
        }
    }
}

impl<M: KvModel> Repository<M> {
    /// Changes some fields of a row if nobody has changed it since the caller read it: if its
    /// version still is `expected_version`. The new version is the receipt's.
    ///
    /// One round trip if the row is in Redis; else it is brought in first. A version never comes
    /// twice, so a row that was deleted and created again is another one as well.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel, Repository, UpdateIfError};
    /// #[derive(Debug, Clone, PartialEq, KvModel)]
    /// struct Booking {
    ///     #[kv(id, fresh)]
    ///     id: i64,
    ///     seats: i32,
    ///     #[kv(version)]
    ///     version: i64,
    /// }
    ///
    /// /// Takes a seat, whoever else is doing the same.
    /// async fn take_seat(bookings: &Repository<Booking>, id: i64) -> Result<Booking, Error> {
    ///     let mut booking = bookings.get_by_id(&id).await?;
    ///     loop {
    ///         let seats = booking.seats - 1;
    ///         let patch = Booking::patch().seats(seats);
    ///         match bookings.update_if(&id, booking.version, patch).await {
    ///             Ok(receipt) => return Ok(Booking { seats, version: receipt.version, ..booking }),
    ///             Err(UpdateIfError::Conflict { current, .. }) => booking = *current,
    ///             Err(other) => return Err(other.into()),
    ///         }
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let bookings = Kv::memory().repository::<Booking>();
    /// # let receipt = bookings.create(&Booking { id: 1, seats: 4, version: 0 }).await?;
    /// # assert_eq!(bookings.get_by_id(&1).await?.version, receipt.version);
    /// # let booking = take_seat(&bookings, 1).await?;
    /// # assert_eq!((booking.seats, bookings.get_by_id(&1).await?), (3, booking.clone()));
    /// # let stale = bookings.update_if(&1, receipt.version, Booking::patch().seats(9)).await;
    /// # assert_eq!(stale.expect_err("a stale writer").into_current()?, booking);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UpdateIfError::Conflict`] with the row as it is now, and those of
    /// [`update`](Self::update).
    pub async fn update_if(
        &self,
        id: &M::Id,
        expected_version: i64,
        patch: M::Patch,
    ) -> Result<Receipt, UpdateIfError<M>>
    where
        M: KvVersioned,
    {
        let at = Self::at("update_if");
        let key = self.encode_id(at, id).map_err(UpdateIfError::Other)?;
        let patch = Self::encode_patch(at, &patch).map_err(UpdateIfError::Other)?;
        let id = key.id.clone();
        let conflict = match self
            .rows()
            .patch_on(at, key.clone(), Terms::Version(expected_version), patch)
            .await
        {
            Err(conflict @ Error::Conflict { .. }) => conflict,
            other => return other.map_err(UpdateIfError::Other),
        };
        match self.get(at, key).await.map_err(UpdateIfError::Other)? {
            current if current.row_version() == expected_version => {
                Err(UpdateIfError::Other(conflict))
            }
            current => Err(UpdateIfError::Conflict { at, id, current: Box::new(current) }),
        }
    }
}
