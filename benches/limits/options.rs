//! What the command line can ask for.

use std::fmt;

use clap::{Parser, ValueEnum};

/// The framework beside the same work done otherwise, in one run on one machine.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How often everything is measured; medians and spread are over these.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Rows of a measurement; those that are slow take a part of them.
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    /// How long the sustained run takes.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these sections.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Renew the table and the plots of `BENCHMARKS.md`.
    #[arg(long)]
    pub(crate) publish: bool,
    /// One round of a few rows, which measures nothing and shows that all of it runs.
    #[arg(long)]
    smoke: bool,
    /// What `cargo bench` passes, and `cargo test` does not.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Create, update and create_many against one transaction of Redis by hand.
    Writes,
    /// Get and get_many against HGETALL by hand.
    Reads,
    /// Create and get against the crates `redis-macros` and `redis-om`.
    Crates,
    /// Draining against statements by hand.
    Drain,
    /// A service's creates against Diesel straight to PostgreSQL.
    Service,
    /// Writers flat out beside one drainer: lag, also of few writes, hot rows, memory.
    Sustained,
    /// Ten times the partitions, the models and the row's size.
    Scale,
    /// The workloads A to F of YCSB.
    Ycsb,
    /// What one more model costs to compile, beside the derives of Diesel and serde.
    Compile,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Options {
    /// As the command line has them; as a test, whose options are for others, the short form.
    pub(crate) fn from_args() -> Self {
        if std::env::args().any(|arg| arg == "--bench") {
            return Self::parse();
        }
        Self::parse_from(["limits", "--smoke"])
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.smoke { 1 } else { self.rounds.max(1) }
    }

    pub(crate) fn rows(&self) -> usize {
        if self.smoke { 200 } else { self.rows.max(200) }
    }

    pub(crate) fn seconds(&self) -> u64 {
        if self.smoke { 2 } else { self.seconds.max(2) }
    }

    pub(crate) fn is_short(&self) -> bool {
        self.smoke
    }

    /// Whether some sections are left out.
    pub(crate) fn is_partial(&self) -> bool {
        !self.only.is_empty()
    }

    pub(crate) fn sections(&self) -> Vec<Section> {
        if self.only.is_empty() { Section::value_variants().to_vec() } else { self.only.clone() }
    }
}
