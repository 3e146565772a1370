//! Every model has an id; a field of that name is pointed at.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    id: i64,
    fare: i64,
}

#[derive(KvModel)]
struct Flight {
    number: i64,
}

#[derive(KvModel)]
struct Empty {}

fn main() {}
