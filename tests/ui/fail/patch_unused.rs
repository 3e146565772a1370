//! A patch that goes nowhere is a mistake.

#![deny(unused_must_use)]

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    fare: i64,
}

fn main() {
    Booking::patch().fare(7);
}
