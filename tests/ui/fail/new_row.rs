//! What is filled in of a new row, and what has to be given.

use kv_runtime::{Kv, KvModel};

#[derive(KvModel)]
struct Misplaced {
    #[kv(id)]
    id: i64,
    #[kv(serial)]
    number: i64,
    #[kv(version, default = 1)]
    version: i64,
    #[kv(default)]
    status: String,
}

#[derive(KvModel)]
struct Twice {
    #[kv(id, serial, default = 7)]
    id: i64,
}

#[derive(KvModel)]
struct OneOfTwo {
    #[kv(id)]
    tenant: i64,
    #[kv(id, serial)]
    number: i64,
}

#[derive(KvModel)]
struct Text {
    #[kv(id, serial)]
    id: String,
}

#[derive(KvModel)]
struct WrongDefault {
    #[kv(id)]
    id: i64,
    #[kv(default = "new")]
    status: String,
}

#[derive(KvModel)]
struct Booking {
    #[kv(id, serial)]
    id: i64,
    reference: String,
}

#[derive(KvModel)]
struct Plain {
    #[kv(id)]
    id: i64,
}

fn main() {
    let bookings = Kv::memory().repository::<Booking>();
    let _ = bookings.create_new(NewBooking {});
    let _ = bookings.create_new(Booking { id: 1, reference: String::new() });
    let plain = Kv::memory().repository::<Plain>();
    let _ = plain.next_id();
}
