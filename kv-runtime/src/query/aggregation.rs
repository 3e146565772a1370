//! What is made of rows: counts, sums and the like, one or several at once.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use super::field::Field;
use super::select::Aggregate;
use crate::model::{FieldError, KvModel, ModelDescriptor};
use crate::value::{KvNumber, KvScalar, KvValue, ValueError};

/// Something that is made of rows of the model `M`, with the type `T`: made by [`count`] and by the
/// methods of a [`Field`], for [`Query::aggregate`](crate::Query::aggregate).
pub struct Aggregation<M, T> {
    aggregate: Aggregate,
    decode: fn(Option<&str>) -> Result<T, ValueError>,
    model: PhantomData<fn() -> M>,
}

impl<M, T> Aggregation<M, T> {
    fn new(aggregate: Aggregate, decode: fn(Option<&str>) -> Result<T, ValueError>) -> Self {
        Self { aggregate, decode, model: PhantomData }
    }
}

impl<M, T> fmt::Debug for Aggregation<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aggregation").field(&self.aggregate).finish()
    }
}

/// How many rows there are.
pub fn count<M>() -> Aggregation<M, u64> {
    Aggregation::new(Aggregate::Count, |text| Ok(number(text)?.unwrap_or_default()))
}

/// Whether there are any.
pub(super) fn any<M>() -> Aggregation<M, bool> {
    Aggregation::new(Aggregate::Count, |text| Ok(number(text)?.unwrap_or(0_u64) > 0))
}

impl<M: KvModel, T: KvValue> Field<M, T> {
    /// The sum of the values, NULLs left aside; `None` where nothing is left. That of `f32`s is rounded
    /// once, at the end.
    pub fn sum(self) -> Aggregation<M, Option<<T::NotNull as KvNumber>::Sum>>
    where
        T::NotNull: KvNumber,
    {
        Aggregation::new(Aggregate::Sum(self.column()), number)
    }

    /// The average of the values, NULLs left aside; `None` where nothing is left.
    pub fn avg(self) -> Aggregation<M, Option<<T::NotNull as KvNumber>::Average>>
    where
        T::NotNull: KvNumber,
    {
        Aggregation::new(Aggregate::Average(self.column()), number)
    }

    /// The least value, NULLs left aside; `None` where nothing is left. Of text, by the collation of
    /// its column, and in memory byte by byte.
    pub fn min(self) -> Aggregation<M, Option<T::NotNull>>
    where
        T::NotNull: KvScalar,
    {
        Aggregation::new(Aggregate::Min(self.column()), Option::decode)
    }

    /// The greatest value; see [`min`](Self::min).
    pub fn max(self) -> Aggregation<M, Option<T::NotNull>>
    where
        T::NotNull: KvScalar,
    {
        Aggregation::new(Aggregate::Max(self.column()), Option::decode)
    }
}

/// One [`Aggregation`], or a tuple of up to six.
#[diagnostic::on_unimplemented(
    message = "rows cannot be aggregated to this",
    note = "an aggregation is `count()` or, of a field, `b.fare.sum()`, `avg()`, `min()` or \
            `max()`; several are a tuple: `|b| (count(), b.fare.sum())`"
)]
pub trait Aggregations<M>: private::Parts {
    /// Their values.
    type Values;

    #[doc(hidden)]
    fn decode(
        &self,
        model: &'static ModelDescriptor,
        values: &[Option<&str>],
    ) -> Result<Self::Values, FieldError>;
}

mod private {
    use super::Aggregate;

    pub trait Parts {
        #[allow(private_interfaces)]
        fn aggregates(&self) -> Vec<Aggregate>;
    }
}

pub(super) fn aggregates<A: private::Parts>(of: &A) -> Vec<Aggregate> {
    of.aggregates()
}

impl<M, T> private::Parts for Aggregation<M, T> {
    #[allow(private_interfaces)]
    fn aggregates(&self) -> Vec<Aggregate> {
        vec![self.aggregate]
    }
}

impl<M, T> Aggregations<M> for Aggregation<M, T> {
    type Values = T;

    fn decode(
        &self,
        model: &'static ModelDescriptor,
        values: &[Option<&str>],
    ) -> Result<T, FieldError> {
        (self.decode)(values.first().copied().flatten()).map_err(|source| {
            let column = self.aggregate.column().unwrap_or_default();
            FieldError { field: model.columns[column].field, source }
        })
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt),*) => {
        impl<M, $($name),*> private::Parts for ($(Aggregation<M, $name>,)*) {
            #[allow(private_interfaces)]
            fn aggregates(&self) -> Vec<Aggregate> {
                vec![$(self.$at.aggregate),*]
            }
        }

        impl<M, $($name),*> Aggregations<M> for ($(Aggregation<M, $name>,)*) {
            type Values = ($($name,)*);

            fn decode(
                &self,
                model: &'static ModelDescriptor,
                values: &[Option<&str>],
            ) -> Result<Self::Values, FieldError> {
                Ok(($(self.$at.decode(model, values.get($at..).unwrap_or_default())?,)*))
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);

/// A number that PostgreSQL has made, from its text.
fn number<T: FromStr>(text: Option<&str>) -> Result<Option<T>, ValueError> {
    const TOO_LARGE: ValueError = ValueError::Invalid { expected: "number of the sum's type" };
    text.map(|text| text.parse().map_err(|_| TOO_LARGE)).transpose()
}
