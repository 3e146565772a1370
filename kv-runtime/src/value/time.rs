//! The types of `time`, in ISO 8601 with microseconds, as PostgreSQL keeps them.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::{IsNull, KvElement, KvValue, ValueError, required, write_display};
use crate::model::ColumnType;

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second][optional [.[subsecond]]]");

const YEAR_OUT_OF_RANGE: ValueError =
    ValueError::Unsupported { reason: "dates are stored from year 1 to year 9999" };

fn check_year(year: i32) -> Result<(), ValueError> {
    if (1..=9999).contains(&year) {
        return Ok(());
    }
    Err(YEAR_OUT_OF_RANGE)
}

fn encode_date(date: Date, out: &mut String) -> Result<(), ValueError> {
    check_year(date.year())?;
    let (year, month, day) = date.to_calendar_date();
    write_display(out, format_args!("{year:04}-{:02}-{day:02}", u8::from(month)));
    Ok(())
}

fn encode_time(time: Time, out: &mut String) {
    let (hour, minute, second, microsecond) = time.as_hms_micro();
    write_display(out, format_args!("{hour:02}:{minute:02}:{second:02}.{microsecond:06}"));
}

fn decode_timestamp(text: &str) -> Option<PrimitiveDateTime> {
    // `T` as written here, a space as PostgreSQL writes it.
    let (date, time) = text.split_once(['T', ' '])?;
    Some(PrimitiveDateTime::new(Date::parse(date, DATE).ok()?, Time::parse(time, TIME).ok()?))
}

impl KvValue for Date {
    const TYPE: ColumnType = ColumnType::Date;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        encode_date(*self, out)?;
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        Date::parse(required(text)?, DATE)
            .map_err(|_| ValueError::Invalid { expected: "date (`2026-01-31`)" })
    }
}

impl KvValue for Time {
    const TYPE: ColumnType = ColumnType::Time;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        encode_time(*self, out);
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        Time::parse(required(text)?, TIME)
            .map_err(|_| ValueError::Invalid { expected: "time (`23:59:59`)" })
    }
}

impl KvValue for PrimitiveDateTime {
    const TYPE: ColumnType = ColumnType::Timestamp;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        encode_date(self.date(), out)?;
        out.push('T');
        encode_time(self.time(), out);
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        decode_timestamp(required(text)?)
            .ok_or(ValueError::Invalid { expected: "timestamp (`2026-01-31T23:59:59`)" })
    }
}

/// Stored in UTC, as PostgreSQL does: the instant is kept, the offset is not.
impl KvValue for OffsetDateTime {
    const TYPE: ColumnType = ColumnType::Timestamptz;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        // The last hours of year 9999 west of Greenwich are in the next year there.
        let utc = self.checked_to_offset(UtcOffset::UTC).ok_or(YEAR_OUT_OF_RANGE)?;
        encode_date(utc.date(), out)?;
        out.push('T');
        encode_time(utc.time(), out);
        out.push('Z');
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        let text = required(text)?;
        text.strip_suffix('Z')
            .or_else(|| text.strip_suffix("+00"))
            .and_then(decode_timestamp)
            .map(PrimitiveDateTime::assume_utc)
            .ok_or(ValueError::Invalid { expected: "UTC timestamp (`2026-01-31T23:59:59Z`)" })
    }
}

impl KvElement for Date {}
impl KvElement for Time {}
impl KvElement for PrimitiveDateTime {}
impl KvElement for OffsetDateTime {}

#[cfg(test)]
mod tests {
    use super::*;
    use ::time::macros::datetime;

    #[test]
    fn a_time_whose_year_in_utc_is_out_of_range_is_refused() {
        for time in [datetime!(9999-12-31 23:59 -01:00), datetime!(0001-01-01 00:00 +01:00)] {
            assert_eq!(time.encode(&mut String::new()), Err(YEAR_OUT_OF_RANGE));
        }
    }
}
