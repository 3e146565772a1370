//! What a run has done and found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The sums of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) writers: usize,
    pub(crate) drainers: usize,
    /// Writes by what became of them, and reads.
    pub(crate) writes: Writes,
    /// Faults by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) compared: Compared,
    /// Keys that were left in Redis, by kind.
    pub(crate) keys_in_redis: BTreeMap<&'static str, u64>,
    pub(crate) differences: Vec<Difference>,
}

/// The ledgers in numbers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Writes {
    pub(crate) acknowledged: u64,
    pub(crate) poisoned: u64,
    pub(crate) unknown: u64,
    pub(crate) duplicate: u64,
    pub(crate) not_found: u64,
    pub(crate) held: u64,
    pub(crate) not_done: u64,
    pub(crate) reads: u64,
}

/// What was compared with the ledgers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Compared {
    pub(crate) rows: u64,
    /// Those of them that are there, and not deleted.
    pub(crate) rows_there: u64,
    /// Letters of entries that were refused themselves.
    pub(crate) letters_refused: u64,
    /// Letters of entries that queue behind those.
    pub(crate) letters_behind: u64,
    pub(crate) partitions: u64,
}

/// What should not be, with what the ledger has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The row's key, or the place of what is no row.
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) ledger: Vec<String>,
}

impl Difference {
    /// One that is not about a row.
    pub(crate) fn at(place: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { key: place.to_string(), what: what.into(), ledger: Vec::new() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, writers, drainers, writes, compared, .. } = self;
        writeln!(f, "{seconds} s of faults, {writers} writers, {drainers} drainers\n")?;
        let mut line = |name: &str, count: u64| writeln!(f, "{count:>9}  {name}");
        line("writes acknowledged", writes.acknowledged)?;
        line("of these poison", writes.poisoned)?;
        line("writes with unknown outcome", writes.unknown)?;
        line("writes not done: unavailable, full or timed out", writes.not_done)?;
        line("writes not done: the row is there", writes.duplicate)?;
        line("writes not done: the row is not there", writes.not_found)?;
        line("writes not done: the row is held", writes.held)?;
        line("reads", writes.reads)?;
        for (fault, count) in &self.faults {
            line(fault, *count)?;
        }
        line("rows compared", compared.rows)?;
        line("of these there", compared.rows_there)?;
        line("dead letters compared: refused", compared.letters_refused)?;
        line("dead letters compared: behind", compared.letters_behind)?;
        line("partitions compared", compared.partitions)?;
        for (kind, count) in &self.keys_in_redis {
            line(&format!("left in Redis: {kind}"), *count)?;
        }
        line("differences", self.differences.len() as u64)?;
        for Difference { key, what, ledger } in &self.differences {
            writeln!(f, "\n{key}: {what}")?;
            for line in ledger {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}
