//! `fresh` is about ids.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(fresh)]
    number: i64,
}

#[derive(KvModel)]
struct Undecided {
    #[kv(id, fresh)]
    tenant: i64,
    #[kv(id)]
    shop: i64,
    #[kv(id, fresh = false)]
    number: i64,
}

#[derive(KvModel)]
struct Numbered {
    #[kv(id, serial, fresh)]
    id: i64,
}

#[derive(KvModel)]
struct NumberedOrChosen {
    #[kv(id, serial, fresh = false)]
    id: i64,
}

fn main() {}
