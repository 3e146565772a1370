//! Queries know the fields, their types, and what can be asked of each.

use kv_runtime::{KvModel, Repository};

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    driver_id: Option<i64>,
    fare: i64,
    note: String,
    stops: Vec<i64>,
    extra: serde_json::Value,
}

#[derive(KvModel)]
struct Driver {
    #[kv(id)]
    id: i64,
}

fn main() {}

fn ask(bookings: Repository<Booking>) {
    let _ = bookings.query().filter(|b| b.colour.eq(1));
    let _ = bookings.query().filter(|b| b.fare.eq("12.50"));
    let _ = bookings.query().filter(|b| b.driver_id.eq(Some(7)));
    let _ = bookings.query().filter(|b| b.fare.is_null());
    let _ = bookings.query().filter(|b| b.fare == 7);
    let _ = bookings.query().filter(|b| b.stops.eq(vec![7]));
    let _ = bookings.query().filter(|b| b.fare.like("1%"));
    let _ = bookings.query().filter(|_| Driver::FIELDS.id.eq(7));
    let _ = bookings.query().order_by(|b| b.extra.asc());
    let _ = bookings.query().order_by(|b| b.fare);
    let _ = bookings.query().sum(|b| b.note);
    let _ = bookings.query().group_by(|b| (b.fare, b.note, b.id));
    let _ = bookings.query().group_by(|b| b.extra);
}
