//! The version of a row is an `i64` that the runtime sets.

use kv_runtime::{Kv, KvModel};

#[derive(KvModel)]
struct Small {
    #[kv(id)]
    id: i64,
    #[kv(version)]
    version: i32,
}

#[derive(KvModel)]
struct Nullable {
    #[kv(id)]
    id: i64,
    #[kv(version)]
    version: Option<i64>,
}

#[derive(KvModel)]
struct Versioned {
    #[kv(id)]
    id: i64,
    #[kv(version)]
    change_number: i64,
}

#[derive(KvModel)]
struct Plain {
    #[kv(id)]
    id: i64,
    seats: i32,
}

fn main() {
    let _ = Versioned::patch().change_number(1);
    let plain = Kv::memory().repository::<Plain>();
    let _ = plain.update_if(&1, 1, Plain::patch().seats(2));
}
