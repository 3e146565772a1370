//! Creates rows by `redis-om`, as hashes, and reads them back; prints how many a second of each.
//!
//! `kv-bench-redis-om <URL of Redis> <rows> <in flight>`; the benchmark builds and runs it.

use std::env;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use redis_om::HashModel;
use redis_om::redis::Client;
use redis_om::redis::aio::MultiplexedConnection;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The row of the other contenders, of types that this crate has.
#[derive(Debug, Clone, PartialEq, HashModel)]
#[redis(prefix_key = "redis-om")]
struct Ride {
    id: String,
    rider: String,
    status: String,
    fare_cents: i64,
    seats: i32,
    created_at: String,
}

fn ride(number: usize) -> Ride {
    Ride {
        id: format!("0198c0de-0000-7000-8000-{number:012}"),
        rider: format!("rider number {number:08} of this city"),
        status: "requested".to_owned(),
        fare_cents: 1_250 + number as i64 % 977,
        seats: 1 + number as i32 % 4,
        created_at: "2026-11-22T12:00:00.000000Z".to_owned(),
    }
}

/// Rows a second, so many at a time.
async fn rate<F: Future<Output = ()>>(
    rows: &[Ride],
    in_flight: usize,
    one: impl Fn(Ride) -> F,
) -> f64 {
    let started = Instant::now();
    stream::iter(rows.iter().cloned()).map(one).buffer_unordered(in_flight).count().await;
    rows.len() as f64 / started.elapsed().as_secs_f64()
}

async fn create(mut connection: MultiplexedConnection, mut ride: Ride) {
    ride.save(&mut connection).await.expect("the server is up");
}

async fn get(mut connection: MultiplexedConnection, ride: Ride) {
    assert_eq!(Ride::get(&ride.id, &mut connection).await.expect("the row"), ride);
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, rows, in_flight] = &arguments[..] else {
        return Err("it takes the URL of Redis, the number of rows and how many at a time".into());
    };
    let rows: Vec<Ride> = (0..rows.parse()?).map(ride).collect();
    let in_flight = in_flight.parse()?;
    let connection = Client::open(url.as_str())?.get_multiplexed_tokio_connection().await?;
    let created = rate(&rows, in_flight, |ride| create(connection.clone(), ride)).await;
    let read = rate(&rows, in_flight, |ride| get(connection.clone(), ride)).await;
    println!("{created} {read}");
    Ok(())
}
