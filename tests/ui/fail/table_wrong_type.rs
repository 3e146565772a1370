//! A field that does not fit the `table!` is one error, at the field's type.

use kv_runtime::KvModel;

diesel::table! {
    bookings (id) {
        id -> BigInt,
        reference -> Text,
        driver_id -> Nullable<BigInt>,
        fare -> Integer,
    }
}

#[derive(KvModel)]
#[kv(table = bookings)]
struct Booking {
    #[kv(id)]
    id: i64,
    reference: i32,
    driver_id: i64,
    fare: Option<i32>,
}

fn main() {}
