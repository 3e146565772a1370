//! In what order a query answers.

use std::fmt;
use std::marker::PhantomData;

use crate::model::ModelDescriptor;

/// The order by one column, given by its position in the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnOrder {
    pub(crate) column: usize,
    pub(crate) direction: Direction,
}

/// NULL is greater than everything, as in PostgreSQL: last ascending, first descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// The order by a field; made by [`Field::asc`](crate::Field::asc) and
/// [`Field::desc`](crate::Field::desc).
#[must_use = "an order does nothing until it is given to a query"]
pub struct Order<M> {
    pub(crate) order: ColumnOrder,
    model: PhantomData<fn() -> M>,
}

impl<M> Order<M> {
    pub(crate) fn new(column: usize, direction: Direction) -> Self {
        Self { order: ColumnOrder { column, direction }, model: PhantomData }
    }
}

impl<M> Clone for Order<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Order<M> {}

impl<M> fmt::Debug for Order<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.order.fmt(f)
    }
}

/// The orders with those of the id behind them, so that no two rows are equal in all.
pub(crate) fn with_id(model: &ModelDescriptor, orders: &[ColumnOrder]) -> Vec<ColumnOrder> {
    let mut all: Vec<ColumnOrder> = Vec::with_capacity(orders.len() + model.id.len());
    let id = model.id.iter();
    let id = id.map(|&column| ColumnOrder { column, direction: Direction::Ascending });
    for order in orders.iter().copied().chain(id) {
        // A column that comes again decides nothing.
        if !all.iter().any(|known| known.column == order.column) {
            all.push(order);
        }
    }
    all
}
