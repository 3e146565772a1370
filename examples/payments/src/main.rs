//! The payments service, a stub of a processor, and what tries them out.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use kv_payments::{
    Balancer, Config, Instance, ProcessorStub, Processors, Schedule, Stage, Target, run,
    start_floor,
};
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
    /// A balancer, which hands each connection to the next server, until SIGTERM
    Balance {
        /// Where it listens
        #[arg(long, default_value = "0.0.0.0:9999")]
        listen: String,
        /// A server, as host:port; can be given several times
        #[arg(long, value_name = "SERVER", required = true)]
        to: Vec<String>,
    },
    /// Users who pay, and audits
    Load {
        /// How many users there are for how long, and how the processors behave
        #[arg(long, default_value = "preview")]
        schedule: Choice,
        /// The service
        #[arg(long, default_value = "http://localhost:9999")]
        service: String,
        /// The processor with the lower fee
        #[arg(long, default_value = "http://localhost:8001")]
        default: String,
        /// The other processor
        #[arg(long, default_value = "http://localhost:8002")]
        fallback: String,
    },
    /// All of it: private servers, two instances, a balancer, two processors, and the load
    Stage {
        /// How many users there are for how long, and how the processors behave
        #[arg(long, default_value = "preview")]
        schedule: Choice,
    },
}

/// A schedule.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// A minute, up to 550 users
    Preview,
    /// Five minutes, up to 603 users
    Final,
    /// A few seconds
    Short,
}

impl Choice {
    fn schedule(self) -> Schedule {
        match self {
            Self::Preview => Schedule::preview(),
            Self::Final => Schedule::last(),
            Self::Short => Schedule::short(),
        }
    }
}

// Each of these processes has less than a core: a second thread would only be woken in vain.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // First, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    // What is to be read by a program is on the standard output.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
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
        Role::Balance { listen, to } => {
            let balancer = Balancer::start(&listen, to).await?;
            println!("{}", balancer.url());
            terminate.recv().await;
        }
        Role::Load { schedule, service, default, fallback } => {
            let (floor_url, _floor) = start_floor("127.0.0.1:0").await?;
            let processors = Processors { default_url: default, fallback_url: fallback };
            let target = Target { service_url: service, processors, floor_url };
            println!("{}", run(&schedule.schedule(), &target).await?);
        }
        Role::Stage { schedule } => {
            let stage = Stage::start().await?;
            println!("{}", stage.run(&schedule.schedule()).await?);
        }
    }
    Ok(())
}
