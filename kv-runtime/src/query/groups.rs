//! Aggregates by group.

use std::fmt;
use std::marker::PhantomData;

use super::aggregation::{Aggregations, aggregates, count};
use super::consistency::{Consistency, Overlay};
use super::field::Field;
use super::run::Question;
use crate::error::Error;
use crate::model::{FieldError, KvModel, ModelDescriptor};
use crate::value::{KvNumber, KvScalar, KvValue, ValueError};

/// What rows are grouped by: a field, or a pair of fields.
#[diagnostic::on_unimplemented(
    message = "rows cannot be grouped by this",
    note = "group by one field, `|b| b.status`, or by two, `|b| (b.status, b.driver_id)`"
)]
pub trait GroupKey<M>: private::Columns {
    /// What tells a group: the field's value, or a pair of them.
    type Key;

    #[doc(hidden)]
    fn decode(
        model: &'static ModelDescriptor,
        columns: &[usize],
        values: &[Option<&str>],
    ) -> Result<Self::Key, FieldError>;
}

mod private {
    /// The positions of the fields.
    pub trait Columns: Copy {
        fn columns(self) -> Vec<usize>;
    }
}

impl<M, T> private::Columns for Field<M, T> {
    fn columns(self) -> Vec<usize> {
        vec![self.column()]
    }
}

impl<M, A, B> private::Columns for (Field<M, A>, Field<M, B>) {
    fn columns(self) -> Vec<usize> {
        vec![self.0.column(), self.1.column()]
    }
}

impl<M, T: KvValue> GroupKey<M> for Field<M, T>
where
    T::NotNull: KvScalar,
{
    type Key = T;

    fn decode(
        model: &'static ModelDescriptor,
        columns: &[usize],
        values: &[Option<&str>],
    ) -> Result<T, FieldError> {
        decode(model, columns, values, 0)
    }
}

impl<M, A: KvValue, B: KvValue> GroupKey<M> for (Field<M, A>, Field<M, B>)
where
    A::NotNull: KvScalar,
    B::NotNull: KvScalar,
{
    type Key = (A, B);

    fn decode(
        model: &'static ModelDescriptor,
        columns: &[usize],
        values: &[Option<&str>],
    ) -> Result<(A, B), FieldError> {
        Ok((decode(model, columns, values, 0)?, decode(model, columns, values, 1)?))
    }
}

fn decode<T: KvValue>(
    model: &'static ModelDescriptor,
    columns: &[usize],
    values: &[Option<&str>],
    at: usize,
) -> Result<T, FieldError> {
    let text = values.get(at).copied().flatten();
    T::decode(text).map_err(|source| field_error(model, columns[at], source))
}

fn field_error(model: &'static ModelDescriptor, column: usize, source: ValueError) -> FieldError {
    FieldError { field: model.columns[column].field, source }
}

/// A query by groups; made by [`Query::group_by`](crate::Query::group_by).
///
/// It answers the groups in the order of their keys, NULL last: rows without a value are a group.
/// The aggregates of a field leave NULLs aside, and are `None` where nothing is left.
///
/// ```
/// # use kv_runtime::{Error, KvModel, Repository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, status: String, fare: i32, driver: Option<i64> }
/// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
/// let by_status: Vec<(String, u64)> =
///     bookings.query().group_by(|b| b.status).count().await?;
/// let earned: Vec<((Option<i64>, String), Option<i64>)> =
///     bookings.query().group_by(|b| (b.driver, b.status)).sum(|b| b.fare).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a query does nothing until it is asked"]
pub struct Groups<M, K, C = Overlay> {
    question: Question,
    columns: Vec<usize>,
    key: PhantomData<fn() -> K>,
    types: PhantomData<fn() -> (M, C)>,
}

impl<M: KvModel, K: GroupKey<M>, C: Consistency> Groups<M, K, C> {
    pub(super) fn new(question: Question, key: K) -> Self {
        Self { question, columns: key.columns(), key: PhantomData, types: PhantomData }
    }

    /// What is made of each group, one thing or several: see
    /// [`Query::aggregate`](crate::Query::aggregate).
    ///
    /// ```
    /// # use kv_runtime::{Error, KvModel, Repository, count};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String, fare: i32 }
    /// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
    /// for (status, (number, earned)) in
    ///     bookings.query().group_by(|b| b.status).aggregate(|b| (count(), b.fare.sum())).await?
    /// {
    ///     println!("{status}: {number} bookings, {}", earned.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn aggregate<A: Aggregations<M>>(
        self,
        aggregations: impl FnOnce(&M::Fields) -> A,
    ) -> Result<C::Answer<Vec<(K::Key, A::Values)>>, Error> {
        self.each("query.aggregate", aggregations(&M::FIELDS)).await
    }

    /// How many rows each group has.
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn count(self) -> Result<C::Answer<Vec<(K::Key, u64)>>, Error> {
        self.each("query.count", count()).await
    }

    /// The sum of a field.
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn sum<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Vec<(K::Key, Option<<T::NotNull as KvNumber>::Sum>)>>, Error>
    where
        T::NotNull: KvNumber,
    {
        self.each("query.sum", field(&M::FIELDS).sum()).await
    }

    /// The average of a field.
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn avg<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Vec<(K::Key, Option<<T::NotNull as KvNumber>::Average>)>>, Error>
    where
        T::NotNull: KvNumber,
    {
        self.each("query.avg", field(&M::FIELDS).avg()).await
    }

    /// The least value of a field; of text, by the collation of its column, and in memory byte by
    /// byte.
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn min<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Vec<(K::Key, Option<T::NotNull>)>>, Error>
    where
        T::NotNull: KvScalar,
    {
        self.each("query.min", field(&M::FIELDS).min()).await
    }

    /// The greatest value of a field; see [`min`](Self::min).
    ///
    /// # Errors
    /// Those of [`Query::load`](crate::Query::load).
    pub async fn max<T: KvValue>(
        self,
        field: impl FnOnce(&M::Fields) -> Field<M, T>,
    ) -> Result<C::Answer<Vec<(K::Key, Option<T::NotNull>)>>, Error>
    where
        T::NotNull: KvScalar,
    {
        self.each("query.max", field(&M::FIELDS).max()).await
    }

    async fn each<A: Aggregations<M>>(
        self,
        verb: &'static str,
        aggregations: A,
    ) -> Result<C::Answer<Vec<(K::Key, A::Values)>>, Error> {
        let (at, columns) = (self.question.at(verb), self.columns);
        let model = M::DESCRIPTOR;
        let wanted = aggregates(&aggregations);
        let answered = self.question.aggregate(at, wanted, columns.clone(), C::LAYS_OVER).await?;
        let groups = answered.rows.iter().map(|row| {
            let values: Vec<Option<&str>> = row.iter().collect();
            let key = K::decode(model, &columns, &values)?;
            let made = values.get(columns.len()..).unwrap_or_default();
            Ok((key, aggregations.decode(model, made)?))
        });
        let groups = groups.collect::<Result<Vec<_>, FieldError>>();
        Ok(C::answer(groups.map_err(|error| Error::encoding(at, error))?, answered.behind))
    }
}

impl<M, K, C> fmt::Debug for Groups<M, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("select", &self.question.select).finish_non_exhaustive()
    }
}
