//! Two fields cannot share a name in Redis or a column.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(rename = "id")]
    number: i64,
    #[kv(rename = "state")]
    status: i64,
    state: i64,
    #[kv(column = "fare")]
    price: i64,
    fare: i64,
}

fn main() {}
