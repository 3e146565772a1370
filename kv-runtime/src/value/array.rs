//! `Vec` of a scalar: a JSON array as text, an array in PostgreSQL.

use serde_json::value::RawValue;

use super::{IsNull, KvValue, ValueError, required};
use crate::model::ColumnType;

/// A scalar that a `Vec` field can hold.
///
/// `u8` is left out, because `Vec<u8>` is a byte string.
pub trait KvElement: KvValue {}

impl<T: KvElement> KvElement for Option<T> {}

/// A scalar that a query can compare, sort and group by: all but arrays and JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be compared in a query",
    label = "not a scalar",
    note = "arrays and JSON can be asked for `is_null` alone; keep what you look for in a field of \
            its own"
)]
pub trait KvScalar: KvValue {}

#[diagnostic::do_not_recommend]
impl<T: KvElement> KvScalar for T {}

impl KvScalar for u8 {}

const INVALID_ARRAY: ValueError = ValueError::Invalid { expected: "JSON array" };

impl<T: KvElement> KvValue for Vec<T> {
    const TYPE: ColumnType = ColumnType::Array(&T::TYPE);
    const HAS_ONE_TEXT: bool = T::HAS_ONE_TEXT;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        let mut element = String::new();
        out.push('[');
        for (index, value) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            element.clear();
            match value.encode(&mut element)? {
                IsNull::Yes => out.push_str("null"),
                IsNull::No if T::TYPE.is_bare_in_json() => out.push_str(&element),
                IsNull::No => out.push_str(&serde_json::Value::String(element.clone()).to_string()),
            }
        }
        out.push(']');
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        // Raw elements, because a JSON number parsed as a float would lose a decimal's digits.
        let elements: Vec<Option<&RawValue>> =
            serde_json::from_str(required(text)?).map_err(|_| INVALID_ARRAY)?;
        elements
            .into_iter()
            .map(|element| {
                let Some(raw) = element.map(RawValue::get) else { return T::decode(None) };
                if raw.starts_with('"') {
                    let text: String = serde_json::from_str(raw).map_err(|_| INVALID_ARRAY)?;
                    return T::decode(Some(&text));
                }
                T::decode(Some(raw))
            })
            .collect()
    }
}
