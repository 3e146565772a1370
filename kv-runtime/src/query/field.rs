//! A field of a model, for conditions, orders and sums.

use std::fmt;
use std::marker::PhantomData;

use super::order::{Direction, Order};
use super::predicate::{Comparison, Condition, Predicate};
use crate::model::{FieldError, KvModel};
use crate::row::EncodedRow;
use crate::value::{IsNull, KvScalar, KvText, KvValue, ValueError};

/// A field of the model `M` with values of the type `T`; the derive makes one of each field.
///
/// A field that can be NULL is compared with what is in its `Option`, and is never equal nor
/// unequal to anything where it is NULL: that is what [`is_null`](Field::is_null) is for.
///
/// ```
/// # use kv_runtime::{Error, KvModel, Repository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, fare: i64, driver_id: Option<i64> }
/// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
/// let mine = bookings.query().filter(|b| b.driver_id.eq(7)).load().await?;
/// let dear = bookings.query().order_by(|b| b.fare.desc()).limit(10).load().await?;
/// let average: Option<f64> = bookings.query().avg(|b| b.fare).await?;
/// # Ok(())
/// # }
/// ```
pub struct Field<M, T> {
    column: usize,
    types: PhantomData<fn() -> (M, T)>,
}

impl<M, T> Field<M, T> {
    /// The field at a position: for the derive.
    #[doc(hidden)]
    pub const fn at(column: usize) -> Self {
        Self { column, types: PhantomData }
    }

    pub(crate) fn column(self) -> usize {
        self.column
    }
}

impl<M, T> Clone for Field<M, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, T> Copy for Field<M, T> {}

impl<M, T> fmt::Debug for Field<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.column).finish()
    }
}

impl<M: KvModel, T: KvValue> Field<M, T> {
    /// Whether the value is this one.
    pub fn eq(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::Equal, &value)
    }

    /// Whether there is a value, and it is not this one.
    pub fn ne(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::NotEqual, &value)
    }

    /// Whether the value is less than this one.
    ///
    /// Text is compared by the collation of its column; in memory, byte by byte.
    pub fn lt(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::Less, &value)
    }

    /// Whether the value is this one or less; see [`lt`](Self::lt).
    pub fn le(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::LessOrEqual, &value)
    }

    /// Whether the value is greater than this one; see [`lt`](Self::lt).
    pub fn gt(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::Greater, &value)
    }

    /// Whether the value is this one or greater; see [`lt`](Self::lt).
    pub fn ge(self, value: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.compare(Comparison::GreaterOrEqual, &value)
    }

    /// Whether the value is from `low` to `high`, both included; see [`lt`](Self::lt).
    pub fn between(self, low: T::NotNull, high: T::NotNull) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        self.ge(low).and(self.le(high))
    }

    /// Whether the value is one of these; of none, it never is.
    pub fn is_in(self, values: impl IntoIterator<Item = T::NotNull>) -> Condition<M>
    where
        T::NotNull: KvScalar,
    {
        let mut literals = EncodedRow::default();
        let pushed = values.into_iter().try_for_each(|value| {
            literals.push(literal(&value)?.as_deref());
            Ok(())
        });
        self.condition(pushed.map(|()| Predicate::In { column: self.column, literals }))
    }

    /// Whether the text is like a pattern, in which `%` stands for any text, `_` for any one
    /// character, and `\` in front of one of the three for that character itself.
    pub fn like(self, pattern: &str) -> Condition<M>
    where
        T::NotNull: KvText,
    {
        self.pattern(pattern, false)
    }

    /// Whether there is a text, and it is not like a pattern; see [`like`](Self::like).
    pub fn not_like(self, pattern: &str) -> Condition<M>
    where
        T::NotNull: KvText,
    {
        !self.like(pattern)
    }

    /// Whether the text is like a pattern, upper and lower case being the same; see
    /// [`like`](Self::like).
    ///
    /// Which letters are the same, the collation of the column says; in memory `A` to `Z` are.
    pub fn ilike(self, pattern: &str) -> Condition<M>
    where
        T::NotNull: KvText,
    {
        self.pattern(pattern, true)
    }

    /// The order from the least value to the greatest, NULL last.
    ///
    /// Text is in the order of its column's collation; in memory, byte by byte.
    pub fn asc(self) -> Order<M>
    where
        T::NotNull: KvScalar,
    {
        Order::new(self.column, Direction::Ascending)
    }

    /// The order from the greatest value to the least, NULL first; see [`asc`](Self::asc).
    pub fn desc(self) -> Order<M>
    where
        T::NotNull: KvScalar,
    {
        Order::new(self.column, Direction::Descending)
    }

    fn compare(self, comparison: Comparison, value: &T::NotNull) -> Condition<M> {
        let predicate = literal(value).map(|literal| Predicate::Compare {
            column: self.column,
            comparison,
            literal,
        });
        self.condition(predicate)
    }

    fn pattern(self, pattern: &str, ignores_case: bool) -> Condition<M> {
        let checked = literal(&pattern.to_owned()).and_then(|pattern| {
            check_escapes(pattern.as_deref().unwrap_or_default())?;
            Ok(Predicate::Like { column: self.column, pattern, ignores_case })
        });
        self.condition(checked)
    }

    fn condition(self, predicate: Result<Predicate, ValueError>) -> Condition<M> {
        let field = M::DESCRIPTOR.columns.get(self.column).map_or("", |column| column.field);
        Condition::new(predicate.map_err(|source| FieldError { field, source }))
    }
}

impl<M: KvModel, T: KvValue> Field<M, Option<T>> {
    /// Whether there is no value.
    pub fn is_null(self) -> Condition<M> {
        self.condition(Ok(Predicate::IsNull(self.column)))
    }

    /// Whether there is a value.
    pub fn is_not_null(self) -> Condition<M> {
        !self.is_null()
    }
}

/// The text of a value that a column is compared with; `None` is NULL, which a newtype may hold.
fn literal<V: KvValue>(value: &V) -> Result<Option<String>, ValueError> {
    let mut text = String::new();
    Ok(match value.encode(&mut text)? {
        IsNull::Yes => None,
        IsNull::No => Some(text),
    })
}

/// PostgreSQL refuses a pattern with an escape at its end, but only where it gets there.
fn check_escapes(pattern: &str) -> Result<(), ValueError> {
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_none() {
            return Err(ValueError::Invalid { expected: "pattern: its last `\\` escapes nothing" });
        }
    }
    Ok(())
}
