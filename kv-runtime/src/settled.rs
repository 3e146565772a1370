//! How far partitions are settled, for receipts that wait: one look serves all of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::entry::EntryId;
use crate::key::Partition;
use crate::stores::Stores;

/// The pauses between two looks: they grow as long as anybody waits.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Who waits for a partition to be settled up to an entry.
#[derive(Debug, Default)]
pub(crate) struct SettledWatch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// Whether a task looks at Redis for them.
    is_watched: bool,
}

#[derive(Debug)]
struct Waiting {
    partition: Partition,
    entry: EntryId,
    passed: oneshot::Sender<()>,
}

impl SettledWatch {
    /// Waits until a partition is settled up to an entry; or returns early, to be called again.
    pub(crate) async fn passed(stores: &Arc<Stores>, partition: Partition, entry: EntryId) {
        let (passed, is_passed) = oneshot::channel();
        let is_watched = {
            let mut state = stores.settled.lock();
            state.waiting.push(Waiting { partition, entry, passed });
            std::mem::replace(&mut state.is_watched, true)
        };
        if !is_watched {
            tokio::spawn(watch(Arc::clone(stores)));
        }
        let _ = is_passed.await;
    }

    /// The partitions that somebody waits for.
    fn partitions(&self) -> Vec<Partition> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.passed.is_closed());
        let partitions: BTreeSet<Partition> =
            state.waiting.iter().map(|waiting| waiting.partition).collect();
        partitions.into_iter().collect()
    }

    fn tell(&self, partition: Partition, settled: EntryId) {
        let is_passed =
            |waiting: &mut Waiting| waiting.partition == partition && waiting.entry <= settled;
        for waiting in self.lock().waiting.extract_if(.., is_passed) {
            // It may have gone away.
            let _ = waiting.passed.send(());
        }
    }

    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at Redis until nobody waits any more.
async fn watch(stores: Arc<Stores>) {
    let _end = End(&stores.settled);
    let mut pause = PAUSE_MIN;
    loop {
        let partitions = stores.settled.partitions();
        if partitions.is_empty() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        match stores.hot.tails(&partitions).await {
            Ok(tails) => {
                for (partition, tail) in partitions.into_iter().zip(tails) {
                    stores.settled.tell(partition, tail.settled);
                }
            }
            Err(error) => tracing::debug!(%error, "receipts wait for Redis"),
        }
    }
}

/// However the task ends, also with its runtime: who still waits is woken, and starts another.
struct End<'a>(&'a SettledWatch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.lock() = State::default();
    }
}
