//! The typed face of a model's rows: thin shims over [`Rows`].

mod traits;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::durability::Durability;
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::key::RowKey;
use crate::lookup::Lookup;
use crate::model::{KvModel, KvPatch};
use crate::query::Query;
use crate::receipt::Receipt;
use crate::row::{self, EncodedPatch, RowDecoder};
use crate::rows::{Rows, Status};
use crate::stores::Stores;

pub use self::traits::{ReadOnly, ReadRepository, WriteRepository};

/// The rows of a model; made by [`Kv::repository`](crate::Kv::repository).
///
/// Every write changes the row and appends its entry in one round trip, together or not at all.
/// Every read sees every acknowledged write, drained or not. Cheap to clone.
///
/// Where a method names "those of a connection" among its errors, these are
/// [`Error::Unavailable`], [`Error::Timeout`] and [`Error::Configuration`], and of a write also
/// [`Error::OutcomeUnknown`], [`Error::Full`], [`Error::Held`], [`Error::TooLarge`],
/// [`Error::Encoding`], in a mode other than [`Durability::Fast`] also [`Error::NotReplicated`], and
/// under a [`StorageScheme`](crate::StorageScheme) by which PostgreSQL acknowledges writes
/// [`Error::Refused`] and [`Error::NotDrained`].
///
/// The methods that the derive writes for a model's indexes (`find_by_…`, `list_by_…`) are those of
/// [`KvModel::Finders`], which it dereferences to.
///
/// # Methods of your own
///
/// They stand beside these by a trait; for what needs PostgreSQL itself, such as a join, see
/// [`Kv::connection`](crate::Kv::connection).
///
/// ```
/// # use kv_runtime::{Error, Kv, KvModel, Receipt};
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// struct Booking {
///     #[kv(id, fresh)]
///     id: i64,
///     status: String,
/// }
///
/// trait Cancel {
///     async fn cancel(&self, id: i64) -> Result<Receipt, Error>;
/// }
///
/// impl Cancel for BookingRepository {
///     async fn cancel(&self, id: i64) -> Result<Receipt, Error> {
///         self.update(&id, Booking::patch().status("cancelled")).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let bookings = Kv::memory().repository::<Booking>();
///
/// bookings.create(&Booking { id: 7, status: "new".into() }).await?;
/// bookings.cancel(7).await?;
/// # assert_eq!(bookings.get_by_id(&7).await?.status, "cancelled");
/// # Ok(())
/// # }
/// ```
pub struct Repository<M: KvModel> {
    rows: Rows,
    finders: M::Finders,
}

impl<M: KvModel> Clone for Repository<M> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), finders: self.finders.clone() }
    }
}

impl<M: KvModel> Deref for Repository<M> {
    type Target = M::Finders;

    fn deref(&self) -> &M::Finders {
        &self.finders
    }
}

impl<M: KvModel> fmt::Debug for Repository<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("model", &M::DESCRIPTOR.name).finish_non_exhaustive()
    }
}

impl<M: KvModel> Repository<M> {
    #[track_caller]
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        stores.know(M::DESCRIPTOR);
        Self::of(Rows::new(stores, M::DESCRIPTOR))
    }

    fn of(rows: Rows) -> Self {
        Self { finders: Lookup::new(rows.clone()).into(), rows }
    }

    /// The same rows; what is written through this handle waits for what `durability` says.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_runtime::{Durability, Error, Kv, KvModel, Repository};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # async fn run(bookings: Repository<Booking>, booking: Booking) -> Result<(), Error> {
    /// let timeout = Duration::from_millis(100);
    /// let safe = bookings.with_durability(Durability::Replicated { replicas: 1, timeout });
    /// let receipt = safe.create(&booking).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_durability(&self, durability: Durability) -> Self {
        Self::of(self.rows.with_durability(durability))
    }

    /// The same rows, for who is only to read them: it has no method that writes.
    #[must_use]
    pub fn read_only(&self) -> ReadOnly<M> {
        ReadOnly::new(self.clone())
    }

    pub(crate) fn at(verb: &'static str) -> Operation {
        Operation::new(M::DESCRIPTOR, verb)
    }

    /// Writes a row that is not there yet.
    ///
    /// One round trip to Redis if the id is fresh (see [`KvModel`](macro@crate::KvModel));
    /// an id of another kind that Redis does not know is looked up in PostgreSQL first.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if there is a row with this id, and those of a connection.
    pub async fn create(&self, model: &M) -> Result<Receipt, Error> {
        let at = Self::at("create");
        let row = row::encode(model).map_err(|error| Error::encoding(at, error))?;
        self.rows.write_row(at, Change::Create(row)).await
    }

    /// Writes rows that are not there yet, in one round trip for each partition.
    ///
    /// Each row is written or refused by itself; the answers are in the order of the rows, each
    /// with the errors of [`create`](Self::create).
    pub async fn create_many(&self, models: &[M]) -> Vec<Result<Receipt, Error>> {
        let at = Self::at("create_many");
        let encoded = models.iter().map(|model| {
            row::encode(model).map(Change::Create).map_err(|error| Error::encoding(at, error))
        });
        self.rows.write_many(at, encoded.collect()).await
    }

    /// Writes a whole row, whether it is there or not. One round trip to Redis.
    ///
    /// # Errors
    /// Those of a connection.
    pub async fn upsert(&self, model: &M) -> Result<Receipt, Error> {
        let at = Self::at("upsert");
        let row = row::encode(model).map_err(|error| Error::encoding(at, error))?;
        self.rows.write_row(at, Change::Upsert(row)).await
    }

    /// Changes some fields of a row; the others are left alone, whoever changes them meanwhile.
    ///
    /// One round trip if the row is in Redis; else it is brought in first.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of a connection.
    pub async fn update(&self, id: &M::Id, patch: M::Patch) -> Result<Receipt, Error> {
        let at = Self::at("update");
        let patch = Self::encode_patch(at, &patch)?;
        self.rows.write_by_id(at, self.encode_id(at, id)?, Change::Patch(patch)).await
    }

    /// Deletes a row.
    ///
    /// One round trip if the row is in Redis; else it is brought in first.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of a connection.
    pub async fn delete(&self, id: &M::Id) -> Result<Receipt, Error> {
        let at = Self::at("delete");
        self.rows.write_by_id(at, self.encode_id(at, id)?, Change::Delete).await
    }

    /// Changes some fields of each of some rows, in one round trip for each partition; those that
    /// are not in Redis are brought in together first.
    ///
    /// Each row is changed or refused by itself; the answers are in the order of the patches, each
    /// with the errors of [`update`](Self::update). A row that comes twice has its patches in their
    /// order.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let bookings = Kv::memory().repository::<Booking>();
    /// # bookings.create(&Booking { id: 1, status: "new".into() }).await?;
    /// let done = || Booking::patch().status("done");
    /// let answers = bookings.update_many(&[(1, done()), (2, done())]).await;
    /// assert!(answers[0].is_ok());
    /// assert!(answers[1].as_ref().is_err_and(Error::is_not_found));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_many(&self, patches: &[(M::Id, M::Patch)]) -> Vec<Result<Receipt, Error>> {
        let at = Self::at("update_many");
        let changes = patches.iter().map(|(id, patch)| {
            Ok((self.encode_id(at, id)?, Change::Patch(Self::encode_patch(at, patch)?)))
        });
        self.rows.change_many(at, changes.collect()).await
    }

    /// Deletes some rows, in one round trip for each partition; those that are not in Redis are
    /// brought in together first.
    ///
    /// Each row is deleted or refused by itself; the answers are in the order of the ids, each with
    /// the errors of [`delete`](Self::delete).
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let bookings = Kv::memory().repository::<Booking>();
    /// # bookings.create(&Booking { id: 1, status: "new".into() }).await?;
    /// let answers = bookings.delete_many(&[1, 2]).await;
    /// assert!(answers[0].is_ok());
    /// assert!(answers[1].as_ref().is_err_and(Error::is_not_found));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_many(&self, ids: &[M::Id]) -> Vec<Result<Receipt, Error>> {
        let at = Self::at("delete_many");
        let changes = ids.iter().map(|id| Ok((self.encode_id(at, id)?, Change::Delete)));
        self.rows.change_many(at, changes.collect()).await
    }

    /// Reads a row.
    ///
    /// One round trip if the row is in Redis; else it is brought in first.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of a connection.
    pub async fn get_by_id(&self, id: &M::Id) -> Result<M, Error> {
        let at = Self::at("get_by_id");
        self.get(at, self.encode_id(at, id)?).await
    }

    /// Reads a row that may not be there.
    ///
    /// # Errors
    /// Those of a connection.
    pub async fn find_by_id(&self, id: &M::Id) -> Result<Option<M>, Error> {
        let at = Self::at("find_by_id");
        let key = self.encode_id(at, id)?;
        Ok(self.read(at, vec![key]).await?.pop().flatten())
    }

    /// Reads some rows in one round trip, in the order of the ids; `None` for those not there.
    ///
    /// # Errors
    /// Those of a connection.
    pub async fn get_many(&self, ids: &[M::Id]) -> Result<Vec<Option<M>>, Error> {
        let at = Self::at("get_many");
        let keys = ids.iter().map(|id| self.encode_id(at, id)).collect::<Result<_, _>>()?;
        self.read(at, keys).await
    }

    /// Whether there is a row with this id.
    ///
    /// # Errors
    /// Those of a connection.
    pub async fn exists(&self, id: &M::Id) -> Result<bool, Error> {
        let at = Self::at("exists");
        let rows = self.rows.read(at, vec![self.encode_id(at, id)?]).await?;
        Ok(rows.iter().any(Option::is_some))
    }

    /// A question about the rows: which there are, or what they come to.
    ///
    /// It sees every acknowledged write. Redis tells the rows that are not drained, and PostgreSQL
    /// answers with them laid over its own: both servers are needed.
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// let done = bookings.query().filter(|b| b.status.eq("done".into())).limit(20).load().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query(&self) -> Query<M> {
        Query::new(Arc::clone(self.rows.stores()))
    }

    /// How a row stands: whether it is drained, and whether it has dead letters.
    ///
    /// # Errors
    /// Those of a connection.
    pub async fn status(&self, id: &M::Id) -> Result<Status, Error> {
        let at = Self::at("status");
        self.rows.status(at, self.encode_id(at, id)?).await
    }

    /// Forgets a row in Redis, so that the next read gets what PostgreSQL has: for rows that
    /// were changed there by hand.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the row has an undrained entry, and those of a connection.
    pub async fn invalidate(&self, id: &M::Id) -> Result<(), Error> {
        let at = Self::at("invalidate");
        self.rows.invalidate(at, self.encode_id(at, id)?).await
    }

    /// The Redis key of a row.
    ///
    /// # Errors
    /// [`Error::Encoding`] if a value of the id cannot be stored.
    pub fn key(&self, id: &M::Id) -> Result<String, Error> {
        self.encode_id(Self::at("key"), id).map(|key| key.key)
    }

    /// The id within a Redis key, if it is the key of a row of this model.
    pub fn parse_key(&self, key: &str) -> Option<M::Id> {
        let parsed = self.rows.parse_key(key)?;
        let id = M::decode_id(&mut RowDecoder::new(&parsed.id_values)).ok()?;
        // A type may take texts that it does not write, as `007`: these are keys of no row.
        (self.key(&id).ok()? == key).then_some(id)
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) fn encode_id(&self, at: Operation, id: &M::Id) -> Result<RowKey, Error> {
        let id = row::encode_id::<M>(id).map_err(|error| Error::encoding(at, error))?;
        Ok(self.rows.key(id))
    }

    pub(crate) fn encode_patch(at: Operation, patch: &M::Patch) -> Result<EncodedPatch, Error> {
        let mut encoded = EncodedPatch::default();
        patch.encode(&mut encoded).map_err(|error| Error::encoding(at, error))?;
        Ok(encoded)
    }

    pub(crate) async fn get(&self, at: Operation, key: RowKey) -> Result<M, Error> {
        let not_found = Error::NotFound { at, id: key.id.clone() };
        self.read(at, vec![key]).await?.pop().flatten().ok_or(not_found)
    }

    async fn read(&self, at: Operation, keys: Vec<RowKey>) -> Result<Vec<Option<M>>, Error> {
        let rows = self.rows.read(at, keys).await?;
        let decoded = rows.into_iter().map(|row| row.as_ref().map(row::decode).transpose());
        decoded.collect::<Result<_, _>>().map_err(|error| Error::encoding(at, error))
    }
}
