//! A value of the wrong kind is answered with the right form.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv]
#[kv()]
#[kv = "bookings"]
#[kv(table = 5, key_prefix = booking, crate = 7)]
struct Booking {
    #[kv(id = true, column = driver, rename)]
    id: i64,
    #[kv(id, fresh("yes"))]
    number: i64,
}

#[derive(KvModel)]
#[kv(table =, queue "ride", "ttl")]
struct Syntax {
    #[kv(id rename = "x")]
    id: i64,
}

fn main() {}
