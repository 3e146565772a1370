//! What a unit test watches and breaks: calls are counted, and those that are to fail do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Change;
use crate::hot_store::{HotStoreError, ReadOutcome, Unit, UnitOutcome, Write, WriteOutcome};
use crate::key::RowKey;
use crate::memory::{Failure, Verb};
use crate::model::ModelDescriptor;

/// A model by its key prefix, and what is done to a row of it.
type Call = (&'static str, Verb);

/// The hand of a [`Memory`](crate::Memory) on its hot side.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<Call, u64>,
    failures: HashMap<Call, VecDeque<Failure>>,
    /// Writes that were counted: one that brings its row in first comes again.
    begun: HashSet<String>,
}

impl Watch {
    pub(crate) fn fail_next(&self, model: &ModelDescriptor, verb: Verb, failure: Failure) {
        let mut state = self.lock();
        state.failures.entry((model.key_prefix, verb)).or_default().push_back(failure);
    }

    pub(crate) fn calls(&self, model: &ModelDescriptor, verb: Verb) -> u64 {
        self.lock().calls.get(&(model.key_prefix, verb)).copied().unwrap_or_default()
    }

    /// Does a write, or fails it.
    pub(super) fn write(
        &self,
        write: &Write,
        act: impl FnOnce() -> WriteOutcome,
    ) -> Result<WriteOutcome, HotStoreError> {
        let call = self.begin(&write.key, &write.change, &write.operation_id);
        let Some(failure) = self.take(call) else { return Ok(act()) };
        match failure.outcome() {
            Some(outcome) => Ok(outcome),
            None if failure != Failure::AnswerLost => Err(failure.error()),
            None => match act() {
                WriteOutcome::Written(_) => Err(failure.error()),
                other => {
                    self.put_back(call, failure);
                    Ok(other)
                }
            },
        }
    }

    /// Does a unit of work, or fails it for one of its changes.
    pub(super) fn write_unit(
        &self,
        unit: &Unit,
        act: impl FnOnce() -> UnitOutcome,
    ) -> Result<UnitOutcome, HotStoreError> {
        let mut failed = None;
        for (place, row) in unit.rows.iter().enumerate() {
            let Some(change) = &row.change else { continue };
            let call = self.begin(&row.key, change, &unit.operation_id);
            failed = failed.or_else(|| Some((place, call, self.take(call)?)));
        }
        let Some((place, call, failure)) = failed else { return Ok(act()) };
        match failure.outcome() {
            Some(outcome) => Ok(UnitOutcome::Refused(place, outcome)),
            None if failure != Failure::AnswerLost => Err(failure.error()),
            None => match act() {
                UnitOutcome::Written(_) => Err(failure.error()),
                other => {
                    self.put_back(call, failure);
                    Ok(other)
                }
            },
        }
    }

    /// Reads rows, or fails to.
    pub(super) fn read(
        &self,
        keys: &[RowKey],
        mut act: impl FnMut(&RowKey) -> ReadOutcome,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let call = (key.model.key_prefix, Verb::Read);
            *self.lock().calls.entry(call).or_default() += 1;
            outcomes.push(match self.take(call) {
                None => act(key),
                Some(Failure::NotFound) => ReadOutcome::Deleted,
                Some(failure) => return Err(failure.error()),
            });
        }
        Ok(outcomes)
    }

    fn begin(&self, key: &RowKey, change: &Change, operation_id: &str) -> Call {
        let call = (key.model.key_prefix, Verb::of(change));
        let mut state = self.lock();
        if state.begun.insert(format!("{operation_id} {}", key.key)) {
            *state.calls.entry(call).or_default() += 1;
        }
        call
    }

    fn take(&self, call: Call) -> Option<Failure> {
        self.lock().failures.get_mut(&call)?.pop_front()
    }

    /// For a write that is not done yet: it comes again, and loses its answer then.
    fn put_back(&self, call: Call, failure: Failure) {
        self.lock().failures.entry(call).or_default().push_front(failure);
    }

    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verb {
    fn of(change: &Change) -> Self {
        match change {
            Change::Create(_) => Self::Create,
            Change::Upsert(_) => Self::Upsert,
            Change::Patch(_) => Self::Update,
            Change::Delete => Self::Delete,
        }
    }
}

impl Failure {
    /// What the row or the queue answers to a write; `None` where it is the server that fails.
    fn outcome(self) -> Option<WriteOutcome> {
        match self {
            Self::Duplicate => Some(WriteOutcome::Exists),
            Self::NotFound => Some(WriteOutcome::Deleted),
            Self::Full => Some(WriteOutcome::Full),
            Self::Held => Some(WriteOutcome::Held),
            Self::Unavailable | Self::Timeout | Self::OutcomeUnknown | Self::AnswerLost => None,
        }
    }

    fn error(self) -> HotStoreError {
        let source = "a test told it to".into();
        match self {
            Self::Timeout => HotStoreError::Timeout(source),
            Self::OutcomeUnknown | Self::AnswerLost => HotStoreError::OutcomeUnknown(source),
            _ => HotStoreError::Unavailable(source),
        }
    }
}
