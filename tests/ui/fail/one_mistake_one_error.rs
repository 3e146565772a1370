//! A model with a mistake still is a model: its uses add no errors of their own.

use kv_runtime::{KvModel, KvValue};

#[derive(KvModel)]
#[kv(tabel = "bookings")]
struct Booking {
    #[kv(id)]
    id: i64,
    status: Status,
}

#[derive(Debug, Clone, Copy, KvValue)]
enum Status {
    Active,
    #[kv(renam = "done")]
    Done,
}

fn is_model<M: KvModel>() {}

fn main() {
    is_model::<Booking>();
    let _: BookingPatch = Booking::patch().status(Status::Done);
    let _: &str = BookingField::Status.into();
    let _: Option<&BookingRepository> = None;
    let _: <Booking as KvModel>::Id = 7_i64;
}
