//! Queries: the typed face, thin shims over [`Question`].

mod aggregation;
mod consistency;
mod cursor;
pub(crate) mod evaluate;
mod field;
mod groups;
pub(crate) mod order;
mod overlay;
pub(crate) mod predicate;
mod run;
pub(crate) mod select;
mod stream;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use self::aggregation::{Aggregation, Aggregations, count};
pub use self::consistency::{Behind, Consistency, Overlay, Stored, StoredOnly};
pub use self::cursor::{Cursor, CursorError};
pub use self::field::Field;
pub use self::groups::{GroupKey, Groups};
pub use self::order::Order;
pub use self::predicate::Condition;

use self::aggregation::{aggregates, any};
use self::run::Question;
use self::select::Select;
use crate::error::{Error, Operation};
use crate::model::{FieldError, KvModel};
use crate::receipt::Receipt;
use crate::row::{self, EncodedRow};
use crate::stores::Stores;
use crate::value::{KvNumber, KvScalar, KvValue};

/// A question about the rows of a model; made by [`Repository::query`](crate::Repository::query).
///
/// It sees every write that was acknowledged before it is asked, drained or not, unless it is
/// asked of PostgreSQL alone ([`stored`](Self::stored)): the chapter
/// [Queries and what they see](crate::queries) says how.
///
/// ```
/// # use kv_runtime::{Error, KvModel, Repository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking {
/// #     #[kv(id, fresh)] id: i64, status: String, fare: i64, driver_id: Option<i64>,
/// # }
/// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
/// let page: Vec<Booking> = bookings
///     .query()
///     .filter(|b| b.status.eq("new".into()).and(b.fare.between(10, 20).or(b.driver_id.is_null())))
///     .order_by(|b| b.fare.desc())
///     .limit(20)
///     .offset(40)
///     .load()
///     .await?;
/// let how_many: u64 = bookings.query().filter(|b| b.fare.gt(100)).count().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a query does nothing until it is asked"]
pub struct Query<M, C = Overlay> {
    question: Question,
    types: PhantomData<fn() -> (M, C)>,
}

/// Some rows, and where they ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<M> {
    /// The rows.
    pub rows: Vec<M>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl<M: KvModel> Query<M> {
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self::of(Question::new(stores, M::DESCRIPTOR))
    }

    /// Asks PostgreSQL alone, in one statement and without Redis' part of the answer: for what is
    /// asked often and may be late, such as reports. The answers are [`Stored`].
    ///
    /// Before it asks PostgreSQL, it asks Redis how far that is behind, which is
    /// [`Stored::behind`]: how many entries of the model's queue were not drained at that moment,
    /// and how old the oldest of them was. PostgreSQL may have some of them by the time it answers,
    /// so it is as far behind as that at the most. What is written later is not counted, nor are
    /// dead letters, which PostgreSQL does not have either. `behind` is `None` where Redis cannot be
    /// reached, answers an error, or does not answer within two seconds.
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository, Stored};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, fare: i64 }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// let Stored { value, behind } = bookings.query().stored().sum(|b| b.fare).await?;
    /// if let Some(behind) = behind {
    ///     println!("{value:?}, without the last {} writes at the most", behind.entries);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stored(self) -> Query<M, StoredOnly> {
        Query::of(self.question)
    }
}

impl<M: KvModel, C: Consistency> Query<M, C> {
    fn of(question: Question) -> Self {
        Self { question, types: PhantomData }
    }

    /// Asks for the rows for which the condition is true, of those that earlier calls have left.
    pub fn filter(mut self, condition: impl FnOnce(&M::Fields) -> Condition<M>) -> Self {
        self.question.add(condition(&M::FIELDS).predicate);
        self
    }

    /// Answers the rows in this order; those that are equal in it, in that of the next call.
    ///
    /// Where all are equal, and without any call, they are in the order of the id.
    pub fn order_by(mut self, order: impl FnOnce(&M::Fields) -> Order<M>) -> Self {
        self.question.select.orders.push(order(&M::FIELDS).order);
        self
    }

    /// Asks for so many rows at most.
    pub fn limit(mut self, limit: u64) -> Self {
        self.question.select.limit = Some(limit);
        self
    }

    /// Leaves out so many rows in front. [`after`](Self::after) costs less and, where rows come
    /// and go, neither repeats nor skips any.
    pub fn offset(mut self, offset: u64) -> Self {
        self.question.select.offset = offset;
        self
    }

    /// Asks for the rows behind where a [`page`](Self::page) ended, of a query with the same
    /// orders.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.question.after = Some(cursor);
        self
    }

    /// Waits, before it asks, until this write is drained: what PostgreSQL then answers has it.
    /// With several calls, it waits for all of them.
    ///
    /// [`Settings::overlay_timeout`](crate::Settings::overlay_timeout) is how long. Without
    /// [`stored`](Self::stored) the write would be seen in any case.
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, fare: i64 }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// let receipt = bookings.create(&Booking { id: 1, fare: 20 }).await?;
    /// let all = bookings.query().stored().after_write(&receipt).load().await?;
    /// assert!(all.value.iter().any(|booking| booking.id == 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn after_write(mut self, receipt: &Receipt) -> Self {
        self.question.receipts.push(receipt.clone());
        self
    }

    /// The rows, all at once.
    ///
    /// # Errors
    /// - [`Error::Unavailable`], [`Error::Timeout`] or [`Error::Configuration`] of either server:
    ///   PostgreSQL is needed, and Redis unless the query is [`stored`](Self::stored).
    /// - [`Error::Behind`]: the drainer is too far behind, or, of [`after_write`](Self::after_write),
    ///   was so for too long.
    /// - [`Error::NotDurable`]: the write that was waited for is refused or lost.
    /// - [`Error::Cursor`]: the cursor is of another query.
    /// - [`Error::QueryRefused`]: PostgreSQL refuses the query for what it says, or the conditions are
    ///   nested too deep.
    /// - [`Error::Encoding`]: a value that a field is compared with cannot be stored, or one that
    ///   is stored cannot be read.
    pub async fn load(self) -> Result<C::Answer<Vec<M>>, Error> {
        let at = self.question.at("query.load");
        let answered = self.question.ask(at, C::LAYS_OVER).await?;
        Ok(C::answer(decode(at, &answered.rows)?, answered.behind))
    }

    /// As many rows as the [`limit`](Self::limit) allows, and where the next ones begin; see
    /// [`Cursor`].
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn page(self) -> Result<C::Answer<Page<M>>, Error> {
        let at = self.question.at("query.page");
        let orders = order::with_id(M::DESCRIPTOR, &self.question.select.orders);
        let (answered, has_more) = self.question.page(at, C::LAYS_OVER).await?;
        let rows: Vec<M> = decode(at, &answered.rows)?;
        // As it was answered: a field may hold fewer digits than its column.
        let last = answered.rows.last().filter(|_| has_more);
        let next = last.map(|last| Cursor::new(M::DESCRIPTOR, &orders, last));
        Ok(C::answer(Page { rows, next }, answered.behind))
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn first(mut self) -> Result<C::Answer<Option<M>>, Error> {
        let at = self.question.at("query.first");
        self.at_most_one();
        let answered = self.question.ask(at, C::LAYS_OVER).await?;
        let first = decode(at, &answered.rows)?.into_iter().next();
        Ok(C::answer(first, answered.behind))
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn exists(mut self) -> Result<C::Answer<bool>, Error> {
        self.at_most_one();
        self.one("query.exists", any()).await
    }

    /// How many rows there are.
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, fare: i32 }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// let dear = bookings.query().filter(|b| b.fare.ge(100)).count().await?;
    /// let earned: Option<i64> = bookings.query().sum(|b| b.fare).await?;
    /// let least: Option<i32> = bookings.query().min(|b| b.fare).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// This and the following are about the rows that [`load`](Self::load) would answer: with a
    /// [`limit`](Self::limit), about those alone.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn count(self) -> Result<C::Answer<u64>, Error> {
        self.one("query.count", count()).await
    }

    /// What is made of the rows: several things at once, of the same rows.
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository, count};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, fare: i32 }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// let (number, earned, dearest) =
    ///     bookings.query().aggregate(|b| (count(), b.fare.sum(), b.fare.max())).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn aggregate<A: Aggregations<M>>(
        self,
        aggregations: impl FnOnce(&M::Fields) -> A,
    ) -> Result<C::Answer<A::Values>, Error> {
        self.one("query.aggregate", aggregations(&M::FIELDS)).await
    }

    /// The sum of a field, NULLs left aside; `None` where nothing is left.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn sum<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Option<<T::NotNull as KvNumber>::Sum>>, Error>
    where
        T::NotNull: KvNumber,
    {
        self.one("query.sum", field(&M::FIELDS).sum()).await
    }

    /// The average of a field, NULLs left aside; `None` where nothing is left.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn avg<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Option<<T::NotNull as KvNumber>::Average>>, Error>
    where
        T::NotNull: KvNumber,
    {
        self.one("query.avg", field(&M::FIELDS).avg()).await
    }

    /// The least value of a field, NULLs left aside; `None` where nothing is left. Of text, by
    /// the collation of its column, and in memory byte by byte.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn min<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Option<T::NotNull>>, Error>
    where
        T::NotNull: KvScalar,
    {
        self.one("query.min", field(&M::FIELDS).min()).await
    }

    /// The greatest value of a field; see [`min`](Self::min).
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub async fn max<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Option<T::NotNull>>, Error>
    where
        T::NotNull: KvScalar,
    {
        self.one("query.max", field(&M::FIELDS).max()).await
    }

    /// Asks by groups: by one field, or by two.
    pub fn group_by<K: GroupKey<M>>(self, key: impl FnOnce(&M::Fields) -> K) -> Groups<M, K, C> {
        Groups::new(self.question, key(&M::FIELDS))
    }

    fn at_most_one(&mut self) {
        let Select { limit, .. } = &mut self.question.select;
        *limit = Some(limit.map_or(1, |limit| limit.min(1)));
    }

    async fn one<A: Aggregations<M>>(
        self,
        verb: &'static str,
        aggregations: A,
    ) -> Result<C::Answer<A::Values>, Error> {
        let at = self.question.at(verb);
        let wanted = aggregates(&aggregations);
        let answered = self.question.aggregate(at, wanted, Vec::new(), C::LAYS_OVER).await?;
        let values: Vec<Option<&str>> = answered.rows.iter().flat_map(EncodedRow::iter).collect();
        let values = aggregations.decode(M::DESCRIPTOR, &values);
        Ok(C::answer(values.map_err(|error| Error::encoding(at, error))?, answered.behind))
    }
}

fn decode<M: KvModel>(at: Operation, rows: &[row::EncodedRow]) -> Result<Vec<M>, Error> {
    let decoded: Result<Vec<M>, FieldError> = rows.iter().map(row::decode).collect();
    decoded.map_err(|error| Error::encoding(at, error))
}

impl<M, C> Clone for Query<M, C> {
    fn clone(&self) -> Self {
        Self { question: self.question.clone(), types: PhantomData }
    }
}

impl<M, C> fmt::Debug for Query<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("select", &self.question.select).finish_non_exhaustive()
    }
}
