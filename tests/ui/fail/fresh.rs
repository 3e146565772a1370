//! `fresh` is about ids.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(fresh)]
    number: i64,
}

fn main() {}
