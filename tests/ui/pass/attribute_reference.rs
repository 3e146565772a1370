//! Every form in the attribute reference of the derives.

#![deny(warnings)]

use kv_runtime::{KvModel, KvValue};

mod schema {
    pub mod sql_types {
        #[derive(diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
        #[diesel(postgres_type(name = "booking_status"))]
        pub struct BookingStatus;
    }

    diesel::table! {
        use diesel::sql_types::*;
        use super::sql_types::BookingStatus;

        bookings (merchant_id, id) {
            merchant_id -> BigInt,
            id -> BigInt,
            status -> BookingStatus,
            driver -> Nullable<Text>,
        }
    }
}

#[derive(KvModel)]
#[kv(table = schema::bookings, table_name = "rides.bookings")]
#[kv(key_prefix = "ride", queue = "rides", partition_by = merchant_id)]
#[kv(references(merchant_id, id, to = "rides.trips(merchant_id, id)"), check = "id > 0")]
#[kv(ttl = "15m", durability = "replicated(1, 100ms)", crate = ::kv_runtime)]
struct Booking {
    #[kv(id)]
    merchant_id: i64,
    #[kv(id, fresh)]
    id: i64,
    #[kv(rename = "s")]
    status: BookingStatus,
    #[kv(column = "driver", rename = "d", references = "drivers(name)")]
    driver_name: Option<String>,
}

#[derive(KvModel)]
struct Payment {
    #[kv(id, fresh)]
    id: i64,
    #[kv(column_type = "numeric(12, 2)")]
    amount: Option<rust_decimal::Decimal>,
}

#[derive(Debug, Clone, Copy, KvValue)]
#[kv(pg_type = "booking_status", sql_type = schema::sql_types::BookingStatus)]
enum BookingStatus {
    Active,
    #[kv(rename = "on_hold")]
    Held,
}

#[derive(Debug, Clone, KvValue)]
#[kv(crate = "::kv_runtime")]
struct Reference(String);

#[test]
fn it_is_taken() {
    let model = Booking::DESCRIPTOR;
    assert_eq!(model.table, "rides.bookings");
    assert_eq!((model.key_prefix, model.queue), ("ride", "rides"));
    assert_eq!((model.partition_by, model.id_is_fresh), (&[0][..], true));
    assert_eq!(model.columns[3].column, "driver");
    assert_eq!(model.columns[3].name, "d");
    assert_eq!(model.references[0].table, "drivers");
    assert_eq!(model.references[1].targets, ["merchant_id", "id"]);
    assert_eq!(model.checks, ["id > 0"]);
    let _ = Booking::patch().status(BookingStatus::Held);
    let bounds = Payment::DESCRIPTOR.columns[1].numeric.expect("it has them");
    assert_eq!((bounds.precision, bounds.scale), (12, 2));
}
