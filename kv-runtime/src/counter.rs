//! Counters: fields that are changed by adding to them.

use std::marker::PhantomData;

use crate::error::{Error, Operation};
use crate::hot_store::{Increment, Terms, WriteOutcome};
use crate::model::{FieldError, KvModel};
use crate::query::Field;
use crate::receipt::Receipt;
use crate::repository::Repository;
use crate::value::{KvValue, ValueError};

/// An integer that can be added to: of at most 64 bits, and never NULL.
#[diagnostic::on_unimplemented(
    message = "a field of the type `{Self}` cannot be incremented",
    label = "not a counter",
    note = "a counter is an `i64`, `i32`, `i16`, `i8`, `u32`, `u16` or `u8`, which is never NULL"
)]
pub trait KvCounter: KvValue + TryFrom<i64> {
    /// The least that it can hold.
    const LEAST: i64;
    /// The most that it can hold.
    const MOST: i64;
}

macro_rules! counters {
    ($($integer:ty),*) => {$(
        impl KvCounter for $integer {
            const LEAST: i64 = <$integer>::MIN as i64;
            const MOST: i64 = <$integer>::MAX as i64;
        }
    )*};
}

counters!(i64, i32, i16, i8, u32, u16, u8);

/// A counter of the model `M`, of any size; made by [`Field::counter`].
#[derive(Debug)]
pub struct Counter<M> {
    column: usize,
    /// The least and the most that it can hold.
    least: i64,
    most: i64,
    model: PhantomData<fn() -> M>,
}

impl<M: KvModel, T: KvCounter> Field<M, T> {
    /// The field as a counter, whatever its type: for
    /// [`WriteRepository::increment`](crate::WriteRepository::increment).
    pub fn counter(self) -> Counter<M> {
        Counter { column: self.column(), least: T::LEAST, most: T::MOST, model: PhantomData }
    }
}

/// What an increment answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incremented<T> {
    /// The counter's value after it, before any other change.
    pub value: T,
    /// Where its entry stands.
    pub receipt: Receipt,
}

impl<M: KvModel> Repository<M> {
    /// Adds to a counter of a row, or takes from it where `by` is negative: at once for all who do
    /// the same, so that none of it is lost. Answers the counter's new value.
    ///
    /// One round trip if the row is in Redis; else it is brought in first.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// #[derive(Debug, Clone, PartialEq, KvModel)]
    /// struct Bucket {
    ///     #[kv(id, fresh)]
    ///     id: i64,
    ///     total_size: i64,
    ///     file_count: i32,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let buckets = Kv::memory().repository::<Bucket>();
    /// buckets.create(&Bucket { id: 1, total_size: 0, file_count: i32::MAX }).await?;
    /// let size = buckets.increment(&1, |bucket| bucket.total_size, 4_096).await?;
    /// assert_eq!(size.value, 4_096);
    ///
    /// let full = buckets.increment(&1, |bucket| bucket.file_count, 1).await;
    /// assert!(matches!(full, Err(Error::Overflow { field: "file_count", .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Overflow`], [`Error::Encoding`] where the column is NULL,
    /// [`Error::Configuration`] where it is the id or the version, and those of a connection. Of [`Error::NotReplicated`], read the row to know its value.
    pub async fn increment<T: KvCounter>(
        &self,
        id: &M::Id,
        counter: impl FnOnce(&M::Fields) -> Field<M, T>,
        by: i64,
    ) -> Result<Incremented<T>, Error> {
        let counter = counter(&M::FIELDS);
        let Incremented { value, receipt } = self.add(id, counter.counter(), by).await?;
        match T::try_from(value) {
            Ok(value) => Ok(Incremented { value, receipt }),
            Err(_) => Err(no_integer::<M>(Self::at("increment"), counter.column())),
        }
    }

    /// Adds to a counter of any size.
    pub(crate) async fn add(
        &self,
        id: &M::Id,
        counter: Counter<M>,
        by: i64,
    ) -> Result<Incremented<i64>, Error> {
        let at = Self::at("increment");
        let column = counter.column;
        let increment = counter.increment(at, by)?;
        let (terms, patch) = (Terms::Increment(increment), increment.to_patch());
        let receipt = self.rows().patch_on(at, self.encode_id(at, id)?, terms, patch).await?;
        match receipt.result {
            Some(value) => Ok(Incremented { value, receipt }),
            None => Err(no_integer::<M>(at, column)),
        }
    }
}

impl<M: KvModel> Counter<M> {
    /// An addition to it.
    pub(crate) fn increment(self, at: Operation, by: i64) -> Result<Increment, Error> {
        let Self { column, least, most, .. } = self;
        if M::DESCRIPTOR.id.contains(&column) || M::DESCRIPTOR.version == Some(column) {
            let field = M::DESCRIPTOR.columns[column].field;
            let source = format!("`{field}` is no counter: neither id nor version can be added to");
            return Err(Error::Configuration { at, source: source.into() });
        }
        Ok(Increment { column, by, least, most })
    }
}

/// Why a row's counter was not added to: it overflows, or is NULL.
pub(crate) fn refused(
    at: Operation,
    id: &str,
    field: &'static str,
    outcome: &WriteOutcome,
) -> Error {
    match outcome {
        WriteOutcome::Overflow => Error::Overflow { at, id: id.to_owned(), field },
        _ => Error::encoding(at, FieldError { field, source: ValueError::UnexpectedNull }),
    }
}

pub(crate) fn no_integer<M: KvModel>(at: Operation, column: usize) -> Error {
    let field = M::DESCRIPTOR.columns[column].field;
    Error::encoding(at, FieldError { field, source: ValueError::Invalid { expected: "integer" } })
}
