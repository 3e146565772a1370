//! Text, bytes and JSON.

use super::{IsNull, KvElement, KvValue, ValueError, required};
use crate::model::ColumnType;

impl KvValue for String {
    const TYPE: ColumnType = ColumnType::Text;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        if self.contains('\0') {
            return Err(ValueError::Unsupported {
                reason: "its text types have no NUL character; use `Vec<u8>` for bytes",
            });
        }
        out.push_str(self);
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        required(text).map(str::to_owned)
    }
}

impl KvElement for String {}

/// A text that a pattern can be laid against: `String`, and newtypes of it.
///
/// Queries ask it of what [`Field::like`](crate::Field::like) is called for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no text, so no pattern can be laid against it",
    label = "not a text",
    note = "`like` is for fields of `String` and of newtypes of it; compare others with `eq`, \
            `is_in` or `between`"
)]
pub trait KvText: KvValue {}

impl KvText for String {}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
const INVALID_BYTES: ValueError =
    ValueError::Invalid { expected: "hexadecimal byte string (`\\x…`)" };

/// Bytes are written as PostgreSQL writes them: `\x` and two hexadecimal digits each.
impl KvValue for Vec<u8> {
    const TYPE: ColumnType = ColumnType::Bytea;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        Ok(write_bytes(self, out))
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        let digits = required(text)?.strip_prefix("\\x").ok_or(INVALID_BYTES)?.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return Err(INVALID_BYTES);
        }
        digits
            .chunks_exact(2)
            .map(|pair| Ok(hex_value(pair[0])? << 4 | hex_value(pair[1])?))
            .collect()
    }
}

/// The same for a fixed number of bytes, such as those of a hash.
impl<const N: usize> KvValue for [u8; N] {
    const TYPE: ColumnType = ColumnType::Bytea;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        Ok(write_bytes(self, out))
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        let bytes = Vec::<u8>::decode(text)?;
        bytes
            .try_into()
            .map_err(|_| ValueError::Invalid { expected: "byte string of the array's length" })
    }
}

fn write_bytes(bytes: &[u8], out: &mut String) -> IsNull {
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        out.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
    }
    IsNull::No
}

fn hex_value(digit: u8) -> Result<u8, ValueError> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(INVALID_BYTES)
}

impl KvElement for Vec<u8> {}

impl<const N: usize> KvElement for [u8; N] {}

impl KvValue for serde_json::Value {
    const TYPE: ColumnType = ColumnType::Jsonb;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        let text = self.to_string();
        // Cheap first: only a text with the escape in it can hold the character.
        if text.contains("\\u0000") && has_nul(self) {
            return Err(ValueError::Unsupported { reason: "`jsonb` has no NUL character" });
        }
        out.push_str(&text);
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        serde_json::from_str(required(text)?)
            .map_err(|_| ValueError::Invalid { expected: "JSON value" })
    }
}

fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_bytes_has_as_many_as_it_says() {
        let mut text = String::new();
        assert_eq!([0x00, 0xfe, 0x10].encode(&mut text), Ok(IsNull::No));
        assert_eq!(text, "\\x00fe10");
        assert_eq!(<[u8; 3]>::decode(Some(&text)), Ok([0x00, 0xfe, 0x10]));
        let error = ValueError::Invalid { expected: "byte string of the array's length" };
        for other in ["\\x", "\\x00fe", "\\x00fe1000"] {
            assert_eq!(<[u8; 3]>::decode(Some(other)), Err(error.clone()), "{other}");
        }
        assert_eq!(<[u8; 3]>::decode(Some("00fe10")), Err(INVALID_BYTES));
        assert_eq!(<[u8; 3]>::decode(None), Err(ValueError::UnexpectedNull));
    }
}
