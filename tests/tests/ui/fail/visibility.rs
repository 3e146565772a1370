//! A setter is as visible as its field, and no more than the struct.

mod bookings {
    #[derive(kv_runtime::KvModel)]
    pub struct Booking {
        #[kv(id)]
        pub id: i64,
        fare: i64,
        pub(self) tip: i64,
    }
}

fn main() {
    let _ = bookings::Booking::patch().fare(7);
    let _ = bookings::Booking::patch().tip(7);
}
