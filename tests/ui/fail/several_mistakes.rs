//! All mistakes of a struct are reported in one go, each at its token.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(table = "", key_prefix = "book:ing", queue = "ride queue", ttl = "soon", retry = 3)]
#[kv(partition_by = merchant_id)]
struct Booking {
    id: i64,
    merchant_id: i64,
    #[kv(rename = "@status", column = "state")]
    status: String,
    #[kv(rename = "@status", column = "state", colum = "x")]
    state: String,
}

fn main() {}
