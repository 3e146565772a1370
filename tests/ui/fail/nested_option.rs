//! A column has one NULL.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    driver: Option<Option<i64>>,
    note: std::option::Option<Option<String>>,
}

fn main() {
    let _ = Booking::patch().driver(None);
}
