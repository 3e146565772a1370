//! The benchmark: the framework beside the same work done otherwise, in one run on one machine.
//!
//! `cargo bench -p kv-benches` starts private servers (PostgreSQL with fsync), runs all contenders
//! in turn for several rounds, and prints medians, spread and ratios. The same as JSON goes to
//! `target/bench/summary.json`; `--publish` also renews the table and the plots of `BENCHMARKS.md`.
//! `cargo test` runs the short form, which measures nothing. `-- --help` tells the options.

mod by_hand;
mod compile;
mod crates;
mod drain;
mod drainer;
mod durable;
mod options;
mod percentile;
mod plot;
mod process;
mod publish;
mod reads;
mod report;
mod ride;
mod scale;
mod service;
mod sustained;
mod writes;
mod ycsb;

use kv_runtime::testing::{PostgresOptions, PostgresServer, RedisServer};

use self::options::{Options, Section};
use self::report::Report;

/// All contenders have the same, and what their rows take in memory is much of what they cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Any error: a benchmark that cannot run says why and ends.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What all sections of a round share.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) redis: RedisServer,
    pub(crate) postgres: PostgresServer,
    /// From 1.
    pub(crate) round: usize,
}

fn main() -> Outcome<()> {
    // The program is also the drainer of its own benchmark.
    if drainer::is_asked_for() {
        return drainer::run();
    }
    let options = Options::from_args();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Outcome<()> {
    let redis = RedisServer::start()?;
    let postgres = PostgresServer::start_with(PostgresOptions::new().fsync(true))?;
    let mut bench = Bench { options, redis, postgres, round: 0 };
    let mut report = Report::default();
    for round in 1..=bench.options.rounds() {
        bench.round = round;
        for section in bench.options.sections() {
            eprintln!("round {round} of {}: {section}", bench.options.rounds());
            section_of(section, &bench, &mut report).await?;
            redis::cmd("FLUSHALL").exec_async(&mut by_hand::connection(&bench).await?).await?;
        }
    }
    report.print();
    publish::write(&bench.options, &report)
}

async fn section_of(section: Section, bench: &Bench, report: &mut Report) -> Outcome<()> {
    match section {
        Section::Writes => writes::run(bench, report).await,
        Section::Reads => reads::run(bench, report).await,
        Section::Crates => crates::run(bench, report).await,
        Section::Drain => drain::run(bench, report).await,
        Section::Service => service::run(bench, report).await,
        Section::Sustained => sustained::run(bench, report).await,
        Section::Scale => scale::run(bench, report).await,
        Section::Ycsb => ycsb::run(bench, report).await,
        Section::Compile => compile::run(bench, report),
    }
}
