//! Writes migrations for the tables of models, as a program of your own would with yours.
//!
//! ```sh
//! cargo run --example schema -- print
//! cargo run --example schema -- new --migrations target/migrations
//! cargo run --example schema -- diff --database-url postgres://localhost/rides
//! cargo run --example schema -- diff --database-url postgres://localhost/rides --tenant acme
//! ```

use std::process::ExitCode;

use kv_runtime::schema::Schema;
use kv_runtime::{KvModel, KvValue};

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "drivers")]
struct Driver {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    licence: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bookings", check = "fare_cents >= 0")]
#[kv(unique(driver_id, when = "status = 'on_trip'"))]
struct Booking {
    #[kv(id, fresh)]
    id: i64,
    #[kv(references = "drivers(id)")]
    driver_id: Option<i64>,
    #[kv(index)]
    status: BookingStatus,
    fare_cents: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
#[kv(pg_type = "booking_status")]
enum BookingStatus {
    Requested,
    OnTrip,
    Completed,
}

#[tokio::main]
async fn main() -> ExitCode {
    Schema::new().model::<Driver>().model::<Booking>().main().await
}
