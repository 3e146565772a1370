//! Answers a query over rows in this process, as PostgreSQL would.
//!
//! Where PostgreSQL asks a collation, this compares byte by byte, which is the collation `C`; and
//! it sorts the labels of an enum of the user's as texts, because it does not know their order.

mod aggregate;
mod datum;
mod like;
mod predicate;

use std::cmp::Ordering;

use self::datum::{Datum, compare_nullable};
use super::order::{ColumnOrder, Direction};
use super::select::{Answer, Select};
use crate::model::{FieldError, ModelDescriptor};
use crate::row::EncodedRow;

/// The answer to a query over these rows.
///
/// # Errors
/// A value that is not one of its column's type.
pub(crate) fn evaluate<'a>(
    select: &Select,
    rows: impl Iterator<Item = &'a EncodedRow>,
) -> Result<Vec<EncodedRow>, FieldError> {
    let mut chosen: Vec<&EncodedRow> = Vec::new();
    for row in rows {
        let is_true = match &select.predicate {
            Some(predicate) => predicate::holds(predicate, select.model, row)? == Some(true),
            None => true,
        };
        if is_true {
            chosen.push(row);
        }
    }
    if !select.orders.is_empty() {
        chosen = sort(select.model, &select.orders, chosen)?;
    }
    let offset = usize::try_from(select.offset).unwrap_or(usize::MAX);
    let limit =
        select.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let rows: Vec<&EncodedRow> = chosen.into_iter().skip(offset).take(limit).collect();
    match &select.answer {
        Answer::Rows => Ok(rows.into_iter().cloned().collect()),
        Answer::Aggregate { aggregates, groups } => {
            aggregate::aggregate(select.model, aggregates, groups, rows)
        }
    }
}

/// The value of a column; `None` is NULL.
fn value_of<'a>(
    model: &'static ModelDescriptor,
    column: usize,
    row: &'a EncodedRow,
) -> Result<Option<Datum<'a>>, FieldError> {
    literal_of(model, column, row.get(column))
}

/// The value of a literal that a column is compared with.
fn literal_of<'a>(
    model: &'static ModelDescriptor,
    column: usize,
    text: Option<&'a str>,
) -> Result<Option<Datum<'a>>, FieldError> {
    let column = &model.columns[column];
    let parsed = text.map(|text| Datum::parse(column.ty, text)).transpose();
    parsed.map_err(|source| FieldError { field: column.field, source })
}

fn sort<'a>(
    model: &'static ModelDescriptor,
    orders: &[ColumnOrder],
    rows: Vec<&'a EncodedRow>,
) -> Result<Vec<&'a EncodedRow>, FieldError> {
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows {
        let values = orders.iter().map(|order| value_of(model, order.column, row));
        keyed.push((values.collect::<Result<Vec<_>, _>>()?, row));
    }
    keyed.sort_by(|(one, _), (other, _)| {
        let columns = orders.iter().zip(one.iter().zip(other));
        let compared = columns.map(|(order, (one, other))| {
            let ordering = compare_nullable(one.as_ref(), other.as_ref());
            match order.direction {
                Direction::Ascending => ordering,
                Direction::Descending => ordering.reverse(),
            }
        });
        compared.fold(Ordering::Equal, Ordering::then)
    });
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}
