//! What the workers of a drainer have done, for its handle to look at and wait for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::plan::Plan;
use crate::durable_store::Offset;
use crate::entry::EntryId;
use crate::key::Partition;

/// Shared by the workers and the handle.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    /// Raised at every change.
    changes: watch::Sender<u64>,
}

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Checks,
    Leases,
    Worker(usize),
    Partition(Partition),
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    settled: HashMap<Partition, EntryId>,
    errors: BTreeMap<Place, String>,
}

/// What was done since the drainer was spawned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) entries_drained: u64,
    pub(super) rows_written: u64,
    pub(super) batches: u64,
    pub(super) dead_letters: u64,
    pub(super) setbacks: u64,
    pub(super) panics: u64,
    pub(super) partitions: usize,
    pub(super) lag_max: Duration,
}

impl Counts {
    /// These and those of others.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            entries_drained: self.entries_drained + other.entries_drained,
            rows_written: self.rows_written + other.rows_written,
            batches: self.batches + other.batches,
            dead_letters: self.dead_letters + other.dead_letters,
            setbacks: self.setbacks + other.setbacks,
            panics: self.panics + other.panics,
            partitions: self.partitions + other.partitions,
            lag_max: self.lag_max.max(other.lag_max),
        }
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changes: watch::channel(0).0 }
    }

    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn committed(&self, plan: &Plan, lag: Duration) {
        let mut state = self.lock();
        let counts = &mut state.counts;
        counts.entries_drained += plan.entries as u64;
        counts.rows_written += plan.rows as u64;
        counts.dead_letters += plan.letters as u64;
        counts.batches += 1;
        counts.lag_max = counts.lag_max.max(lag);
    }

    pub(super) fn settled(&self, offsets: &[Offset]) {
        let mut state = self.lock();
        for offset in offsets {
            state.settled.insert(offset.partition, offset.position);
        }
        drop(state);
        self.changed();
    }

    /// Redis or PostgreSQL went back in time, and was repaired.
    pub(super) fn set_back(&self) {
        self.lock().counts.setbacks += 1;
        self.changed();
    }

    pub(super) fn panicked(&self) {
        self.lock().counts.panics += 1;
        self.changed();
    }

    pub(super) fn leases_renewed(&self, partitions: usize) {
        let mut state = self.lock();
        state.counts.partitions = partitions;
        state.errors.remove(&Place::Leases);
    }

    pub(super) fn succeeded(&self, place: Place) {
        self.lock().errors.remove(&place);
    }

    pub(super) fn failed(&self, place: Place, error: String) {
        self.lock().errors.insert(place, error);
        self.changed();
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.lock().errors.values().next().cloned()
    }

    /// Those of the targets that are not settled yet, as far as is known here.
    pub(super) fn unreached(&self, targets: &[(Partition, EntryId)]) -> Vec<(Partition, EntryId)> {
        let state = self.lock();
        let is_open = |(partition, target): &&(Partition, EntryId)| {
            *target != EntryId::ZERO
                && state.settled.get(partition).is_none_or(|settled| settled < target)
        };
        targets.iter().filter(is_open).copied().collect()
    }
}
