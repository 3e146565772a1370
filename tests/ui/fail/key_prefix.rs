//! A prefix and a queue are parts of keys, where some characters have a meaning.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(key_prefix = "acme:booking", queue = "ride{7}")]
struct Booking {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(key_prefix = "", queue = "a b")]
struct Empty {
    #[kv(id)]
    id: i64,
}

fn main() {}
