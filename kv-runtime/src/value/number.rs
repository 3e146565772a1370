//! Integers, floats, booleans and decimals.

use super::{IsNull, KvElement, KvValue, ValueError, required, write_display};
use crate::model::ColumnType;

/// Types whose `Display` and `FromStr` are already the text form.
macro_rules! display_and_from_str {
    ($($rust:ty => $column:expr, $expected:literal;)*) => {$(
        impl KvValue for $rust {
            const TYPE: ColumnType = $column;

            fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
                Ok(write_display(out, self))
            }

            fn decode(text: Option<&str>) -> Result<Self, ValueError> {
                required(text)?.parse().map_err(|_| ValueError::Invalid { expected: $expected })
            }
        }
    )*};
}

display_and_from_str! {
    bool => ColumnType::Bool, "boolean (`true` or `false`)";
    i8 => ColumnType::SmallInt, "8-bit integer";
    i16 => ColumnType::SmallInt, "16-bit integer";
    i32 => ColumnType::Integer, "32-bit integer";
    i64 => ColumnType::BigInt, "64-bit integer";
    u8 => ColumnType::SmallInt, "unsigned 8-bit integer";
    u16 => ColumnType::Integer, "unsigned 16-bit integer";
    u32 => ColumnType::BigInt, "unsigned 32-bit integer";
    u64 => ColumnType::Numeric, "unsigned 64-bit integer";
}

#[cfg(feature = "rust_decimal")]
display_and_from_str! {
    rust_decimal::Decimal => ColumnType::Numeric, "decimal number";
}

#[cfg(feature = "bigdecimal")]
impl KvValue for bigdecimal::BigDecimal {
    const TYPE: ColumnType = ColumnType::Numeric;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        // PostgreSQL expands exponents; the plain form is the one both sides agree on.
        out.push_str(&self.to_plain_string());
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        required(text)?.parse().map_err(|_| ValueError::Invalid { expected: "decimal number" })
    }
}

macro_rules! float {
    ($($rust:ty => $column:expr;)*) => {$(
        impl KvValue for $rust {
            const TYPE: ColumnType = $column;

            fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
                // `Debug` is the shortest text that reads back to the same bits, with an
                // exponent where `Display` would write hundreds of digits.
                Ok(write_display(out, format_args!("{self:?}")))
            }

            fn decode(text: Option<&str>) -> Result<Self, ValueError> {
                required(text)?
                    .parse()
                    .map_err(|_| ValueError::Invalid { expected: "floating-point number" })
            }
        }
    )*};
}

float! {
    f32 => ColumnType::Real;
    f64 => ColumnType::Double;
}

macro_rules! elements {
    ($($rust:ty),*) => { $(impl KvElement for $rust {})* };
}

elements!(bool, i16, i32, i64, u16, u32, u64, f32, f64);
#[cfg(feature = "rust_decimal")]
elements!(rust_decimal::Decimal);
#[cfg(feature = "bigdecimal")]
elements!(bigdecimal::BigDecimal);
