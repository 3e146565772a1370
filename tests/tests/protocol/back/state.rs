//! What is there of a partition, and what each side had before.

use super::super::harness::Rules;
use super::ABSOLUTE_RESULTS;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(super) hot: Hot,
    pub(super) durable: Durable,
    pub(super) saved_hot: Option<Box<Hot>>,
    /// How many writes Redis had then.
    pub(super) saved_at: u8,
    pub(super) saved_durable: Option<Box<Durable>>,
    pub(super) went_back: Option<Side>,
    pub(super) written: u8,
    pub(super) rows: [Vec<u8>; 2],
    pub(super) lost: u8,
    // The drainer.
    pub(super) settling: Option<(u8, u8)>,
    pub(super) repair: Repair,
    pub(super) has_crashed: bool,
    pub(super) must_report: bool,
    pub(super) is_reported: bool,
    // What must not happen.
    pub(super) is_rewound: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Hot {
    pub(super) stream: Vec<Entry>,
    pub(super) last: u8,
    pub(super) rows: [Option<Row>; 2],
    pub(super) settled: u8,
    pub(super) is_trimmed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Durable {
    pub(super) rows: [Value; 2],
    pub(super) letters: u8,
    pub(super) position: u8,
    pub(super) nonce: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) id: u8,
    pub(super) row: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) entry: u8,
    pub(super) value: Value,
    pub(super) expires: bool,
}

/// The last write of a row, and what it has been counted up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Value {
    pub(super) write: u8,
    pub(super) count: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Redis,
    PostgreSql,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Repair {
    #[default]
    None,
    /// The rows are mended, the offset is not.
    RowsDone,
    /// The other way round, as one should not.
    OffsetDone(u8),
}

impl Hot {
    pub(super) fn after(&self, id: u8) -> impl Iterator<Item = &Entry> {
        self.stream.iter().filter(move |entry| entry.id > id)
    }
}

impl State {
    pub(super) fn is_letter(&self, write: u8) -> bool {
        self.durable.letters & 1 << write != 0
    }

    pub(super) fn is_held(&self, row: usize) -> bool {
        self.rows[row].iter().any(|&write| self.is_letter(write))
    }

    /// A row's newest entry that is not beyond the offset and may be new nevertheless.
    pub(super) fn doubt(&self, row: usize) -> Option<Entry> {
        let unsettled = self.hot.after(self.hot.settled).filter(|entry| entry.row == row);
        let newest = unsettled.filter(|entry| entry.id <= self.durable.position).last()?;
        (newest.value != self.durable.rows[row]).then_some(*newest)
    }

    pub(super) fn apply(&mut self, rules: Rules, entry: Entry) {
        let value = &mut self.durable.rows[entry.row];
        self.is_rewound |= entry.value.write < value.write;
        let count = value.count + 1;
        *value = entry.value;
        if !rules.keep(ABSOLUTE_RESULTS) {
            value.count = count;
        }
    }
}
