//! A setter is as visible as its field, and no more than the struct; so is a field of a new row.

mod bookings {
    #[derive(kv_runtime::KvModel)]
    pub struct Booking {
        #[kv(id)]
        pub id: i64,
        fare: i64,
        pub(self) tip: i64,
        #[kv(default = 2)]
        pub seats: i64,
    }

    #[derive(kv_runtime::KvModel)]
    struct Draft {
        #[kv(id)]
        pub id: i64,
        #[kv(default = 2)]
        pub seats: i64,
    }
}

fn main() {
    let _ = bookings::Booking::patch().fare(7);
    let _ = bookings::Booking::patch().tip(7);
    let _ = |new: bookings::NewBooking| (new.id, new.fare, new.tip);
    let _ = bookings::NewDraft { id: 7 };
}
