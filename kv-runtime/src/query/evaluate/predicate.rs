//! Conditions with SQL's three values of truth, `None` being unknown.

use std::cmp::Ordering;

use super::like::is_like;
use super::{literal_of, value_of};
use crate::model::{FieldError, ModelDescriptor};
use crate::query::predicate::{Comparison, Predicate};
use crate::row::EncodedRow;

type Truth = Option<bool>;

/// Whether a condition holds for a row.
pub(super) fn holds(
    predicate: &Predicate,
    model: &'static ModelDescriptor,
    row: &EncodedRow,
) -> Result<Truth, FieldError> {
    let all = |predicates: &[Predicate]| -> Result<Vec<Truth>, FieldError> {
        predicates.iter().map(|predicate| holds(predicate, model, row)).collect()
    };
    Ok(match predicate {
        Predicate::Compare { column, comparison, literal } => {
            compare(model, *column, *comparison, literal.as_deref(), row)?
        }
        // In this process they have one form.
        Predicate::CompareStored { column, comparison, text } => {
            compare(model, *column, *comparison, Some(text), row)?
        }
        Predicate::In { column, literals } => is_in(model, *column, literals, row)?,
        Predicate::Like { column, pattern, ignores_case } => {
            let texts = row.get(*column).zip(pattern.as_deref());
            texts.map(|(text, pattern)| is_like(text, pattern, *ignores_case))
        }
        Predicate::IsNull(column) => Some(row.get(*column).is_none()),
        Predicate::Not(predicate) => holds(predicate, model, row)?.map(|is_true| !is_true),
        Predicate::All(predicates) => and(&all(predicates)?),
        Predicate::Any(predicates) => or(&all(predicates)?),
    })
}

fn compare(
    model: &'static ModelDescriptor,
    column: usize,
    comparison: Comparison,
    literal: Option<&str>,
    row: &EncodedRow,
) -> Result<Truth, FieldError> {
    let value = value_of(model, column, row)?;
    let literal = literal_of(model, column, literal)?;
    let ordering = value.zip(literal).map(|(value, literal)| value.compare(&literal));
    Ok(ordering.map(|ordering| comparison.is_met_by(ordering)))
}

impl Comparison {
    fn is_met_by(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// Whether the value is equal to one of the literals; of none, not even NULL is unknown.
fn is_in(
    model: &'static ModelDescriptor,
    column: usize,
    literals: &EncodedRow,
    row: &EncodedRow,
) -> Result<Truth, FieldError> {
    let value = value_of(model, column, row)?;
    let equal = literals.iter().map(|literal| {
        let literal = literal_of(model, column, literal)?;
        Ok(value.as_ref().zip(literal).map(|(value, literal)| value.compare(&literal).is_eq()))
    });
    Ok(or(&equal.collect::<Result<Vec<_>, _>>()?))
}

fn and(all: &[Truth]) -> Truth {
    if all.contains(&Some(false)) {
        return Some(false);
    }
    if all.contains(&None) { None } else { Some(true) }
}

fn or(any: &[Truth]) -> Truth {
    if any.contains(&Some(true)) {
        return Some(true);
    }
    if any.contains(&None) { None } else { Some(false) }
}
