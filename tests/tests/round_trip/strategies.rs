//! Random values of every type that a field can have.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use kv_tests::models::{Everything, Label, Mood, Wide};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Text with more of what is special somewhere than chance would bring; no NUL character.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "",
        "{",
        "}",
        "\"",
        "\\",
        "'",
        ",",
        " ",
        "NULL",
        "null",
        "\n",
        "\t",
        "\\x",
        "%",
        ":",
        "é",
        "漢",
        "🚕",
        "\u{7f}",
        "\u{fffd}",
        "\u{10ffff}",
        "[",
        "]",
        "0",
        "-",
    ]);
    let character = any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from);
    vec(prop_oneof![special.prop_map(str::to_owned), character], 0..12)
        .prop_map(|parts| parts.concat())
}

/// Any bits; a NaN is a NaN.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), any::<i32>().prop_map(f64::from)]
}

fn real() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits)
}

fn decimal() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![
        any::<i64>().prop_map(i128::from),
        -79_228_162_514_264_337_593_543_950_335_i128..=79_228_162_514_264_337_593_543_950_335,
    ];
    (mantissa, 0_u32..=28).prop_map(|(digits, scale)| Decimal::from_i128_with_scale(digits, scale))
}

fn big_decimal() -> impl Strategy<Value = BigDecimal> {
    let digits = vec(0_u8..10, 1..60);
    (digits, any::<bool>(), 0_i64..50).prop_map(|(digits, is_negative, scale)| {
        let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let sign = if is_negative { "-" } else { "" };
        let digits = format!("{sign}{digits}").parse().expect("an integer");
        BigDecimal::new(digits, scale)
    })
}

/// Microseconds from year 1 to year 9999.
fn microseconds() -> impl Strategy<Value = i64> {
    let at = |year, month, day| {
        let date = NaiveDate::from_ymd_opt(year, month, day).expect("a date");
        date.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
    };
    at(1, 1, 1)..at(9_999, 12, 31)
}

fn timestamptz() -> impl Strategy<Value = DateTime<Utc>> {
    microseconds().prop_map(|at| DateTime::from_timestamp_micros(at).expect("a time"))
}

fn timestamp() -> impl Strategy<Value = NaiveDateTime> {
    timestamptz().prop_map(|at| at.naive_utc())
}

fn time_offset() -> impl Strategy<Value = time::OffsetDateTime> {
    microseconds().prop_map(|at| {
        let nanoseconds = i128::from(at) * 1_000;
        time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).expect("a time")
    })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        // PostgreSQL keeps numbers as digits, where a whole one is like an integer.
        double().prop_filter_map("a fraction", |number| {
            (number.fract() != 0.0 && number.is_finite()).then(|| number.into())
        }),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![Just(Mood::Happy), Just(Mood::SoSo)]
}

/// Any row of every type. Its id is not random for [`proptest`], which would shrink it.
pub(crate) fn everything() -> impl Strategy<Value = Everything> {
    let integers = (any::<i8>(), any::<i16>(), any::<i32>(), any::<i64>());
    let unsigned = (any::<u8>(), any::<u16>(), any::<u32>(), any::<u64>());
    let others = (text(), any::<bool>(), real(), double(), vec(any::<u8>(), 0..20));
    let decimals = (decimal(), big_decimal());
    let times = (timestamp(), timestamp(), timestamp(), timestamptz());
    let more_times = (time_offset(), time_offset(), time_offset(), time_offset());
    let rest = (json(), mood(), text().prop_map(Label));
    let arrays = (
        vec(text(), 0..4),
        vec(any::<i64>(), 0..4),
        vec(double(), 0..4),
        vec(option::of(decimal()), 0..4),
        vec(any::<u128>().prop_map(Uuid::from_u128), 0..4),
        vec(timestamptz(), 0..4),
        vec(vec(any::<u8>(), 0..6), 0..4),
    );
    let maybes = (
        option::of(text()),
        option::of(any::<i32>()),
        option::of(double()),
        option::of(decimal()),
        option::of(vec(any::<u8>(), 0..20)),
        option::of(json().prop_filter("SQL has a NULL", |json| !json.is_null())),
        option::of(vec(text(), 0..4)),
        option::of(mood()),
        option::of(text().prop_map(Label)),
        option::of(timestamptz()),
    );
    let parts = (integers, unsigned, others, decimals, times, more_times, rest, arrays, maybes);
    parts.prop_map(
        |(integers, unsigned, others, decimals, times, more_times, rest, arrays, maybes)| {
            Everything {
                id: Uuid::new_v4(),
                text: others.0,
                boolean: others.1,
                tiny: integers.0,
                small: integers.1,
                int: integers.2,
                big: integers.3,
                unsigned_tiny: unsigned.0,
                unsigned_small: unsigned.1,
                unsigned_int: unsigned.2,
                unsigned_big: unsigned.3,
                real: others.2,
                double: others.3,
                bytes: others.4,
                decimal: decimals.0,
                big_decimal: decimals.1,
                date: times.0.date(),
                time_of_day: times.1.time(),
                timestamp: times.2,
                timestamptz: times.3,
                time_date: more_times.0.date(),
                time_time: more_times.1.time(),
                time_primitive: time::PrimitiveDateTime::new(
                    more_times.2.date(),
                    more_times.2.time(),
                ),
                time_offset: more_times.3,
                json: rest.0,
                texts: arrays.0,
                ints: arrays.1,
                doubles: arrays.2,
                decimals: arrays.3,
                uuids: arrays.4,
                stamps: arrays.5,
                blobs: arrays.6,
                mood: rest.1,
                label: rest.2,
                maybe_text: maybes.0,
                maybe_int: maybes.1,
                maybe_double: maybes.2,
                maybe_decimal: maybes.3,
                maybe_bytes: maybes.4,
                maybe_json: maybes.5,
                maybe_texts: maybes.6,
                maybe_mood: maybes.7,
                maybe_label: maybes.8,
                maybe_timestamptz: maybes.9,
            }
        },
    )
}

/// A row of 128 columns with random NULLs; its id is still to be given.
pub(crate) fn wide() -> impl Strategy<Value = Wide> {
    vec(option::of(any::<i32>()), 127).prop_map(|values| Wide::from_columns(0, values))
}
