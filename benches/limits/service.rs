//! A service's creates, against Diesel straight to PostgreSQL.

use std::time::Instant;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use futures_util::stream::{self, StreamExt};

use crate::drain::own_pair;
use crate::percentile::Latencies;
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, per_second, rides};
use crate::{Bench, Outcome, durable, process};

const IN_FLIGHT: usize = 64;
const POOL: u32 = 32;
const DIESEL: &str = "diesel-async, pool of 32";

/// What a contender's service does.
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let rows = rides(bench.options.rows());
    for (name, figures) in [(DIESEL, diesel(bench, &rows).await?), (OURS, own(bench, &rows).await?)]
    {
        let row = |what: &str, unit, goal| {
            Row::new(format!("service, {IN_FLIGHT} in flight: {what}"), unit, goal)
        };
        report.add(&row("throughput", "rows/s", Goal::AtLeast(3.0)), name, figures.rate);
        report.add(&row("p50", "ms", Goal::None), name, figures.p50);
        report.add(&row("p99", "ms", Goal::AtMost(0.33)), name, figures.p99);
        let cpu = row("CPU of PostgreSQL", "µs/row", Goal::AtMost(0.33));
        report.add(&cpu, name, figures.cpu);
    }
    Ok(())
}

async fn diesel(bench: &Bench, rows: &[Ride]) -> Outcome<Figures> {
    let url = durable::database(bench, "service").await?;
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
    // All of them at once, so that none is opened while it is measured.
    let pool = bb8::Pool::builder().max_size(POOL).min_idle(POOL).build(manager).await?;
    measure(bench, rows, async |ride| {
        let mut connection = pool.get().await.expect("a connection");
        durable::insert(&mut connection, &ride).await.expect("a new row");
    })
    .await
}

/// With its drainer, whose work is PostgreSQL's.
async fn own(bench: &Bench, rows: &[Ride]) -> Outcome<Figures> {
    let kv = own_pair(bench, "service", |_| ()).await?;
    let repository = kv.repository::<Ride>();
    let drainer = kv.drainer().model::<Ride>().spawn();
    let cpu = process::cpu_seconds(process::postmaster(bench).await?)?;
    let figures = measure(bench, rows, async |ride| {
        let _ = repository.create(&ride).await.expect("a new row");
    });
    let figures = figures.await?;
    drainer.flush().await?;
    let cpu = process::cpu_seconds(process::postmaster(bench).await?)? - cpu;
    drainer.shutdown().await?;
    Ok(Figures { cpu: cpu * 1e6 / rows.len() as f64, ..figures })
}

async fn measure(bench: &Bench, rows: &[Ride], create: impl AsyncFn(Ride)) -> Outcome<Figures> {
    let postmaster = process::postmaster(bench).await?;
    let cpu = process::cpu_seconds(postmaster)?;
    let started = Instant::now();
    let timed = stream::iter(rows.iter().cloned()).map(async |ride| {
        let started = Instant::now();
        create(ride).await;
        started.elapsed()
    });
    let add = async |mut latencies: Latencies, latency| {
        latencies.add(latency);
        latencies
    };
    let latencies = timed.buffer_unordered(IN_FLIGHT).fold(Latencies::new(), add).await;
    let rate = per_second(rows.len(), started);
    let cpu = process::cpu_seconds(postmaster)? - cpu;
    let (p50, p99) = (latencies.at(0.5), latencies.at(0.99));
    Ok(Figures { rate, p50, p99, cpu: cpu * 1e6 / rows.len() as f64 })
}
