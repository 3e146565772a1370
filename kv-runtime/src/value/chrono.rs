//! The types of `chrono`, in ISO 8601 with microseconds, as PostgreSQL keeps them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use super::{IsNull, KvElement, KvValue, ValueError, required, write_display};
use crate::model::ColumnType;

/// Years have four digits in ISO 8601; PostgreSQL writes the others in a way of its own.
fn check_year(year: i32) -> Result<(), ValueError> {
    if (1..=9999).contains(&year) {
        return Ok(());
    }
    Err(ValueError::Unsupported { reason: "dates are stored from year 1 to year 9999" })
}

/// Chrono writes a leap second as second 60, which PostgreSQL turns into the next minute.
fn check_leap_second(time: &NaiveTime) -> Result<(), ValueError> {
    if time.nanosecond() < 1_000_000_000 {
        return Ok(());
    }
    Err(ValueError::Unsupported { reason: "it has no leap seconds" })
}

impl KvValue for NaiveDate {
    const TYPE: ColumnType = ColumnType::Date;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        check_year(self.year())?;
        Ok(write_display(out, self))
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        required(text)?.parse().map_err(|_| ValueError::Invalid { expected: "date (`2026-01-31`)" })
    }
}

impl KvValue for NaiveTime {
    const TYPE: ColumnType = ColumnType::Time;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        check_leap_second(self)?;
        Ok(write_display(out, self.format("%H:%M:%S%.6f")))
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        required(text)?.parse().map_err(|_| ValueError::Invalid { expected: "time (`23:59:59`)" })
    }
}

fn encode_timestamp(value: &NaiveDateTime, out: &mut String) -> Result<(), ValueError> {
    check_year(value.year())?;
    check_leap_second(&value.time())?;
    let (date, time) = (value.date(), value.time());
    // Digit by digit: chrono's format strings are interpreted at every call, and this is the
    // one conversion of the hot path that would show.
    write_display(
        out,
        format_args!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.nanosecond() / 1_000
        ),
    );
    Ok(())
}

fn decode_timestamp(text: &str) -> Option<NaiveDateTime> {
    // `T` as written here, a space as PostgreSQL writes it.
    let (date, time) = text.split_once(['T', ' '])?;
    Some(NaiveDateTime::new(date.parse().ok()?, time.parse().ok()?))
}

impl KvValue for NaiveDateTime {
    const TYPE: ColumnType = ColumnType::Timestamp;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        encode_timestamp(self, out)?;
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        decode_timestamp(required(text)?)
            .ok_or(ValueError::Invalid { expected: "timestamp (`2026-01-31T23:59:59`)" })
    }
}

impl KvValue for DateTime<Utc> {
    const TYPE: ColumnType = ColumnType::Timestamptz;
    type NotNull = Self;

    fn encode(&self, out: &mut String) -> Result<IsNull, ValueError> {
        encode_timestamp(&self.naive_utc(), out)?;
        out.push('Z');
        Ok(IsNull::No)
    }

    fn decode(text: Option<&str>) -> Result<Self, ValueError> {
        let text = required(text)?;
        // Always UTC: `Z` as written here, `+00` as PostgreSQL writes it in this session.
        text.strip_suffix('Z')
            .or_else(|| text.strip_suffix("+00"))
            .and_then(decode_timestamp)
            .map(|timestamp| timestamp.and_utc())
            .ok_or(ValueError::Invalid { expected: "UTC timestamp (`2026-01-31T23:59:59Z`)" })
    }
}

impl KvElement for NaiveDate {}
impl KvElement for NaiveTime {}
impl KvElement for NaiveDateTime {}
impl KvElement for DateTime<Utc> {}
