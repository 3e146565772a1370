//! What this process takes the schemes of its queues to be.
//!
//! It may be wrong: a switch does not wait until everybody knows of it. So it is not relied upon.
//! Who writes to a queue that is closed, or past one that is open, is told so by Redis or by
//! PostgreSQL, and looks again. A second look now and then is for what nobody would be told of: a
//! scheme that only makes writes wait.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::StorageScheme;

/// How long a process goes by what it knows.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The schemes of the queues that this process has asked for.
#[derive(Debug, Default)]
pub(crate) struct KnownSchemes {
    by_queue: RwLock<HashMap<&'static str, Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    scheme: StorageScheme,
    looked_at: Instant,
}

impl KnownSchemes {
    pub(super) fn get(&self, queue: &str) -> Option<StorageScheme> {
        let by_queue = self.by_queue.read().unwrap_or_else(PoisonError::into_inner);
        by_queue.get(queue).map(|known| known.scheme)
    }

    pub(super) fn set(&self, queue: &'static str, scheme: StorageScheme) {
        let mut by_queue = self.by_queue.write().unwrap_or_else(PoisonError::into_inner);
        by_queue.insert(queue, Known { scheme, looked_at: Instant::now() });
    }

    pub(super) fn forget(&self, queue: &str) {
        self.by_queue.write().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }

    /// Whether it is time for another look, which the caller then takes.
    pub(super) fn must_look(&self, queue: &str) -> bool {
        let is_old = |known: &Known| known.looked_at.elapsed() >= LOOK_AGAIN;
        let by_queue = self.by_queue.read().unwrap_or_else(PoisonError::into_inner);
        if !by_queue.get(queue).is_some_and(is_old) {
            return false;
        }
        drop(by_queue);
        let mut by_queue = self.by_queue.write().unwrap_or_else(PoisonError::into_inner);
        match by_queue.get_mut(queue) {
            // One caller of several.
            Some(known) if is_old(known) => {
                known.looked_at = Instant::now();
                true
            }
            _ => false,
        }
    }
}
