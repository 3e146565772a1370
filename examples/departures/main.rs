//! Replays a month of flights as a live departures board, and checks what came of it.
//!
//! `cargo run --release --example departures` keeps everything in this process;
//! `-- --servers` does the same on a private Redis and PostgreSQL, with `--drainers 3`
//! drained by three processes; `-- --help` tells the rest.

mod args;
mod board;
mod drain;
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
use kv_runtime::{Kv, KvModel};

use crate::args::{Args, Role};
use crate::board::Board;
use crate::drain::{Drain, Drained};
use crate::model::Flight;
use crate::pair::Pair;
use crate::replay::Replay;
use crate::summary::{Summary, milliseconds};
use crate::totals::Totals;
use crate::watch::watch;
use crate::writers::{Pace, Progress, write_all};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let agree = match args.role {
        None => run(args).await.map(|summary| summary.agree),
        Some(Role::Drain) => drain::process::drain().await.map(|()| true),
    };
    match agree {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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

    let progress = Arc::new(Progress::default());
    let mut board = Board::new(Arc::clone(&replay), Arc::clone(&progress))?;
    let drain = Drain::here(&pair.kv);
    let room = make_room(&pair.kv, &drain, args.reset);
    watch(&mut board, &drain, &progress, room).await?;
    drain.stop().await?;

    let drain = Drain::start(&pair, args.drainers).await?;
    let pace = Pace { in_flight: args.in_flight.into(), rate: args.rate };
    let start = Instant::now();
    let flights = pair.kv.repository();
    let writing = write_all(flights, Arc::clone(&replay), pace, Arc::clone(&progress));
    let latencies = watch(&mut board, &drain, &progress, writing).await?;
    let write_time = progress.write_time();
    let lag_last = drain.view().await?.lag;
    let drained = watch(&mut board, &drain, &progress, drain.wait_until_drained()).await;
    let drain_time = start.elapsed();
    drop(board);
    drained.context("what was written could not be drained")?;
    let drainers = drain.stop().await?;
    let drained = Drained::sum(&drainers);

    let rows = pair.kv.durable_rows::<Flight>().await;
    let totals = Totals::from_rows(&rows.context("the durable side cannot be read")?);
    let differences = expected.differences(&totals);
    let (write_seconds, drain_seconds) = (write_time.as_secs_f64(), drain_time.as_secs_f64());
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
        entries_drained: drained.entries,
        entries_drained_per_second: drained.entries as f64 / drain_seconds,
        entries_folded: drained.folded,
        rows_drained: drained.rows,
        rows_drained_per_second: drained.rows as f64 / drain_seconds,
        batches: drained.batches,
        drainers,
        lag_max_ms: drained.lag_max_ms,
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
async fn make_room(kv: &Kv, drain: &Drain, reset: bool) -> Result<()> {
    let drained = drain.wait_until_drained().await;
    drained.context("what an earlier run left in Redis could not be drained")?;
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
    let drained = drain.wait_until_drained().await;
    drained.context("the rows of an earlier run could not be deleted from PostgreSQL")
}
