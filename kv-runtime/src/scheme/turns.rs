//! Turns at a partition that is written past its queue.
//!
//! PostgreSQL would have the writers wait for each other anyway, but each with a connection that
//! others need. And what waits for a turn can be written in one transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{MutexGuard, oneshot};

use crate::hot_store::{HotStoreError, Write, WriteOutcome};
use crate::key::Partition;

/// How many writes one transaction makes.
const WRITES_MAX: usize = 256;

/// Whose turn it is at each partition, within this process.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    by_partition: Mutex<HashMap<Partition, Arc<Turn>>>,
}

/// A partition's turn, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<Waiting>>,
}

/// A write that somebody waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) write: Arc<Write>,
    pub(super) done: oneshot::Sender<Result<WriteOutcome, HotStoreError>>,
}

impl Turns {
    pub(super) fn at(&self, partition: Partition) -> Arc<Turn> {
        let mut turns = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(partition).or_default())
    }
}

impl Turn {
    /// Waits for the turn, which ends when the guard is dropped. Who comes first is first.
    pub(super) async fn wait(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Lets a write be made by whoever has the turn next.
    pub(super) fn add(
        &self,
        write: Arc<Write>,
    ) -> oneshot::Receiver<Result<WriteOutcome, HotStoreError>> {
        let (done, is_done) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { write, done });
        is_done
    }

    /// The writes that wait, in their order; not those that nobody waits for any more.
    pub(super) fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| !waiting.done.is_closed());
        let count = waiting.len().min(WRITES_MAX);
        waiting.drain(..count).collect()
    }
}
