//! A query as data: what the durable side is asked.

use super::cursor::Cursor;
use super::order::{ColumnOrder, with_id};
use super::predicate::{Comparison, Predicate};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;

/// A question about the rows of a model.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) model: &'static ModelDescriptor,
    /// Without one, all rows.
    pub(crate) predicate: Option<Predicate>,
    pub(crate) orders: Vec<ColumnOrder>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) answer: Answer,
    pub(crate) dirty: Dirty,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The rows, all columns of each.
    Rows,
    /// A row for each group, in the order of the groups: their columns' values, and then the
    /// aggregates. Without groups, one row.
    Aggregate { aggregates: Vec<Aggregate>, groups: Vec<usize> },
}

/// What is made of the rows; of a column, NULLs left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    Sum(usize),
    Average(usize),
    Min(usize),
    Max(usize),
}

impl Aggregate {
    pub(crate) fn column(self) -> Option<usize> {
        match self {
            Self::Count => None,
            Self::Sum(column) | Self::Average(column) | Self::Min(column) | Self::Max(column) => {
                Some(column)
            }
        }
    }
}

/// Rows that are taken as they are here, whatever the durable side has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dirty {
    /// The ids of all of them.
    pub(crate) ids: Vec<EncodedRow>,
    /// Those that there are: the others are deleted.
    pub(crate) rows: Vec<EncodedRow>,
}

impl Select {
    /// All rows of a model.
    pub(crate) fn new(model: &'static ModelDescriptor) -> Self {
        Self {
            model,
            predicate: None,
            orders: Vec::new(),
            limit: None,
            offset: 0,
            answer: Answer::Rows,
            dirty: Dirty::default(),
        }
    }

    /// The next rows of a model in the order of its ids, behind one of them.
    pub(crate) fn next_rows(
        model: &'static ModelDescriptor,
        last: Option<&EncodedRow>,
        limit: u64,
    ) -> Self {
        let orders = with_id(model, &[]);
        let predicate = last.map(|row| behind_id(model, row));
        Self { predicate, orders, limit: Some(limit), ..Self::new(model) }
    }

    pub(super) fn add(&mut self, predicate: Predicate) {
        self.predicate = Some(match self.predicate.take() {
            Some(before) => before.and(predicate),
            None => predicate,
        });
    }

    /// Makes the order whole and leaves out what is not behind the cursor; `None` if that is of
    /// another query.
    pub(crate) fn put_in_order(&mut self, after: Option<&Cursor>) -> Option<()> {
        if after.is_some() || self.is_ordered() {
            self.orders = with_id(self.model, &self.orders);
        }
        if let Some(cursor) = after {
            self.add(cursor.predicate(self.model, &self.orders)?);
        }
        // To sort would cost, or have PostgreSQL walk the primary key.
        if !self.is_ordered() {
            self.orders.clear();
        }
        Some(())
    }

    /// Whether the answer depends on the order of the rows.
    fn is_ordered(&self) -> bool {
        match &self.answer {
            Answer::Rows => true,
            // So many rows are so many, whichever they are.
            Answer::Aggregate { aggregates, groups }
                if groups.is_empty() && aggregates.iter().all(|it| *it == Aggregate::Count) =>
            {
                false
            }
            Answer::Aggregate { .. } => self.is_cut(),
        }
    }

    /// Whether it is about some of the rows that the predicate chooses, by their order.
    pub(crate) fn is_cut(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }
}

/// What holds for the rows whose id is behind that of a row. An index on the id finds where they
/// begin by the first comparison, where a cursor's condition would have it walk there.
fn behind_id(model: &'static ModelDescriptor, row: &EncodedRow) -> Predicate {
    let compare = |column: usize, comparison| {
        let text = row.get(column).unwrap_or_default().to_owned();
        Predicate::CompareStored { column, comparison, text }
    };
    let behind = (0..model.id.len()).map(|at| {
        let same = model.id[..at].iter().map(|&column| compare(column, Comparison::Equal));
        Predicate::All(same.chain([compare(model.id[at], Comparison::Greater)]).collect())
    });
    let behind = Predicate::Any(behind.collect());
    compare(model.id[0], Comparison::GreaterOrEqual).and(behind)
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::model::{ColumnDescriptor, ColumnType, ModelDescriptor};

    const fn column(name: &'static str, ty: ColumnType, nullable: bool) -> ColumnDescriptor {
        ColumnDescriptor {
            field: name,
            name,
            column: name,
            ty,
            numeric: None,
            nullable,
            read_only: false,
        }
    }

    /// A model with a column that can be NULL and one that cannot.
    pub(crate) static MODEL: ModelDescriptor = ModelDescriptor {
        name: "Ride",
        table: "rides",
        key_prefix: "ride",
        queue: "ride",
        columns: &[
            column("id", ColumnType::BigInt, false),
            column("fare", ColumnType::Integer, false),
            column("tip", ColumnType::Numeric, true),
        ],
        id: &[0],
        id_is_fresh: true,
        partition_by: &[0],
        ttl: None,
        durability: None,
        scheme: None,
        unique: &[],
        indexes: &[],
        references: &[],
        checks: &[],
        version: None,
        serial: None,
        fingerprint: 0,
    };
}
