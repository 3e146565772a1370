//! An attribute is given once.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(table = "bookings", ttl = 900)]
#[kv(ttl = 60)]
struct Booking {
    #[kv(id, id)]
    id: i64,
}

fn main() {}
