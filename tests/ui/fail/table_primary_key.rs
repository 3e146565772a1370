//! The id is the `table!`'s primary key, in its order: Diesel would else find other rows.

use kv_runtime::KvModel;

diesel::table! {
    bookings (id) {
        id -> BigInt,
        number -> BigInt,
    }
}

diesel::table! {
    legs (merchant_id, number) {
        merchant_id -> BigInt,
        number -> BigInt,
    }
}

#[derive(KvModel)]
#[kv(table = bookings)]
struct Booking {
    id: i64,
    #[kv(id)]
    number: i64,
}

#[derive(KvModel)]
#[kv(table = legs)]
struct Leg {
    #[kv(id)]
    number: i64,
    #[kv(id)]
    merchant_id: i64,
}

fn main() {}
