//! Writers flat out beside one drainer process: how far it is behind, what hot rows cost, and what
//! memory it takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv_runtime::{Kv, Settings};
use rand_distr::{Distribution, Zipf};

use crate::drain::queue;
use crate::drainer::Drainer;
use crate::percentile::Latencies;
use crate::report::{Goal, LagSample, OURS, Report, Row};
use crate::ride::{Ride, rides};
use crate::{Bench, Outcome, durable, process};

const WRITERS: usize = 64;
const HOT_ROWS: usize = 1_000;
/// Writes a second of a service that is not in a hurry.
const FEW: u64 = 500;
const SAMPLE: Duration = Duration::from_millis(500);
/// How much longer the queue is than `--rows` for the drainer's memory.
const BACKLOG: usize = 50;

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    lag(bench, report).await?;
    for interval_ms in [100, 500] {
        lag_of_few(bench, interval_ms, report).await?;
    }
    hot_rows(bench, report).await?;
    memory(bench, report).await
}

/// A pair, and the variables by which a process gets the same.
async fn pair(bench: &Bench, name: &str) -> Outcome<(Kv, Vec<(&'static str, String)>)> {
    let url = durable::database(bench, name).await?;
    let tenant = format!("{name}-{}", bench.round);
    let variables = vec![
        ("REDIS_URL", bench.redis.url().to_owned()),
        ("DATABASE_URL", url.clone()),
        ("KV_TENANT", tenant.clone()),
        ("KV_CHECKS_PERSISTENCE", "off".to_owned()),
    ];
    let mut settings = Settings::new(bench.redis.url(), url.as_str());
    settings.tenant = Some(tenant);
    settings.queue_capacity = 10_000_000;
    let kv = Kv::connect(settings).await?;
    kv.migrate().await?;
    Ok((kv, variables))
}

async fn lag(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let (kv, variables) = pair(bench, "sustained").await?;
    let repository = kv.repository::<Ride>();
    let drainer = Drainer::start(&variables)?;
    let (written, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let writer = async |_| {
        while !is_over.load(Ordering::Relaxed) {
            for ride in rides(10) {
                let _ = repository.create(&ride).await.expect("a new row");
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let watcher = async {
        let samples = watch(&kv, bench.options.seconds(), &written).await;
        is_over.store(true, Ordering::Relaxed);
        samples
    };
    let (samples, _) = tokio::join!(watcher, join_all((0..WRITERS).map(writer)));
    let samples = samples?;
    drainer.finish().await?;

    // Of the second half: the first has the drainer's start.
    let (half, end) = (samples[samples.len() / 2], samples[samples.len() - 1]);
    let written = end.written - half.written;
    let drained = written - (end.sample.undrained - half.sample.undrained);
    let row = Row::new("sustained: drained to written", "ratio", Goal::AtLeast(1.0));
    report.add(&row, OURS, drained / written);
    let row = Row::new("sustained: lag at the end", "ms", Goal::None);
    report.add(&row, OURS, end.sample.lag);
    let row = Row::new("sustained: writes", "rows/s", Goal::None);
    report.add(&row, OURS, written / (end.sample.at - half.sample.at));
    report.lag = samples.into_iter().map(|watched| watched.sample).collect();
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    sample: LagSample,
    written: f64,
}

async fn watch(kv: &Kv, seconds: u64, written: &AtomicU64) -> Outcome<Vec<Watched>> {
    let queues = kv.queues().model::<Ride>();
    let started = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE);
    let mut samples = Vec::new();
    while started.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
        let written = written.load(Ordering::Relaxed) as f64;
        let status = queues.status().await?;
        let sample = LagSample {
            at: started.elapsed().as_secs_f64(),
            lag: status.lag.as_secs_f64() * 1_000.0,
            undrained: status.undrained as f64,
        };
        samples.push(Watched { sample, written });
    }
    Ok(samples)
}

/// The lag beside a drainer that has time to wait for more.
async fn lag_of_few(bench: &Bench, interval_ms: u64, report: &mut Report) -> Outcome<()> {
    let (kv, mut variables) = pair(bench, &format!("interval_{interval_ms}")).await?;
    variables.push(("KV_DRAIN_INTERVAL_MS", interval_ms.to_string()));
    let drainer = Drainer::start(&variables)?;
    let (repository, queues) = (kv.repository::<Ride>(), kv.queues().model::<Ride>());
    let rows = rides((FEW * bench.options.seconds().div_ceil(6)) as usize);
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / FEW));
    let mut lags = Latencies::new();
    for (number, ride) in rows.iter().enumerate() {
        ticks.tick().await;
        let _ = repository.create(ride).await?;
        if number % 10 == 0 {
            lags.add(queues.status().await?.lag);
        }
    }
    drainer.finish().await?;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let row = format!("lag at {FEW} writes/s, interval {interval_ms} ms: {name}");
        report.add(&Row::new(row, "ms", Goal::None), OURS, lags.at(quantile));
    }
    Ok(())
}

async fn hot_rows(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let (kv, variables) = pair(bench, "hot").await?;
    let repository = kv.repository::<Ride>();
    let rows = rides(HOT_ROWS);
    queue(&kv, &rows, &[], &[]).await?;
    let first = Drainer::start(&variables)?;
    first.finish().await?;

    let drainer = Drainer::start(&variables)?;
    let chosen = Zipf::new(HOT_ROWS as f64, 0.99)?;
    let until = Instant::now() + Duration::from_secs(bench.options.seconds().div_ceil(6));
    let writer = async |number: usize| {
        let mut fare = number as i64;
        while Instant::now() < until {
            let rank = chosen.sample(&mut rand::rng()) as usize;
            fare += 1;
            let patch = Ride::patch().fare_cents(fare);
            let _ = repository.update(&rows[rank - 1].id, patch).await.expect("the row is there");
        }
    };
    join_all((0..WRITERS).map(writer)).await;
    let done = drainer.finish().await?;
    let row = Row::new("hot rows: written to updated", "ratio", Goal::AtMost(0.05));
    report.add(&row, OURS, done.rows as f64 / done.entries as f64);
    Ok(())
}

async fn memory(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let (kv, variables) = pair(bench, "memory").await?;
    let chunk = bench.options.rows();
    for _ in 0..BACKLOG {
        queue(&kv, &rides(chunk), &[], &[]).await?;
    }
    let drainer = Drainer::start(&variables)?;
    let id = drainer.id()?;
    let queues = kv.queues().model::<Ride>();
    let drained = queues.wait_until_drained();
    tokio::pin!(drained);
    let mut most = 0_f64;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            done = &mut drained => break done?,
            _ = ticks.tick() => most = most.max(process::megabytes(id)?),
        }
    }
    drainer.finish().await?;
    let entries = BACKLOG * chunk;
    let name = format!("drainer's memory, {entries} entries behind");
    report.add(&Row::new(name, "MB", Goal::AtMost(100.0)), OURS, most);
    Ok(())
}
