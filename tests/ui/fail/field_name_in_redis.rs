//! A field's name in Redis cannot be taken for one of the row's own.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(rename = "@v")]
    version: i64,
    #[kv(rename = "")]
    empty: i64,
    #[kv(rename = "driver id")]
    driver_id: i64,
    #[kv(rename = "a,b")]
    comma: i64,
}

fn main() {}
