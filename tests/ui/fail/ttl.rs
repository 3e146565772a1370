//! A time to live is a whole number with a unit.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(ttl = "15 minutes")]
struct Words {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(ttl = 0)]
struct Zero {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(ttl = 1.5)]
struct Fraction {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(ttl = 15u64)]
struct Suffix {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(ttl = "99999d")]
struct Centuries {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(ttl)]
struct Nothing {
    #[kv(id)]
    id: i64,
}

fn main() {}
