//! A type that is no value is one error, at the field's type.

use kv_runtime::{KvModel, KvValue};

#[derive(Debug, Clone)]
struct Fare;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    fare: Fare,
    legs: Option<Fare>,
}

#[derive(Debug, KvValue)]
struct Price(Fare);

fn main() {
    let _ = Booking::patch().fare(Fare);
}
