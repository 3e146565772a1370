//! A durability is a mode with what it waits for.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(durability = "slow")]
struct Unknown {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(durability = "replicated(1)")]
struct WithoutTime {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(durability = "replicated(0, 1s)")]
struct WithoutReplica {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(durability = fsynced(1s))]
struct Unquoted {
    #[kv(id)]
    id: i64,
}

fn main() {}
