//! The row that most sections write, and how it is measured.

use std::time::Instant;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use kv_runtime::KvModel;
use redis_macros::{FromRedisValue, ToRedisArgs};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Six columns, about 130 bytes.
#[derive(Debug, Clone, PartialEq, KvModel, Serialize, Deserialize, ToRedisArgs, FromRedisValue)]
#[kv(table = "rides")]
pub(crate) struct Ride {
    #[kv(id)]
    pub(crate) id: Uuid,
    pub(crate) rider: String,
    pub(crate) status: String,
    pub(crate) fare_cents: i64,
    pub(crate) seats: i32,
    pub(crate) created_at: DateTime<Utc>,
}

pub(crate) const TABLE: &str = "CREATE TABLE rides (id uuid PRIMARY KEY, rider text NOT NULL, \
    status text NOT NULL, fare_cents bigint NOT NULL, seats integer NOT NULL, \
    created_at timestamptz NOT NULL)";

/// Rows that differ.
pub(crate) fn rides(count: usize) -> Vec<Ride> {
    // All sides keep microseconds.
    let now = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap_or_default();
    let ride = |number: usize| Ride {
        id: Uuid::now_v7(),
        rider: format!("rider number {number:08} of this city"),
        status: "requested".to_owned(),
        fare_cents: 1_250 + number as i64 % 977,
        seats: 1 + number as i32 % 4,
        created_at: now,
    };
    (0..count).map(ride).collect()
}

/// Runs one future a row, so many at a time, and answers rows per second.
pub(crate) async fn rate<F: Future<Output = ()>>(
    rows: &[Ride],
    in_flight: usize,
    one: impl Fn(Ride) -> F,
) -> f64 {
    let started = Instant::now();
    stream::iter(rows.iter().cloned()).map(one).buffer_unordered(in_flight).count().await;
    per_second(rows.len(), started)
}

/// Rows per second since then.
pub(crate) fn per_second(rows: usize, started: Instant) -> f64 {
    rows as f64 / started.elapsed().as_secs_f64()
}
