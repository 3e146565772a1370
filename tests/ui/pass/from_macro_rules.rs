//! A `macro_rules!` may write the model.

#![deny(warnings)]

use kv_runtime::KvModel;

diesel::table! {
    bookings (id) {
        id -> BigInt,
        fare -> BigInt,
    }
}

macro_rules! model {
    ($name:ident, $table:path, $prefix:literal, $ttl:literal, $($field:ident: $ty:ty),*) => {
        #[derive(KvModel)]
        #[kv(table = $table, key_prefix = $prefix, ttl = $ttl, partition_by = id)]
        struct $name {
            #[kv(id)]
            id: i64,
            $($field: $ty),*
        }
    };
}

model!(Booking, crate::from_macro_rules::bookings, "ride", 900, fare: i64);

#[test]
fn it_is_taken() {
    assert_eq!(Booking::DESCRIPTOR.table, "bookings");
    assert_eq!(Booking::DESCRIPTOR.key_prefix, "ride");
    let _ = Booking::patch().fare(1);
}
