//! A patch has a setter for each field but those of the id, and each takes the field's type.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    driver_id: Option<i64>,
    fare: i64,
    reference: String,
    note: Option<String>,
}

fn main() {
    let _ = Booking::patch().colour("red");
    let _ = Booking::patch().fare("12.50");
    let _ = Booking::patch().driver_id(7);
    let _ = Booking::patch().fare(None);
    let _ = Booking::patch().id(7);
    let _ = Booking::patch().reference(7);
    let _ = Booking::patch().note(7);
}
