//! What a storage scheme can be.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(scheme = "write_around")]
struct Unknown {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(scheme = PostgresOnly)]
struct NoText {
    #[kv(id)]
    id: i64,
}

fn main() {}
