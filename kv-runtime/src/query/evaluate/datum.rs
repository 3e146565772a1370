//! A value as something that can be compared.

use std::cmp::Ordering;

use bigdecimal::BigDecimal;

use crate::model::ColumnType;
use crate::value::{KvValue, ValueError};

/// A value that is not NULL, by its column's type.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Integer(i64),
    Float(f64),
    Numeric(BigDecimal),
    /// Of all other types the text is as good as the value: booleans, UUIDs, bytes and times are
    /// written so that their texts have the values' order.
    Text(&'a str),
}

impl<'a> Datum<'a> {
    pub(super) fn parse(ty: ColumnType, text: &'a str) -> Result<Self, ValueError> {
        Ok(match ty {
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
                Self::Integer(i64::decode(Some(text))?)
            }
            // In its own precision first, in which it is compared.
            ColumnType::Real => Self::Float(f32::decode(Some(text))?.into()),
            ColumnType::Double => Self::Float(f64::decode(Some(text))?),
            ColumnType::Numeric => Self::Numeric(parse_numeric(text)?),
            _ => Self::Text(text),
        })
    }

    /// The order of PostgreSQL. Both are of one column.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(other),
            (Self::Float(one), Self::Float(other)) => compare_floats(*one, *other),
            (Self::Numeric(one), Self::Numeric(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            // Of one column, they are of one kind.
            _ => Ordering::Equal,
        }
    }
}

pub(super) fn parse_numeric(text: &str) -> Result<BigDecimal, ValueError> {
    text.parse().map_err(|_| ValueError::Invalid { expected: "decimal number" })
}

/// NaN is greater than every number and equal to itself; the zeros are equal.
fn compare_floats(one: f64, other: f64) -> Ordering {
    one.partial_cmp(&other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
}

/// The order of sorting and grouping, in which NULL is the last and equal to itself.
pub(super) fn compare_nullable(one: Option<&Datum<'_>>, other: Option<&Datum<'_>>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.compare(other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}
