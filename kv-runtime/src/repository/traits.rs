//! What business code sees of a repository: traits without a word of Redis or PostgreSQL.

use std::fmt;

use async_trait::async_trait;

use super::Repository;
use crate::counter::{Counter, Incremented};
use crate::error::Error;
use crate::model::KvModel;
use crate::new_row::KvSerial;
use crate::query::Query;
use crate::receipt::Receipt;
use crate::rows::Status;
use crate::version::{KvVersioned, UpdateIfError};

/// The reads of a [`Repository`], whose methods of these names say more.
///
/// ```
/// # use std::sync::Arc;
/// # use kv_runtime::{Error, Kv, KvModel, ReadRepository, WriteRepository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
/// /// It can neither write nor tell where the rows are.
/// async fn is_open(bookings: Arc<dyn ReadRepository<Booking>>, id: i64) -> Result<bool, Error> {
///     Ok(bookings.find_by_id(&id).await?.is_some_and(|booking| booking.status != "done"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let bookings = Kv::memory().repository::<Booking>();
/// bookings.create(&Booking { id: 7, status: "new".into() }).await?;
/// assert!(is_open(Arc::new(bookings.read_only()), 7).await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ReadRepository<M: KvModel>: Send + Sync {
    /// Reads a row.
    async fn get_by_id(&self, id: &M::Id) -> Result<M, Error>;

    /// Reads a row that may not be there.
    async fn find_by_id(&self, id: &M::Id) -> Result<Option<M>, Error>;

    /// Reads some rows, in the order of the ids.
    async fn get_many(&self, ids: &[M::Id]) -> Result<Vec<Option<M>>, Error>;

    /// Whether there is a row with this id.
    async fn exists(&self, id: &M::Id) -> Result<bool, Error>;

    /// Whether a row is drained, and whether it has dead letters.
    async fn status(&self, id: &M::Id) -> Result<Status, Error>;

    /// A question about the rows.
    fn query(&self) -> Query<M>;
}

/// The writes of a [`Repository`] beside its reads; the methods of these names there say more.
///
/// ```
/// # use std::sync::Arc;
/// # use kv_runtime::{Error, Kv, KvModel, WriteRepository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
/// struct Dispatch {
///     bookings: Arc<dyn WriteRepository<Booking>>,
/// }
///
/// impl Dispatch {
///     async fn finish(&self, id: i64) -> Result<(), Error> {
///         self.bookings.update(&id, Booking::patch().status("done")).await?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let dispatch = Dispatch { bookings: Arc::new(Kv::memory().repository::<Booking>()) };
/// dispatch.bookings.create(&Booking { id: 7, status: "new".into() }).await?;
/// dispatch.finish(7).await?;
/// # assert_eq!(dispatch.bookings.get_by_id(&7).await?.status, "done");
/// # Ok(())
/// # }
/// ```
///
/// A new row whose id a sequence numbers is made in two steps:
///
/// ```
/// # use std::sync::Arc;
/// # use kv_runtime::{Error, Kv, KvModel, ReadRepository, WriteRepository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Ticket { #[kv(id, serial)] id: i64, title: String }
/// async fn open(tickets: &dyn WriteRepository<Ticket>, title: &str) -> Result<i64, Error> {
///     let ticket = Ticket { id: tickets.next_id().await?, title: title.into() };
///     tickets.create(&ticket).await?;
///     Ok(ticket.id)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let tickets = Kv::memory().repository::<Ticket>();
/// let id = open(&tickets, "a lost bag").await?;
/// assert_eq!(tickets.get_by_id(&id).await?.title, "a lost bag");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait WriteRepository<M: KvModel>: ReadRepository<M> {
    /// The id of a row that is to be created, from the sequence of the table.
    async fn next_id(&self) -> Result<M::Id, Error>
    where
        M: KvSerial;

    /// Writes a row that is not there yet.
    async fn create(&self, model: &M) -> Result<Receipt, Error>;

    /// Writes rows that are not there yet, each by itself.
    async fn create_many(&self, models: &[M]) -> Vec<Result<Receipt, Error>>;

    /// Writes a whole row, whether it is there or not.
    async fn upsert(&self, model: &M) -> Result<Receipt, Error>;

    /// Changes some fields of a row.
    async fn update(&self, id: &M::Id, patch: M::Patch) -> Result<Receipt, Error>;

    /// Changes some fields of rows, each by itself.
    async fn update_many(&self, patches: &[(M::Id, M::Patch)]) -> Vec<Result<Receipt, Error>>;

    /// Changes some fields of a row that still has a version.
    async fn update_if(
        &self,
        id: &M::Id,
        expected_version: i64,
        patch: M::Patch,
    ) -> Result<Receipt, UpdateIfError<M>>
    where
        M: KvVersioned;

    /// Adds to a counter of a row: `bookings.increment(&id, |b| b.seats.counter(), 1)`.
    async fn increment(
        &self,
        id: &M::Id,
        counter: for<'a> fn(&'a M::Fields) -> Counter<M>,
        by: i64,
    ) -> Result<Incremented<i64>, Error>;

    /// Deletes a row.
    async fn delete(&self, id: &M::Id) -> Result<Receipt, Error>;

    /// Deletes rows, each by itself.
    async fn delete_many(&self, ids: &[M::Id]) -> Vec<Result<Receipt, Error>>;
}

#[async_trait]
impl<M: KvModel> ReadRepository<M> for Repository<M> {
    async fn get_by_id(&self, id: &M::Id) -> Result<M, Error> {
        Repository::get_by_id(self, id).await
    }

    async fn find_by_id(&self, id: &M::Id) -> Result<Option<M>, Error> {
        Repository::find_by_id(self, id).await
    }

    async fn get_many(&self, ids: &[M::Id]) -> Result<Vec<Option<M>>, Error> {
        Repository::get_many(self, ids).await
    }

    async fn exists(&self, id: &M::Id) -> Result<bool, Error> {
        Repository::exists(self, id).await
    }

    async fn status(&self, id: &M::Id) -> Result<Status, Error> {
        Repository::status(self, id).await
    }

    fn query(&self) -> Query<M> {
        Repository::query(self)
    }
}

#[async_trait]
impl<M: KvModel> WriteRepository<M> for Repository<M> {
    async fn next_id(&self) -> Result<M::Id, Error>
    where
        M: KvSerial,
    {
        Repository::next_id(self).await
    }

    async fn create(&self, model: &M) -> Result<Receipt, Error> {
        Repository::create(self, model).await
    }

    async fn create_many(&self, models: &[M]) -> Vec<Result<Receipt, Error>> {
        Repository::create_many(self, models).await
    }

    async fn upsert(&self, model: &M) -> Result<Receipt, Error> {
        Repository::upsert(self, model).await
    }

    async fn update(&self, id: &M::Id, patch: M::Patch) -> Result<Receipt, Error> {
        Repository::update(self, id, patch).await
    }

    async fn update_many(&self, patches: &[(M::Id, M::Patch)]) -> Vec<Result<Receipt, Error>> {
        Repository::update_many(self, patches).await
    }

    async fn update_if(
        &self,
        id: &M::Id,
        expected_version: i64,
        patch: M::Patch,
    ) -> Result<Receipt, UpdateIfError<M>>
    where
        M: KvVersioned,
    {
        Repository::update_if(self, id, expected_version, patch).await
    }

    async fn increment(
        &self,
        id: &M::Id,
        counter: for<'a> fn(&'a M::Fields) -> Counter<M>,
        by: i64,
    ) -> Result<Incremented<i64>, Error> {
        self.add(id, counter(&M::FIELDS), by).await
    }

    async fn delete(&self, id: &M::Id) -> Result<Receipt, Error> {
        Repository::delete(self, id).await
    }

    async fn delete_many(&self, ids: &[M::Id]) -> Vec<Result<Receipt, Error>> {
        Repository::delete_many(self, ids).await
    }
}

/// The rows of a model, to be read alone; made by [`Repository::read_only`].
///
/// What it can do is [`ReadRepository`]. Cheap to clone.
pub struct ReadOnly<M: KvModel> {
    rows: Repository<M>,
}

impl<M: KvModel> ReadOnly<M> {
    pub(super) fn new(rows: Repository<M>) -> Self {
        Self { rows }
    }
}

impl<M: KvModel> Clone for ReadOnly<M> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone() }
    }
}

impl<M: KvModel> fmt::Debug for ReadOnly<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnly").field("model", &M::DESCRIPTOR.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl<M: KvModel> ReadRepository<M> for ReadOnly<M> {
    async fn get_by_id(&self, id: &M::Id) -> Result<M, Error> {
        self.rows.get_by_id(id).await
    }

    async fn find_by_id(&self, id: &M::Id) -> Result<Option<M>, Error> {
        self.rows.find_by_id(id).await
    }

    async fn get_many(&self, ids: &[M::Id]) -> Result<Vec<Option<M>>, Error> {
        self.rows.get_many(ids).await
    }

    async fn exists(&self, id: &M::Id) -> Result<bool, Error> {
        self.rows.exists(id).await
    }

    async fn status(&self, id: &M::Id) -> Result<Status, Error> {
        self.rows.status(id).await
    }

    fn query(&self) -> Query<M> {
        self.rows.query()
    }
}
