//! Every type a field can have, with a `table!`.

#![deny(warnings)]

use kv_runtime::KvModel;

diesel::table! {
    scalars (id) {
        id -> Uuid,
        text -> Text,
        small -> SmallInt,
        integer -> Integer,
        big -> BigInt,
        flag -> Bool,
        real -> Float,
        double -> Double,
        bytes -> Binary,
        decimal -> Numeric,
        big_decimal -> Numeric,
        json -> Jsonb,
        labels -> Array<Text>,
        sparse -> Array<Nullable<BigInt>>,
    }
}

diesel::table! {
    times (id) {
        id -> BigInt,
        date -> Date,
        time -> Time,
        timestamp -> Timestamp,
        timestamptz -> Timestamptz,
        date_too -> Nullable<Date>,
        time_too -> Nullable<Time>,
        timestamp_too -> Nullable<Timestamp>,
        timestamptz_too -> Nullable<Timestamptz>,
    }
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = scalars)]
struct Scalars {
    #[kv(id)]
    id: uuid::Uuid,
    text: String,
    small: i16,
    integer: i32,
    big: i64,
    flag: bool,
    real: f32,
    double: f64,
    bytes: Vec<u8>,
    decimal: rust_decimal::Decimal,
    big_decimal: bigdecimal::BigDecimal,
    json: serde_json::Value,
    labels: Vec<String>,
    sparse: Vec<Option<i64>>,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = times)]
struct Times {
    #[kv(id)]
    id: i64,
    date: chrono::NaiveDate,
    time: chrono::NaiveTime,
    timestamp: chrono::NaiveDateTime,
    timestamptz: chrono::DateTime<chrono::Utc>,
    date_too: Option<time::Date>,
    time_too: Option<time::Time>,
    timestamp_too: Option<time::PrimitiveDateTime>,
    timestamptz_too: Option<time::OffsetDateTime>,
}

// The types that Diesel has no column for.
#[derive(Debug, Clone, PartialEq, KvModel)]
struct Unsigned {
    #[kv(id)]
    id: u64,
    tiny: i8,
    byte: u8,
    small: u16,
    integer: Option<u32>,
    sums: Vec<u64>,
}

#[test]
fn it_is_taken() {
    assert!(Scalars::DESCRIPTOR.id_is_fresh);
    assert!(!Times::DESCRIPTOR.id_is_fresh);
    assert_eq!(Unsigned::DESCRIPTOR.columns.len(), 6);
}
