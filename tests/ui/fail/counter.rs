//! A counter is an integer that is never NULL.

use kv_runtime::{Kv, KvModel};

#[derive(KvModel)]
struct Bucket {
    #[kv(id)]
    id: i64,
    files: Option<i64>,
    name: String,
    size: u64,
}

fn main() {
    let buckets = Kv::memory().repository::<Bucket>();
    let _ = buckets.increment(&1, |bucket| bucket.files, 1);
    let _ = buckets.increment(&1, |bucket| bucket.name, 1);
    let _ = buckets.increment(&1, |bucket| bucket.size, 1);
}
