//! Integers, floats, booleans and decimals.

use std::str::FromStr;

#[cfg(feature = "bigdecimal")]
use bigdecimal::Zero;

use super::{IsNull, KvElement, KvScalar, KvValue, ValueError, required, write_display};
use crate::model::ColumnType;

/// Types whose `Display` and `FromStr` are already the text form.
macro_rules! display_and_from_str {
    ($has_one_text:literal: $($rust:ty => $column:expr, $expected:literal;)*) => {$(
        impl KvValue for $rust {
            const TYPE: ColumnType = $column;
            const HAS_ONE_TEXT: bool = $has_one_text;
            type NotNull = Self;

            fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
                Ok(write_display(out, self))
            }

            fn decode(text: Option<&str>) -> Result<Self, ValueError> {
                required(text)?.parse().map_err(|_| ValueError::Invalid { expected: $expected })
            }
        }
    )*};
}

// A `u64` is one of them, though its column is that of decimal numbers.
display_and_from_str! {
    true:
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
    false:
    rust_decimal::Decimal => ColumnType::Numeric, "decimal number";
}

#[cfg(feature = "bigdecimal")]
impl KvValue for bigdecimal::BigDecimal {
    const TYPE: ColumnType = ColumnType::Numeric;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        /// PostgreSQL's bounds of `numeric`.
        const DIGITS_BEFORE_POINT_MAX: u64 = 131_072;
        const DIGITS_BEHIND_POINT_MAX: i64 = 16_383;
        let behind = self.fractional_digit_count();
        if behind < 0 && self.is_zero() {
            // The plain form has a zero for each of its exponent.
            out.push('0');
            return Ok(IsNull::No);
        }
        let before = self.digits().saturating_add_signed(behind.saturating_neg());
        // Ahead of the text: a number of few digits with a great exponent would fill the memory.
        if before > DIGITS_BEFORE_POINT_MAX || behind > DIGITS_BEHIND_POINT_MAX {
            return Err(ValueError::Unsupported {
                reason: "`numeric` has 131072 digits before the point and 16383 behind it",
            });
        }
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
            type NotNull = Self;

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

elements!(bool, i8, i16, i32, i64, u16, u32, u64, f32, f64);
#[cfg(feature = "rust_decimal")]
elements!(rust_decimal::Decimal);
#[cfg(feature = "bigdecimal")]
elements!(bigdecimal::BigDecimal);

/// A number that a query can add up: the integers, the floats and the decimals, and newtypes of
/// them.
///
/// Sums are of a type that they fit into, as in PostgreSQL.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number that can be added up",
    label = "not a number",
    note = "`sum` and `avg` are for fields of integers, floats and decimals, and of newtypes of \
            these"
)]
pub trait KvNumber: KvScalar {
    /// What the numbers come to.
    type Sum: FromStr + Send + 'static;
    /// What they are on average.
    type Average: FromStr + Send + 'static;
}

macro_rules! numbers {
    ($($rust:ty => $sum:ty, $average:ty;)*) => {$(
        impl KvNumber for $rust {
            type Sum = $sum;
            type Average = $average;
        }
    )*};
}

// No table has so many rows that 64 bits would not do for the sum of 32.
numbers! {
    i8 => i64, f64;
    u8 => i64, f64;
    i16 => i64, f64;
    i32 => i64, f64;
    u16 => i64, f64;
    u32 => i128, f64;
    i64 => i128, f64;
    u64 => i128, f64;
    f32 => f32, f64;
    f64 => f64, f64;
}
#[cfg(feature = "rust_decimal")]
numbers! { rust_decimal::Decimal => rust_decimal::Decimal, rust_decimal::Decimal; }
#[cfg(feature = "bigdecimal")]
numbers! { bigdecimal::BigDecimal => bigdecimal::BigDecimal, bigdecimal::BigDecimal; }

#[cfg(all(test, feature = "bigdecimal"))]
mod tests {
    use super::*;

    #[test]
    fn an_exponent_is_bounded_before_it_is_written_out() {
        let encoded = |text: &str| {
            let mut out = String::new();
            let number: bigdecimal::BigDecimal = text.parse().expect("a number");
            number.encode(&mut out).map(|_| out)
        };
        for text in ["1e131072", "-12e131071", "1e999999999999", "1e-16384", "0e-16384"] {
            assert!(encoded(text).is_err(), "{text}");
        }
        for (text, expected) in [("0e999999999999", "0"), ("-12e3", "-12000"), ("1e-2", "0.01")] {
            assert_eq!(encoded(text).as_deref(), Ok(expected), "{text}");
        }
        let greatest = encoded("1e131071").map(|text| text.len());
        assert_eq!(greatest, Ok(131_072));
    }
}
