//! A column of a batch as an array in PostgreSQL's binary form, written once, straight from the
//! rows' texts.
//!
//! The common types are sent in their own binary form: were they texts, reading them would make
//! an insert half as long again. All others are sent as text and cast by the statement, which
//! gives any type of the user's the same way.

use std::io::Write;

use diesel::pg::Pg;
use diesel::pg::sql_types::{Timestamptz, Uuid};
use diesel::query_builder::AstPass;
use diesel::result::QueryResult;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Date, Double, Float, Integer, Nullable, SmallInt, SqlType, Text,
    Time, Timestamp,
};

use crate::model::ColumnType;
use crate::value::{KvValue, ValueError};

impl ColumnType {
    /// Whether values are sent as text, for the statement to cast.
    pub(super) fn is_sent_as_text(self) -> bool {
        self.element_oid() == TEXT_OID
    }

    /// The OID of what is sent, which PostgreSQL fixes (`pg_type.dat` of its sources).
    fn element_oid(self) -> i32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::BigInt => 20,
            Self::SmallInt => 21,
            Self::Integer => 23,
            Self::Real => 700,
            Self::Double => 701,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Uuid => 2950,
            Self::Text
            | Self::Numeric
            | Self::Jsonb
            | Self::Array(_)
            | Self::Enum { .. }
            | Self::Named(_) => TEXT_OID,
        }
    }

    /// Appends a value's length and binary form.
    fn write_element(self, text: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
        fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
            // A value of more than 2 GiB never gets here: Redis takes 512 MB.
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        let value = Some(text);
        match self {
            Self::Bool => sized(out, &[u8::from(bool::decode(value)?)]),
            Self::SmallInt => sized(out, &i16::decode(value)?.to_be_bytes()),
            Self::Integer => sized(out, &i32::decode(value)?.to_be_bytes()),
            Self::BigInt => sized(out, &i64::decode(value)?.to_be_bytes()),
            Self::Real => sized(out, &f32::decode(value)?.to_be_bytes()),
            Self::Double => sized(out, &f64::decode(value)?.to_be_bytes()),
            Self::Bytea => sized(out, &Vec::<u8>::decode(value)?),
            Self::Uuid => sized(out, &uuid_bytes(text).ok_or(INVALID_UUID)?),
            Self::Date => sized(out, &days(text).ok_or(INVALID_TIME)?.to_be_bytes()),
            Self::Time => sized(out, &microseconds(text).ok_or(INVALID_TIME)?.to_be_bytes()),
            Self::Timestamp | Self::Timestamptz => {
                sized(out, &timestamp(text).ok_or(INVALID_TIME)?.to_be_bytes());
            }
            Self::Text
            | Self::Numeric
            | Self::Jsonb
            | Self::Array(_)
            | Self::Enum { .. }
            | Self::Named(_) => {
                sized(out, text.as_bytes());
            }
        }
        Ok(())
    }
}

const TEXT_OID: i32 = 25;
const INVALID_UUID: ValueError = ValueError::Invalid { expected: "UUID" };
const INVALID_TIME: ValueError = ValueError::Invalid { expected: "date or time" };

/// The bytes of a hyphenated UUID.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let mut digits = text
        .bytes()
        .filter(|byte| *byte != b'-')
        .map(|digit| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    digits.next().is_none().then_some(bytes)
}

fn number(text: &str) -> Option<i64> {
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days from 2000-01-01 to a date in ISO 8601.
///
/// By Howard Hinnant's `days_from_civil`, for years from 1 on
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the
/// leap day is the last of a year.
fn days(text: &str) -> Option<i32> {
    let (year, month, day) =
        (number(text.get(..4)?)?, number(text.get(5..7)?)?, number(text.get(8..10)?)?);
    if text.len() != 10 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 730,425 days lie between 0000-03-01 and 2000-01-01.
    i32::try_from(era * 146_097 + day_of_era - 730_425).ok()
}

/// Microseconds of a time of day, `23:59:59.123456`.
fn microseconds(text: &str) -> Option<i64> {
    let (hours, minutes) = (number(text.get(..2)?)?, number(text.get(3..5)?)?);
    let (seconds, fraction) = (number(text.get(6..8)?)?, number(text.get(9..15)?)?);
    let is_whole = text.len() == 15;
    is_whole.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
}

/// Microseconds from 2000-01-01 to a timestamp in ISO 8601, in UTC where it has a zone.
fn timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    Some(i64::from(days(date)?) * 86_400_000_000 + microseconds(time)?)
}

/// The values of one column.
#[derive(Debug)]
pub(crate) struct ColumnArray {
    ty: ColumnType,
    length: i32,
    has_null: bool,
    /// Each value with its length in front.
    values: Vec<u8>,
}

impl ColumnArray {
    pub(crate) fn new(ty: ColumnType) -> Self {
        Self { ty, length: 0, has_null: false, values: Vec::new() }
    }

    /// An array of texts.
    pub(super) fn of_texts<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::of_nullable_texts(texts.into_iter().map(Some))
    }

    /// An array of texts and NULLs.
    pub(super) fn of_nullable_texts<S: AsRef<str>>(
        texts: impl IntoIterator<Item = Option<S>>,
    ) -> Self {
        let mut array = Self::new(ColumnType::Text);
        for text in texts {
            // Texts are sent as they are.
            let _ = array.push(text.as_ref().map(AsRef::as_ref));
        }
        array
    }

    /// The type that PostgreSQL takes its elements to be.
    pub(super) fn element_type(&self) -> ColumnType {
        if self.ty.is_sent_as_text() { ColumnType::Text } else { self.ty }
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, value: Option<&str>) -> Result<(), ValueError> {
        self.length += 1;
        match value {
            Some(text) => self.ty.write_element(text, &mut self.values),
            None => {
                self.has_null = true;
                self.values.extend_from_slice(&(-1_i32).to_be_bytes());
                Ok(())
            }
        }
    }

    /// Puts the array into a statement, as the next parameter.
    pub(super) fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        type Of<T> = Array<Nullable<T>>;
        match self.ty {
            ColumnType::Bool => out.push_bind_param::<Of<Bool>, _>(self),
            ColumnType::SmallInt => out.push_bind_param::<Of<SmallInt>, _>(self),
            ColumnType::Integer => out.push_bind_param::<Of<Integer>, _>(self),
            ColumnType::BigInt => out.push_bind_param::<Of<BigInt>, _>(self),
            ColumnType::Real => out.push_bind_param::<Of<Float>, _>(self),
            ColumnType::Double => out.push_bind_param::<Of<Double>, _>(self),
            ColumnType::Bytea => out.push_bind_param::<Of<Binary>, _>(self),
            ColumnType::Uuid => out.push_bind_param::<Of<Uuid>, _>(self),
            ColumnType::Date => out.push_bind_param::<Of<Date>, _>(self),
            ColumnType::Time => out.push_bind_param::<Of<Time>, _>(self),
            ColumnType::Timestamp => out.push_bind_param::<Of<Timestamp>, _>(self),
            ColumnType::Timestamptz => out.push_bind_param::<Of<Timestamptz>, _>(self),
            ColumnType::Text
            | ColumnType::Numeric
            | ColumnType::Jsonb
            | ColumnType::Array(_)
            | ColumnType::Enum { .. }
            | ColumnType::Named(_) => out.push_bind_param::<Of<Text>, _>(self),
        }
    }
}

impl<T: SqlType + 'static> ToSql<Array<Nullable<T>>, Pg> for ColumnArray {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        let dimensions = i32::from(self.length > 0);
        for number in [dimensions, i32::from(self.has_null), self.ty.element_oid()] {
            out.write_all(&number.to_be_bytes())?;
        }
        if self.length > 0 {
            // The length, and the index of the first element.
            out.write_all(&self.length.to_be_bytes())?;
            out.write_all(&1_i32.to_be_bytes())?;
            out.write_all(&self.values)?;
        }
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_the_year_2000() {
        for (date, expected) in [
            ("2000-01-01", 0),
            ("1999-12-31", -1),
            ("2000-02-29", 59),
            ("2000-03-01", 60),
            ("1970-01-01", -10_957),
            ("0001-01-01", -730_119),
            ("9999-12-31", 2_921_939),
        ] {
            assert_eq!(days(date), Some(expected), "{date}");
        }
        for malformed in ["2000-1-1", "2000-01-9223372036854775807"] {
            assert_eq!(days(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn times_count_in_microseconds() {
        assert_eq!(microseconds("23:59:59.000001"), Some(86_399_000_001));
        assert_eq!(timestamp("2000-01-02T00:00:01.500000Z"), Some(86_401_500_000));
        assert_eq!(timestamp("2000-01-02T00:00:01.500000"), Some(86_401_500_000));
        for malformed in ["", "2000-01-02", "2000-01-02T00:00:01Z", "2000-01-02T+1:00:01.500000"] {
            assert_eq!(timestamp(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn uuids_have_sixteen_bytes() {
        let bytes = uuid_bytes("00010203-0405-0607-0809-0a0b0c0d0e0f").expect("a UUID");
        assert_eq!(bytes, std::array::from_fn(|index| index as u8));
        for malformed in
            ["", "00010203-0405-0607-0809-0a0b0c0d0e", "g0010203-0405-0607-0809-0a0b0c0d0e0f"]
        {
            assert_eq!(uuid_bytes(malformed), None, "{malformed}");
        }
    }
}
