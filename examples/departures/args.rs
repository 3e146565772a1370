//! What the command line asks for.

use std::path::PathBuf;

use clap::{Parser, Subcommand, value_parser};

/// Replays the flights that left New York in January 2013 as a live departures board.
///
/// Every flight is a row: created when it is put on the board, patched when it
/// departs and when it arrives, marked when it is cancelled or diverted. Without
/// further flags everything stays in this process; with `--servers`, or with
/// `--redis` and `--database`, rows go to Redis and are drained to PostgreSQL.
/// At the end the rows of the durable side are compared with the input; where
/// they differ, the exit code is 1.
#[derive(Debug, Parser)]
#[command(name = "departures", max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,

    /// A Redis server of yours, such as redis://localhost:6379
    #[arg(long, value_name = "URL", requires = "database")]
    pub(crate) redis: Option<String>,

    /// A PostgreSQL database of yours, such as postgres://user@localhost/departures
    #[arg(long, value_name = "URL", requires = "redis")]
    pub(crate) database: Option<String>,

    /// Start private Redis and PostgreSQL servers, which are gone afterwards
    #[arg(long, conflicts_with_all = ["redis", "database"])]
    pub(crate) servers: bool,

    /// Delete the rows that an earlier run left in the table `flights` of your database
    #[arg(long, requires = "database")]
    pub(crate) reset: bool,

    /// Drain in N processes, which share the work, instead of in this one
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=16))]
    pub(crate) drainers: Option<u8>,

    /// The flights: a CSV file with the columns of nycflights13, plain or gzipped
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights-2013-01.csv.gz"))]
    pub(crate) input: PathBuf,

    /// Writes per second; 0 writes as fast as it goes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate: u32,

    /// How many writes may be under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=4096))]
    pub(crate) in_flight: u16,

    /// Also write the summary to this file, as one JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What a process does that this program has started.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Role {
    /// Drains between the servers that the environment names, until SIGTERM
    #[command(hide = true)]
    Drain,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Args;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn servers_of_ones_own_come_as_a_pair() {
        assert!(Args::try_parse_from(["departures", "--redis", "redis://localhost"]).is_err());
        assert!(
            Args::try_parse_from(["departures", "--database", "postgres://localhost"]).is_err()
        );
        assert!(Args::try_parse_from(["departures", "--reset"]).is_err());
        let both =
            ["departures", "--redis", "redis://localhost", "--database", "postgres://localhost"];
        assert!(Args::try_parse_from(both).is_ok());
        assert!(Args::try_parse_from(both.into_iter().chain(["--servers"])).is_err());
    }
}
