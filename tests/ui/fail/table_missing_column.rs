//! A field without a column in the `table!` is one error, at the field or at its `column`.

use kv_runtime::KvModel;

diesel::table! {
    bookings (id) {
        id -> BigInt,
        driver_id -> BigInt,
        fare -> Integer,
    }
}

#[derive(KvModel)]
#[kv(table = bookings)]
struct Booking {
    #[kv(id)]
    id: i64,
    driver: i64,
    #[kv(column = "fares")]
    fare: i32,
}

#[derive(KvModel)]
#[kv(table = bookings)]
struct NoIdentifier {
    #[kv(id)]
    id: i64,
    #[kv(column = "driver id")]
    driver: i64,
}

fn main() {}
