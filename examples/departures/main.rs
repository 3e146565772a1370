//! Replays a month of flights as a live departures board, and checks what came of it.
//!
//! `cargo run --release --example departures` keeps everything in this process;
//! `-- --servers` does the same on a private Redis and PostgreSQL; `-- --help`
//! tells the rest.

mod args;
mod board;
mod input;
mod model;
mod pair;
mod replay;
mod summary;
mod totals;
mod watch;
mod writers;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures_util::{TryStreamExt, stream};
use kv_runtime::{Drainer, Kv, KvModel};

use crate::args::Args;
use crate::board::Board;
use crate::model::Flight;
use crate::pair::Pair;
use crate::replay::Replay;
use crate::summary::Summary;
use crate::totals::Totals;
use crate::watch::watch;
use crate::writers::{Pace, Progress, write_all};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(summary) if summary.agree => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("departures: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, without those that the text before already ends with.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn run(args: Args) -> Result<Summary> {
    // Now, because it would be a pity to find out after the run.
    let json = args.json.as_deref().map(create_file).transpose()?;
    let replay = Arc::new(Replay::read(&args.input)?);
    let expected = Totals::from_csv(&args.input)?;
    let pair = Pair::open(&args).await?;

    let drainer = pair.kv.drainer().model::<Flight>().spawn();
    let progress = Arc::new(Progress::default());
    let mut board = Board::new(Arc::clone(&replay), Arc::clone(&progress))?;
    let room = make_room(&pair.kv, &drainer, args.reset);
    watch(&mut board, &drainer, &progress, room).await?;

    let pace = Pace { in_flight: args.in_flight.into(), rate: args.rate };
    let before = drainer.status().await?;
    let start = Instant::now();
    let flights = pair.kv.repository();
    let writing = write_all(flights, Arc::clone(&replay), pace, Arc::clone(&progress));
    let latencies = watch(&mut board, &drainer, &progress, writing).await?;
    let write_time = progress.write_time();
    let lag_last = drainer.status().await?.lag;
    let drained = watch(&mut board, &drainer, &progress, drainer.flush()).await;
    let drain_time = start.elapsed();
    drop(board);
    drained.context("what was written could not be drained")?;
    let after = drainer.shutdown().await.context("the drainer could not stop in order")?;

    let rows = pair.kv.durable_rows::<Flight>().await;
    let totals = Totals::from_rows(&rows.context("the durable side cannot be read")?);
    let differences = expected.differences(&totals);
    let (write_seconds, drain_seconds) = (write_time.as_secs_f64(), drain_time.as_secs_f64());
    let entries_drained = after.entries_drained - before.entries_drained;
    let rows_drained = after.rows_written - before.rows_written;
    let summary = Summary {
        pair: pair.name,
        input: args.input.display().to_string(),
        flights: replay.flights.len() as u64,
        in_flight: pace.in_flight,
        rate: pace.rate,
        writes: latencies.len(),
        write_seconds,
        writes_per_second: latencies.len() as f64 / write_seconds,
        write_p50_ms: milliseconds(Duration::from_nanos(latencies.value_at_quantile(0.5))),
        write_p99_ms: milliseconds(Duration::from_nanos(latencies.value_at_quantile(0.99))),
        write_max_ms: milliseconds(Duration::from_nanos(latencies.max())),
        waits_for_room: progress.waited.load(Ordering::Relaxed),
        drain_seconds,
        entries_drained,
        entries_drained_per_second: entries_drained as f64 / drain_seconds,
        entries_folded: after.entries_folded - before.entries_folded,
        rows_drained,
        rows_drained_per_second: rows_drained as f64 / drain_seconds,
        batches: after.batches - before.batches,
        lag_max_ms: milliseconds(after.lag_max),
        lag_last_ms: milliseconds(lag_last),
        agree: differences.is_empty(),
        totals,
        differences,
    };
    println!("{summary}");
    if let Some(file) = json {
        summary.write_json(file).context("the summary cannot be written as JSON")?;
    }
    Ok(summary)
}

fn create_file(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("--json: cannot write {}", path.display()))
}

/// Sees to it that the table is empty: what stands there is deleted only when that was asked for.
async fn make_room(kv: &Kv, drainer: &Drainer, reset: bool) -> Result<()> {
    let flushed = drainer.flush().await;
    flushed.context("what an earlier run left in Redis could not be drained")?;
    let rows = kv.durable_rows::<Flight>().await.context("the table `flights` cannot be read")?;
    ensure!(
        reset || rows.is_empty(),
        "the table `flights` already has {} rows: give an empty database, or --reset to delete them",
        rows.len()
    );
    // By the repository, so that Redis forgets them too.
    let flights = &kv.repository::<Flight>();
    stream::iter(rows.into_iter().map(Ok))
        .try_for_each_concurrent(64, async |row| flights.delete(&row.row_id()).await.map(drop))
        .await
        .context("the rows of an earlier run cannot be deleted")?;
    let flushed = drainer.flush().await;
    flushed.context("the rows of an earlier run could not be deleted from PostgreSQL")
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
