//! Whether a column can hold the values of a field.

use super::Column;
use crate::model::{ColumnDescriptor, ColumnType, NumericBounds};

/// Whether a column can hold the values of a type.
pub(super) fn is_of_type(ty: ColumnType, found: &Column) -> bool {
    is_any_of(&catalog_names(ty), ty, found)
}

/// Whether values of the column may change, or be refused, where it becomes that of a field.
pub(super) fn may_lose(column: &ColumnDescriptor, found: &Column) -> bool {
    let ty = column.ty;
    if is_of_type(ty, found) {
        return column.numeric.is_some_and(|bounds| !keeps(bounds, digits_of(found)));
    }
    let has_room = column.numeric.is_none_or(|bounds| bounds.whole_digits() >= BIGINT_DIGITS);
    !has_room || !is_any_of(narrower(ty), ty, found)
}

/// Those of the largest integer.
const BIGINT_DIGITS: u16 = 19;

/// How many digits a column `numeric` has, and how many of them behind the point, which may be
/// fewer than none; `None` where it has as many as a value brings.
fn digits_of(found: &Column) -> Option<(i32, i32)> {
    let (precision, scale) = found.base.strip_suffix(')')?.split_once('(')?.1.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// Whether bounds keep all that fits into a column of so many digits.
fn keeps(bounds: NumericBounds, digits: Option<(i32, i32)>) -> bool {
    digits.is_some_and(|(precision, scale)| {
        scale <= i32::from(bounds.scale) && precision - scale <= i32::from(bounds.whole_digits())
    })
}

/// Whether a column has exactly the bounds of a field, if that has any.
pub(super) fn has_bounds(column: &ColumnDescriptor, found: &Column) -> bool {
    let same = |bounds: NumericBounds| {
        digits_of(found) == Some((bounds.precision.into(), bounds.scale.into()))
    };
    column.numeric.is_none_or(same)
}

fn is_any_of(names: &[&str], ty: ColumnType, found: &Column) -> bool {
    match ty {
        ColumnType::Array(_) => {
            found.element_name.as_deref().is_some_and(|name| names.contains(&name))
        }
        _ => found.type_names.iter().flatten().any(|name| names.contains(&name.as_str())),
    }
}

/// What the catalog calls the types whose values are all of this type, too, or those of the
/// elements of an array.
fn narrower(ty: ColumnType) -> &'static [&'static str] {
    match ty {
        ColumnType::Integer => &["int2"],
        ColumnType::BigInt => &["int2", "int4"],
        ColumnType::Numeric => &["int2", "int4", "int8"],
        ColumnType::Double => &["float4", "int2", "int4"],
        ColumnType::Timestamp => &["date"],
        ColumnType::Array(element) => narrower(*element),
        _ => &[],
    }
}

/// What the catalog calls a type, or the elements of an array.
fn catalog_names(ty: ColumnType) -> Vec<&'static str> {
    match ty {
        ColumnType::Bool => vec!["bool"],
        ColumnType::SmallInt => vec!["int2"],
        ColumnType::Integer => vec!["int4"],
        ColumnType::BigInt => vec!["int8"],
        ColumnType::Real => vec!["float4"],
        ColumnType::Double => vec!["float8"],
        ColumnType::Numeric => vec!["numeric"],
        // Not `bpchar`, which pads values, and so changes them.
        ColumnType::Text => vec!["text", "varchar"],
        ColumnType::Bytea => vec!["bytea"],
        ColumnType::Uuid => vec!["uuid"],
        ColumnType::Date => vec!["date"],
        ColumnType::Time => vec!["time"],
        ColumnType::Timestamp => vec!["timestamp"],
        ColumnType::Timestamptz => vec!["timestamptz"],
        ColumnType::Jsonb => vec!["jsonb"],
        ColumnType::Array(element) => catalog_names(*element),
        ColumnType::Enum { name, .. } | ColumnType::Named(name) => vec![name],
    }
}

/// Whether the column keeps fewer digits than a value of the model may have.
pub(super) fn is_rounded(column: &ColumnDescriptor, found: &Column) -> bool {
    if let Some(bounds) = column.numeric {
        return digits_of(found).is_some_and(|(precision, scale)| {
            scale < bounds.scale.into() || precision - scale < bounds.whole_digits().into()
        });
    }
    let scalar = match column.ty {
        ColumnType::Array(element) => *element,
        ty => ty,
    };
    match scalar {
        // Whole numbers of the size of an `u64` lose nothing there.
        ColumnType::Numeric => found.base.contains('(') && found.base != "numeric(20,0)",
        // Microseconds are what the model has.
        ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz => {
            found.base.contains('(') && !found.base.contains("(6)")
        }
        _ => false,
    }
}

/// The values of an enum that its type in PostgreSQL does not have.
pub(super) fn missing_labels(ty: ColumnType, found: &Column) -> Vec<&'static str> {
    match (ty, &found.labels) {
        (ColumnType::Array(element), _) => missing_labels(*element, found),
        (ColumnType::Enum { labels, .. }, Some(known)) => {
            labels.iter().filter(|label| !known.iter().any(|it| it == *label)).copied().collect()
        }
        _ => Vec::new(),
    }
}
