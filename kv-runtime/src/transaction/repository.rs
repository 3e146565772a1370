//! The typed face of the rows within a unit of work.

use std::fmt;
use std::marker::PhantomData;

use super::Transaction;
use crate::counter::{self, KvCounter};
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::key::RowKey;
use crate::model::{KvModel, KvPatch};
use crate::query::Field;
use crate::row::{self, EncodedPatch};

/// The rows of a model within a unit of work; made by [`Transaction::repository`].
///
/// Reads see what the unit of work has changed. Writes are kept until its end, and made together
/// with all others of it; so what they are refused for is told then, if not before.
pub struct TransactionRepository<M> {
    transaction: Transaction,
    model: PhantomData<fn() -> M>,
}

impl<M: KvModel> fmt::Debug for TransactionRepository<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TransactionRepository");
        out.field("model", &M::DESCRIPTOR.name).finish_non_exhaustive()
    }
}

impl<M: KvModel> TransactionRepository<M> {
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction, model: PhantomData }
    }

    fn at(verb: &'static str) -> Operation {
        Operation::new(M::DESCRIPTOR, verb)
    }

    fn key(&self, at: Operation, id: &M::Id) -> Result<RowKey, Error> {
        let id = row::encode_id::<M>(id).map_err(|error| Error::encoding(at, error))?;
        Ok(self.transaction.stores.keys.row(M::DESCRIPTOR, id))
    }

    async fn write_row(
        &self,
        at: Operation,
        model: &M,
        change: fn(row::EncodedRow) -> Change,
    ) -> Result<(), Error> {
        let row = row::encode(model).map_err(|error| Error::encoding(at, error))?;
        let key = self.transaction.stores.keys.row(M::DESCRIPTOR, M::DESCRIPTOR.id_of(&row));
        self.transaction.write(at, key, change(row)).await
    }

    /// The row with this id.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Apart`], and those of a connection.
    pub async fn get_by_id(&self, id: &M::Id) -> Result<M, Error> {
        let at = Self::at("get_by_id");
        let key = self.key(at, id)?;
        let not_found = || Error::NotFound { at, id: key.id.clone() };
        self.find(at, key.clone()).await?.ok_or_else(not_found)
    }

    /// The row with this id, if there is one.
    ///
    /// # Errors
    /// [`Error::Apart`], and those of a connection.
    pub async fn find_by_id(&self, id: &M::Id) -> Result<Option<M>, Error> {
        let at = Self::at("find_by_id");
        self.find(at, self.key(at, id)?).await
    }

    async fn find(&self, at: Operation, key: RowKey) -> Result<Option<M>, Error> {
        let row = self.transaction.read(at, key).await?;
        let decode = |row| row::decode(&row).map_err(|error| Error::encoding(at, error));
        row.map(decode).transpose()
    }

    /// Writes a row that is not there yet.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::Apart`], [`Error::Encoding`].
    pub async fn create(&self, model: &M) -> Result<(), Error> {
        self.write_row(Self::at("create"), model, Change::Create).await
    }

    /// Writes a whole row, whether it is there or not.
    ///
    /// # Errors
    /// [`Error::Apart`], [`Error::Encoding`].
    pub async fn upsert(&self, model: &M) -> Result<(), Error> {
        self.write_row(Self::at("upsert"), model, Change::Upsert).await
    }

    /// Changes the fields that the patch sets.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Apart`], [`Error::Encoding`].
    pub async fn update(&self, id: &M::Id, patch: M::Patch) -> Result<(), Error> {
        let at = Self::at("update");
        let mut encoded = EncodedPatch::default();
        patch.encode(&mut encoded).map_err(|error| Error::encoding(at, error))?;
        self.transaction.write(at, self.key(at, id)?, Change::Patch(encoded)).await
    }

    /// Adds to a counter of a row, or takes from it where `by` is negative, and answers its new value.
    ///
    /// Where somebody else has changed the row meanwhile, the unit of work is done anew; a counter
    /// that many add to at once, and that nothing else hangs on, is better
    /// [incremented](crate::Repository::increment) by itself.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Bucket { #[kv(id, fresh)] id: i64, bytes: i64, files: i32 }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let kv = Kv::memory();
    /// # kv.repository::<Bucket>().create(&Bucket { id: 1, bytes: 0, files: 0 }).await?;
    /// let counted = kv.transaction(async |unit| {
    ///     let buckets = unit.repository::<Bucket>();
    ///     buckets.increment(&1, |bucket| bucket.bytes, 4_096).await?;
    ///     buckets.increment(&1, |bucket| bucket.files, 1).await
    /// });
    /// assert_eq!(counted.await?.value, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Overflow`], [`Error::Encoding`] where the column is NULL,
    /// [`Error::Configuration`] where it is the id or the version, [`Error::Apart`], and those of a
    /// connection.
    pub async fn increment<T: KvCounter>(
        &self,
        id: &M::Id,
        counter: impl FnOnce(&M::Fields) -> Field<M, T>,
        by: i64,
    ) -> Result<T, Error> {
        let at = Self::at("increment");
        let counter = counter(&M::FIELDS);
        let column = counter.column();
        let increment = counter.counter().increment(at, by)?;
        let key = self.key(at, id)?;
        let not_found = || Error::NotFound { at, id: key.id.clone() };
        let row = self.transaction.read(at, key.clone()).await?.ok_or_else(not_found)?;
        let (patch, value) = increment.apply(&row).map_err(|outcome| {
            counter::refused(at, &key.id, M::DESCRIPTOR.columns[column].field, &outcome)
        })?;
        self.transaction.write(at, key, Change::Patch(patch)).await?;
        T::try_from(value).map_err(|_| counter::no_integer::<M>(at, column))
    }

    /// Deletes the row.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Apart`].
    pub async fn delete(&self, id: &M::Id) -> Result<(), Error> {
        let at = Self::at("delete");
        self.transaction.write(at, self.key(at, id)?, Change::Delete).await
    }
}
