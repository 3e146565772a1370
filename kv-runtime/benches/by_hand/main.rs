//! The benchmark: the framework beside the same work written by hand, in one run on one machine.
//!
//! `cargo bench -p kv-runtime --features testing` starts private servers (PostgreSQL with fsync),
//! runs every contender in turn for several rounds, and prints medians, spread and ratios; the
//! same as JSON goes to `target/bench/summary.json`. It measures and judges nothing.
//!
//! Options: `--rounds N` (default 5), `--rows N` (default 20,000), `--smoke` (one round, 500 rows).

mod contenders;
mod drained;
mod report;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use kv_runtime::testing::{PostgresOptions, PostgresServer, RedisServer};
use kv_runtime::{Kv, KvModel, Settings};
use uuid::Uuid;

use self::contenders::ByHand;
use self::report::Report;

/// Six columns, about 130 bytes.
#[derive(Debug, Clone, PartialEq, KvModel)]
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

/// Any error: a benchmark that cannot run says why and ends.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Rows that differ.
pub(crate) fn rides(count: usize) -> Vec<Ride> {
    // Both sides keep microseconds.
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
async fn rate<F: Future<Output = ()>>(
    rows: &[Ride],
    in_flight: usize,
    one: impl Fn(Ride) -> F,
) -> f64 {
    let started = Instant::now();
    stream::iter(rows.iter().cloned()).map(one).buffer_unordered(in_flight).count().await;
    rows.len() as f64 / started.elapsed().as_secs_f64()
}

struct Options {
    rounds: usize,
    rows: usize,
}

impl Options {
    fn from_args() -> Outcome<Self> {
        let mut options = Self { rounds: 5, rows: 20_000 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || -> Outcome<usize> {
                let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                Ok(value.parse()?)
            };
            match arg.as_str() {
                "--rounds" => options.rounds = number()?,
                "--rows" => options.rows = number()?,
                "--smoke" => options = Self { rounds: 1, rows: 500 },
                // What cargo itself passes.
                "--bench" => {}
                other => return Err(format!("unknown option `{other}`").into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::from_args()?;
    let redis = RedisServer::start()?;
    let postgres = PostgresServer::start_with(PostgresOptions::new().fsync(true))?;
    let mut report = Report::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        writes_and_reads(&options, &redis, &postgres, round, &mut report).await?;
        // More of them, so that the first read and the last settling do not weigh much.
        drained::run(options.rows * 5, &redis, &postgres, round, &mut report).await?;
    }
    report.print();
    report.write_json()?;
    Ok(())
}

async fn writes_and_reads(
    options: &Options,
    redis: &RedisServer,
    postgres: &PostgresServer,
    round: usize,
    report: &mut Report,
) -> Outcome<()> {
    let by_hand = ByHand::connect(redis.url()).await?;
    let mut settings = Settings::new(redis.url(), postgres.url());
    settings.redis.connections = 1;
    settings.tenant = Some(format!("w{round}"));
    let kv = Kv::connect(settings).await?;
    let repository = kv.repository::<Ride>();

    for in_flight in [1, 64, 256] {
        let count = if in_flight == 1 { options.rows / 10 } else { options.rows };
        let row = format!("create, {in_flight} in flight");
        let rows = rides(count);
        let hand = rate(&rows, in_flight, |ride| by_hand.create(ride)).await;
        report.add(&row, "MULTI HSET XADD EXEC", hand);
        let rows = rides(count);
        let ours = rate(&rows, in_flight, |ride| {
            let repository = repository.clone();
            async move {
                let _ = repository.create(&ride).await.expect("a new row");
            }
        })
        .await;
        report.add(&row, "kv-runtime", ours);

        let row = format!("get, {in_flight} in flight");
        for ride in &rows {
            by_hand.create(ride.clone()).await;
        }
        let hand = rate(&rows, in_flight, |ride| by_hand.get(ride)).await;
        report.add(&row, "HGETALL", hand);
        let ours = rate(&rows, in_flight, |ride| {
            let repository = repository.clone();
            async move {
                assert_eq!(repository.get_by_id(&ride.id).await.expect("the row"), ride);
            }
        })
        .await;
        report.add(&row, "kv-runtime", ours);
    }

    let rows = rides(options.rows);
    let started = Instant::now();
    for chunk in rows.chunks(100) {
        by_hand.create_many(chunk).await?;
    }
    report.add("create_many of 100", "one pipeline", per_second(rows.len(), started.elapsed()));
    let rows = rides(options.rows);
    let started = Instant::now();
    for chunk in rows.chunks(100) {
        for result in repository.create_many(chunk).await {
            let _ = result?;
        }
    }
    report.add("create_many of 100", "kv-runtime", per_second(rows.len(), started.elapsed()));
    by_hand.flush_all().await
}

/// Rows per second.
pub(crate) fn per_second(rows: usize, elapsed: Duration) -> f64 {
    rows as f64 / elapsed.as_secs_f64()
}
