//! What the command line asks for.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Tortures the runtime: processes write and drain while processes are killed and paused,
/// servers crash and come back, and connections are cut and stall.
///
/// Every writer keeps a ledger. At the end all that is in Redis and in PostgreSQL is compared
/// with the ledgers; where anything differs, the exit code is 1.
#[derive(Debug, Parser)]
#[command(name = "torture", max_term_width = 100)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) run: RunOptions,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What is done in what measure.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Chooses the faults and the writes; random unless given
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// How long faults happen
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u64,

    /// How many processes write
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) writers: usize,

    /// How many processes drain
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) drainers: usize,

    /// How many tasks of a writer write at a time
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) tasks: usize,

    /// Also write the report to this file, as one JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Keep the ledgers and what the processes said in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) keep: Option<PathBuf>,
}

/// What this process is, if it is not the one that does the torturing.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Writes until its standard input ends.
    #[command(hide = true)]
    Writer(WriterOptions),
    /// Drains until its standard input ends, and then what is left.
    #[command(hide = true)]
    Drainer,
}

/// What a writer has to know.
#[derive(Debug, Args)]
pub(crate) struct WriterOptions {
    /// Chooses the writes.
    #[arg(long)]
    pub(crate) seed: u64,
    /// Which of the writers it is.
    #[arg(long)]
    pub(crate) number: usize,
    /// How often it was started before.
    #[arg(long)]
    pub(crate) restarts: u64,
    /// How many tasks write at a time.
    #[arg(long)]
    pub(crate) tasks: usize,
    /// Where the ledgers are.
    #[arg(long)]
    pub(crate) ledgers: PathBuf,
}
