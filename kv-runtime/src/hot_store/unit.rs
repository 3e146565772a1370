//! Units of work: changes of rows of one partition that are made together, with one entry.

use super::{Claim, FreeValue, LOADED, Probe, ReadOutcome, WriteOutcome};
use crate::entry::{self, Change, EntryId};
use crate::key::{Partition, RowKey};

/// Changes of rows of one partition, to be made together with one entry, or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) partition: Partition,
    /// Random; a retry carries the same, and so gets the first answer.
    pub(crate) operation_id: String,
    /// Each once.
    pub(crate) rows: Vec<UnitRow>,
}

/// A row that a unit of work has read or changes.
#[derive(Debug, Clone)]
pub(crate) struct UnitRow {
    pub(crate) key: RowKey,
    /// As it has to be still, if it was read.
    pub(crate) seen: Option<Stamp>,
    /// What is known of a create's id beside what the hot side knows.
    pub(crate) probe: Probe,
    /// `None` for one that was only read.
    pub(crate) change: Option<Change>,
    /// What the change wants of unique values; `None` where it is about none.
    pub(crate) claims: Option<Vec<Claim>>,
}

impl Unit {
    /// Notes what a claim can go by.
    pub(crate) fn note(&mut self, row: usize, claim: usize, free: Option<FreeValue>) {
        let claims = self.rows[row].claims.as_mut();
        if let (Some(claim), Some(free)) = (claims.and_then(|claims| claims.get_mut(claim)), free) {
            claim.probe = Some(free);
        }
    }

    /// The entry's header and values; `None` where nothing is changed.
    pub(crate) fn encode(&self) -> Option<(String, String)> {
        let changes = self
            .rows
            .iter()
            .filter_map(|row| Some((row.key.model, row.key.id.as_str(), row.change.as_ref()?)));
        let (mut header, values) = entry::encode_unit(changes, &self.operation_id)?;
        let claims = self.rows.iter().flat_map(|row| row.claims.iter().flatten());
        let after = claims.filter_map(|claim| claim.probe.as_ref()?.after);
        // Within a partition entries are in order by themselves.
        let after = after.filter(|after| after.partition != self.partition.number);
        entry::add_dependencies(&mut header, &after.collect::<Vec<_>>());
        Some((header, values))
    }
}

/// What tells a row, or its absence, from what else was or will be under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) String);

impl Stamp {
    /// The newest entry of the row, or the offset that it was filled as of; none of a row that was
    /// loaded, which waits for nothing.
    pub(crate) fn entry(&self) -> Option<EntryId> {
        let mut words = self.0.split(' ');
        let entry = words.next()?.parse().ok();
        entry.filter(|_| words.next() != Some(LOADED))
    }
}

/// A row as it was read for a unit of work.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) outcome: ReadOutcome,
    pub(crate) stamp: Stamp,
}

/// What became of a [`Unit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitOutcome {
    Written(EntryId),
    /// The same past the queue: it is durable already.
    Stored(EntryId),
    /// There was nothing to change, and what was read is as it was.
    Unchanged,
    /// The row at this place stands in the way, for this reason: [`WriteOutcome::Stale`] where
    /// another has changed it since it was read.
    Refused(usize, WriteOutcome),
    /// So does this claim of its on a unique value, by place: another row has it, or it was not
    /// asked for, or not lately.
    ValueRefused {
        row: usize,
        claim: usize,
    },
}
