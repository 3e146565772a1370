//! What rows a query is about: a tree of comparisons with SQL's three values of truth.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Not;

use crate::model::FieldError;
use crate::row::EncodedRow;

/// A condition on columns, given by their positions in the descriptor.
///
/// A literal is the text of a value, and `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Predicate {
    Compare {
        column: usize,
        comparison: Comparison,
        literal: Option<String>,
    },
    /// With a text that the durable side has answered: it has all digits, also those that the field
    /// cannot hold, and is not in the form of a literal.
    CompareStored {
        column: usize,
        comparison: Comparison,
        text: String,
    },
    In {
        column: usize,
        literals: EncodedRow,
    },
    Like {
        column: usize,
        pattern: Option<String>,
        ignores_case: bool,
    },
    IsNull(usize),
    Not(Box<Predicate>),
    /// True where all are; without any, true.
    All(Vec<Predicate>),
    /// True where one is; without any, false.
    Any(Vec<Predicate>),
}

/// How a column is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Predicate {
    pub(crate) fn and(self, other: Self) -> Self {
        // One list for a chain of any length, which nothing has to descend into.
        let mut all = match self {
            Self::All(all) => all,
            one => vec![one],
        };
        all.push(other);
        Self::All(all)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        let mut any = match self {
            Self::Any(any) => any,
            one => vec![one],
        };
        any.push(other);
        Self::Any(any)
    }

    pub(crate) fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

/// A condition on the rows of a model; made by the methods of a [`Field`](crate::Field).
///
/// It is true, false or, where NULL is compared, unknown, as in SQL. A query answers the rows for
/// which it is true: neither `b.driver_id.eq(x)` nor `!b.driver_id.eq(x)` is true of a row without
/// a driver.
///
/// ```
/// # use kv_runtime::{Error, KvModel, Repository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, status: String, driver_id: Option<i64> }
/// # async fn run(bookings: Repository<Booking>) -> Result<(), Error> {
/// let waiting = bookings
///     .query()
///     .filter(|b| b.status.eq("new".into()).and(b.driver_id.is_null().or(b.driver_id.eq(7))))
///     .filter(|b| !b.id.eq(42))
///     .load()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a condition does nothing until it is given to a query"]
pub struct Condition<M> {
    /// Or the first value in it that cannot be stored, for the query to tell.
    pub(crate) predicate: Result<Predicate, FieldError>,
    model: PhantomData<fn() -> M>,
}

impl<M> Condition<M> {
    pub(crate) fn new(predicate: Result<Predicate, FieldError>) -> Self {
        Self { predicate, model: PhantomData }
    }

    /// True where both are.
    pub fn and(self, other: Self) -> Self {
        self.join(other, Predicate::and)
    }

    /// True where one is, or both.
    pub fn or(self, other: Self) -> Self {
        self.join(other, Predicate::or)
    }

    fn join(self, other: Self, join: fn(Predicate, Predicate) -> Predicate) -> Self {
        let both = self.predicate.and_then(|one| Ok((one, other.predicate?)));
        Self::new(both.map(|(one, other)| join(one, other)))
    }
}

/// True where the condition is false; unknown stays unknown.
impl<M> Not for Condition<M> {
    type Output = Self;

    fn not(self) -> Self {
        Self::new(self.predicate.map(Predicate::negated))
    }
}

impl<M> Clone for Condition<M> {
    fn clone(&self) -> Self {
        Self::new(self.predicate.clone())
    }
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.predicate).finish()
    }
}
