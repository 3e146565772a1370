//! A struct without the derive is told of it.

use kv_runtime::{KvModel, KvValue};

struct Booking;

fn is_model<M: KvModel>() {}
fn is_value<V: KvValue>() {}

fn main() {
    is_model::<Booking>();
    is_value::<Booking>();
}
