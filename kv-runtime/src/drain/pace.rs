//! How long a worker waits for more entries, and how many it takes at once then.
//!
//! Where a batch is about the same rows again and again, most of its entries cost PostgreSQL
//! nothing: the longer they are let come together, the fewer rows are written for them.

use std::time::Duration;

use super::plan::Plan;
use crate::settings::DrainSettings;

/// How many times as many entries a batch may have, where most of them are folded.
const FOLDED_BATCHES: usize = 2;

/// What has come since a worker's last wait.
#[derive(Debug)]
pub(super) struct Pace {
    /// That wait.
    waited: Duration,
    entries: usize,
    /// The rows that were written for them.
    rows: usize,
    /// The most entries of a partition.
    of_partition: usize,
    /// How many entries there were for a row before that wait.
    folded: usize,
}

impl Pace {
    pub(super) fn new(settings: &DrainSettings) -> Self {
        Self { waited: settings.interval, entries: 0, rows: 0, of_partition: 0, folded: 1 }
    }

    /// One more batch is committed.
    pub(super) fn committed(&mut self, plan: &Plan) {
        self.entries += plan.entries;
        self.rows += plan.rows;
        // Of several batches it may be another partition each time: then this is too many.
        let most = plan.settlements.iter().map(|settlement| settlement.entries).max();
        self.of_partition += most.unwrap_or_default();
    }

    /// The most entries of the next batch.
    pub(super) fn batch_entries(&self, settings: &DrainSettings) -> usize {
        settings.batch_entries.saturating_mul(self.folded.min(FOLDED_BATCHES))
    }

    /// How long it waits now. Others that wait for what it does are not kept waiting for longer than
    /// usual, and no partition is let have more than half of the entries that it may have.
    pub(super) fn wait(
        &mut self,
        settings: &DrainSettings,
        is_awaited: bool,
        capacity: u64,
    ) -> Duration {
        // Of a few entries, most of one row says nothing about the rest.
        let is_small = self.entries < settings.batch_entries.div_ceil(10);
        let folded = match self.entries.checked_div(self.rows) {
            Some(folded) if !is_small && !is_awaited => folded.max(1),
            _ => 1,
        };
        let half = usize::try_from(capacity / 2).unwrap_or(usize::MAX);
        let half_filled = times(self.waited, half, self.of_partition.max(1));
        let longest = settings.interval_max.min(half_filled).max(settings.interval);
        let waited = times(settings.interval, folded, 1).min(longest);
        *self = Self { waited, entries: 0, rows: 0, of_partition: 0, folded };
        waited
    }
}

/// A part of a time, or several times as much.
fn times(time: Duration, by: usize, of: usize) -> Duration {
    let nanoseconds = time.as_nanos().saturating_mul(by as u128) / of as u128;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable_store::Batch;
    use crate::entry::EntryId;
    use crate::hot_store::Settlement;
    use crate::key::Partition;

    const CAPACITY: u64 = 100_000;

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A hundred milliseconds to a second, for batches of a thousand.
    fn settings() -> DrainSettings {
        DrainSettings { batch_entries: 1_000, ..DrainSettings::default() }
    }

    /// A batch of one partition.
    fn plan(entries: usize, rows: usize) -> Plan {
        let settlement = Settlement {
            partition: Partition { queue: "q", number: 0 },
            from: EntryId::ZERO,
            to: EntryId::ZERO,
            entries,
            retain_from: EntryId::ZERO,
            rows: Vec::new(),
        };
        Plan {
            batch: Batch::default(),
            settlements: vec![settlement],
            entries,
            rows,
            ..Plan::default()
        }
    }

    /// How long is waited after a batch, and how many entries the next one may have.
    fn after(entries: usize, rows: usize, is_awaited: bool, capacity: u64) -> (Duration, usize) {
        let settings = settings();
        let mut pace = Pace::new(&settings);
        pace.committed(&plan(entries, rows));
        let wait = pace.wait(&settings, is_awaited, capacity);
        (wait, pace.batch_entries(&settings))
    }

    #[test]
    fn it_waits_for_as_long_as_entries_are_folded() {
        for (entries, rows, wait, most) in [
            (0, 0, 100, 1_000),
            (1_000, 1_000, 100, 1_000),
            (1_000, 501, 100, 1_000),
            (1_000, 333, 300, 2_000),
            (1_000, 10, 1_000, 2_000),
            // Too few to tell.
            (99, 1, 100, 1_000),
            // Nothing is written for them at all.
            (1_000, 0, 100, 1_000),
        ] {
            let found = after(entries, rows, false, CAPACITY);
            assert_eq!(found, (milliseconds(wait), most), "{entries} of {rows}");
        }
    }

    #[test]
    fn nobody_who_waits_for_it_waits_longer() {
        assert_eq!(after(1_000, 10, true, CAPACITY), (milliseconds(100), 1_000));
    }

    #[test]
    fn a_queue_is_not_filled_meanwhile() {
        // A thousand come in a tenth of a second: two thousand and a half in a quarter.
        assert_eq!(after(1_000, 10, false, 5_000).0, milliseconds(250));
        assert_eq!(after(1_000, 10, false, 10).0, milliseconds(100));
    }

    #[test]
    fn batches_between_two_waits_count_together() {
        let settings = settings();
        let mut pace = Pace::new(&settings);
        pace.committed(&plan(1_000, 250));
        pace.committed(&plan(50, 50));
        assert_eq!(pace.wait(&settings, false, CAPACITY), milliseconds(300));
        pace.committed(&plan(50, 1));
        assert_eq!(pace.wait(&settings, false, CAPACITY), milliseconds(100));
    }

    #[test]
    fn an_interval_may_be_longer_than_the_longest() {
        let settings = DrainSettings { interval_max: milliseconds(10), ..settings() };
        let mut pace = Pace::new(&settings);
        pace.committed(&plan(1_000, 10));
        assert_eq!(pace.wait(&settings, false, CAPACITY), milliseconds(100));
    }
}
