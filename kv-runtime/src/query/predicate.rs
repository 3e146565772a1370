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
        let list = |predicate| match predicate {
            Self::All(all) => all,
            one => vec![one],
        };
        Self::All(join(list(self), list(other)))
    }

    pub(crate) fn or(self, other: Self) -> Self {
        let list = |predicate| match predicate {
            Self::Any(any) => any,
            one => vec![one],
        };
        Self::Any(join(list(self), list(other)))
    }

    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Not(predicate) => *predicate,
            predicate => Self::Not(Box::new(predicate)),
        }
    }
}

/// One list for a chain of any length, at whichever end it grows, which nothing has to descend
/// into. The order of conditions makes no difference, so it is the shorter list that moves.
fn join(one: Vec<Predicate>, other: Vec<Predicate>) -> Vec<Predicate> {
    let (mut long, mut short) = if one.len() < other.len() { (other, one) } else { (one, other) };
    long.append(&mut short);
    long
}

/// How deep lists and negations may lie in each other: what descends into them, here and in
/// PostgreSQL, must not run out of stack.
const DEPTH_MAX: usize = 200;

/// Why a condition cannot be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConditionError {
    /// A value that cannot be stored.
    #[error(transparent)]
    Value(FieldError),
    #[error(
        "conditions are nested more than {DEPTH_MAX} deep; chains of `and` alone and of `or` alone \
         can have any length"
    )]
    Depth,
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
    /// Or the first thing that is wrong in it, for the query to tell.
    pub(crate) predicate: Result<Predicate, ConditionError>,
    /// How many lists and negations lie in each other.
    depth: usize,
    model: PhantomData<fn() -> M>,
}

impl<M> Condition<M> {
    /// A condition that has no others in it.
    pub(crate) fn new(predicate: Result<Predicate, FieldError>) -> Self {
        Self::nested(predicate.map_err(ConditionError::Value), 0)
    }

    fn nested(predicate: Result<Predicate, ConditionError>, depth: usize) -> Self {
        let predicate = predicate.and_then(|predicate| {
            if depth > DEPTH_MAX { Err(ConditionError::Depth) } else { Ok(predicate) }
        });
        Self { predicate, depth, model: PhantomData }
    }

    /// True where both are.
    ///
    /// A chain of `and` can have any length, in whatever way it is put together, and so can one of
    /// `or`; in each other, and in `!`, they can lie 200 deep.
    pub fn and(self, other: Self) -> Self {
        self.join(other, Predicate::and, |list| matches!(list, Predicate::All(_)))
    }

    /// True where one is, or both; see [`and`](Self::and).
    pub fn or(self, other: Self) -> Self {
        self.join(other, Predicate::or, |list| matches!(list, Predicate::Any(_)))
    }

    /// `is_list` tells the lists that others of the kind are taken into.
    fn join(
        self,
        other: Self,
        join: fn(Predicate, Predicate) -> Predicate,
        is_list: fn(&Predicate) -> bool,
    ) -> Self {
        let depth = |part: &Self| match &part.predicate {
            Ok(predicate) if is_list(predicate) => part.depth,
            _ => part.depth + 1,
        };
        let depth = depth(&self).max(depth(&other));
        let both = self.predicate.and_then(|one| Ok((one, other.predicate?)));
        Self::nested(both.map(|(one, other)| join(one, other)), depth)
    }
}

/// True where the condition is false; unknown stays unknown.
impl<M> Not for Condition<M> {
    type Output = Self;

    fn not(self) -> Self {
        let depth = match &self.predicate {
            Ok(Predicate::Not(_)) => self.depth - 1,
            _ => self.depth + 1,
        };
        Self::nested(self.predicate.map(Predicate::negated), depth)
    }
}

impl<M> Clone for Condition<M> {
    fn clone(&self) -> Self {
        Self { predicate: self.predicate.clone(), depth: self.depth, model: PhantomData }
    }
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.predicate).finish()
    }
}
