//! A misspelled attribute is answered with the one that was meant, others with what there is.

use kv_runtime::{KvModel, KvValue};

#[derive(KvModel)]
#[kv(tabel = "bookings", keyprefix = "booking")]
struct Misspelled {
    #[kv(id)]
    id: i64,
    #[kv(renmae = "driver")]
    driver_id: i64,
}

#[derive(KvModel)]
#[kv(colour = "red")]
struct Unknown {
    #[kv(id)]
    id: i64,
    #[kv(primary)]
    driver_id: i64,
}

#[derive(KvModel)]
#[kv(id)]
struct Misplaced {
    #[kv(id, ttl = 900)]
    id: i64,
}

#[derive(Debug, KvValue)]
#[kv(rename = "state")]
enum Status {
    #[kv(pgtype = "x", pg_type = "status")]
    Active,
}

fn main() {}
