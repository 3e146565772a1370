//! What PostgreSQL alone fills is NULL until it has.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct NotNull {
    #[kv(id)]
    id: i64,
    #[kv(read_only)]
    rank: i64,
}

#[derive(KvModel)]
struct Filled {
    #[kv(id, read_only)]
    id: i64,
    #[kv(version, read_only)]
    version: i64,
    #[kv(default = None, read_only)]
    rank: Option<i64>,
}

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(read_only)]
    search_rank: Option<i64>,
}

fn main() {
    let _ = Booking::patch().search_rank(Some(1));
}
