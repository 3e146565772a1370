//! Enums and newtypes as fields, in options and in arrays, with a `table!` and without one.

#![deny(warnings)]

use kv_runtime::{ColumnType, KvModel, KvValue};

diesel::table! {
    bookings (id) {
        id -> Text,
        status -> Text,
        before -> Nullable<Text>,
        history -> Array<Text>,
        fare -> Numeric,
        tip -> Nullable<Numeric>,
        fares -> Array<Numeric>,
        payload -> Jsonb,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
enum Status {
    Active,
    OnHold,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, KvValue)]
struct BookingId(String);

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
struct Amount {
    value: rust_decimal::Decimal,
}

// A type that is no element of an array makes a value all the same.
#[derive(Debug, Clone, PartialEq, KvValue)]
struct Payload(serde_json::Value);

#[derive(Debug, Clone, PartialEq, KvValue)]
struct Counters(Vec<i64>);

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = bookings)]
struct Booking {
    #[kv(id)]
    id: BookingId,
    status: Status,
    before: Option<Status>,
    history: Vec<Status>,
    fare: Amount,
    tip: Option<Amount>,
    fares: Vec<Amount>,
    payload: Payload,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Meter {
    #[kv(id)]
    id: i64,
    counters: Counters,
}

#[test]
fn it_is_taken() {
    let columns = Booking::DESCRIPTOR.columns;
    assert_eq!(columns[3].ty, ColumnType::Array(&ColumnType::Text));
    assert_eq!(columns[5].ty, ColumnType::Numeric);
    assert!(columns[5].nullable);
    assert_eq!(Meter::DESCRIPTOR.columns[1].ty, ColumnType::Array(&ColumnType::BigInt));
    assert_eq!(Status::OnHold, Status::decode(Some("on_hold")).expect("a variant"));
}
