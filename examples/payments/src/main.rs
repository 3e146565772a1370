//! The payments service, a stub of a processor, and what tries them out.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kv_payments::{Config, Instance, ProcessorStub};
use rust_decimal::Decimal;
use tokio::signal::unix::{SignalKind, signal};

/// A payments service that puts payments through to the cheaper of two unreliable processors.
#[derive(Debug, Parser)]
#[command(name = "payments", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// An instance of the service, as the environment says, until SIGTERM
    Serve,
    /// A stub of a processor, until SIGTERM
    Processor {
        /// Where it listens
        #[arg(long, default_value = "0.0.0.0:8080")]
        listen: String,
        /// Which part of each payment it takes
        #[arg(long, default_value = "0.05")]
        fee: Decimal,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    // First, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    match Args::parse().role {
        Role::Serve => {
            let instance = Instance::start(Config::from_env()?).await?;
            println!("{}", instance.url());
            terminate.recv().await;
            instance.stop().await;
        }
        Role::Processor { listen, fee } => {
            let processor = ProcessorStub::start(&listen, fee).await?;
            println!("{}", processor.url());
            terminate.recv().await;
        }
    }
    Ok(())
}
