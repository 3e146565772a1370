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

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    settled: HashMap<Partition, EntryId>,
    /// By the worker's number.
    errors: BTreeMap<usize, String>,
    ended: Option<&'static str>,
}

/// What was done since the drainer was spawned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) entries_drained: u64,
    pub(super) rows_written: u64,
    pub(super) batches: u64,
    pub(super) lag_max: Duration,
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
        let rows: usize =
            plan.batch.statements.iter().map(|step| step.operation.rows().len()).sum();
        let mut state = self.lock();
        let counts = &mut state.counts;
        counts.entries_drained += plan.entries as u64;
        counts.rows_written += rows as u64;
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

    pub(super) fn succeeded(&self, worker: usize) {
        self.lock().errors.remove(&worker);
    }

    pub(super) fn failed(&self, worker: usize, error: String) {
        self.lock().errors.insert(worker, error);
        self.changed();
    }

    /// A worker has ended without being asked to.
    pub(super) fn end(&self, reason: &'static str) {
        self.lock().ended = Some(reason);
        self.changed();
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.lock().errors.values().next().cloned()
    }

    pub(super) fn ended(&self) -> Option<&'static str> {
        self.lock().ended
    }

    /// Whether every partition is settled up to an entry.
    pub(super) fn has_reached(&self, targets: &[(Partition, EntryId)]) -> bool {
        let state = self.lock();
        targets.iter().all(|(partition, target)| {
            *target == EntryId::ZERO
                || state.settled.get(partition).is_some_and(|settled| settled >= target)
        })
    }
}
