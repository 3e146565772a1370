//! The runtime under torture, on real processes and servers: `cargo run -p kv-tests --bin torture`.
//!
//! One executable is all processes of a run: the one that torments the others and compares in the
//! end what is stored with the ledgers, the writers, and the drainers.

mod audit;
mod change;
mod child;
mod ledger;
mod member;
mod models;
mod options;
mod possible;
mod report;
mod schedule;
mod torment;
mod writer;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::options::{Options, Role};

/// Why a run could not be done; what is found in one that was done is a difference.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse();
    if options.role.is_some() {
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
        log.with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    }
    match options.role {
        Some(Role::Writer(writer)) => writer::run(writer).await?,
        Some(Role::Drainer) => child::drain().await?,
        None => {
            let seed = options.run.seed.unwrap_or_else(|| fastrand::u64(..));
            println!("seed {seed}");
            let report = torment::run(&options.run, seed).await?;
            println!("{report}");
            if let Some(path) = &options.run.json {
                std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
            }
            if !report.differences.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
