//! The partition must follow from the id.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(partition_by = merchant_id)]
struct NotInTheId {
    #[kv(id)]
    id: i64,
    merchant_id: i64,
}

#[derive(KvModel)]
#[kv(partition_by(merchant, id, id))]
struct Misspelled {
    #[kv(id)]
    id: i64,
    #[kv(id)]
    merchant_id: i64,
}

#[derive(KvModel)]
#[kv(partition_by())]
struct Empty {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(partition_by = "id")]
struct Quoted {
    #[kv(id)]
    id: i64,
}

fn main() {}
