//! Whether Redis answers, and who wants to know when it does not.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::error::Error;

/// How the handle stands to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// All connections are up, as far as is known.
    Connected,
    /// A connection was lost, and is tried to be had again.
    Reconnecting,
    /// Redis is connected and does not answer.
    Unresponsive,
}

type Hook = Arc<dyn Fn(&Error) + Send + Sync>;

/// The state of a pool's connections.
pub(super) struct Health {
    state: watch::Sender<ConnectionState>,
    hooks: Mutex<Vec<Hook>>,
    /// Somebody looks for Redis to come back.
    is_looked_after: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(ConnectionState::Connected),
            hooks: Mutex::default(),
            is_looked_after: AtomicBool::new(false),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Health {
    pub(super) fn state(&self) -> ConnectionState {
        *self.state.borrow()
    }

    pub(super) fn on_error(&self, hook: Hook) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// Whether the caller is the one who has to look for Redis until [`Health::is_well`].
    pub(super) fn look_after(&self) -> bool {
        !self.is_looked_after.swap(true, Ordering::AcqRel)
    }

    /// All connections answer.
    pub(super) fn is_well(&self) {
        // First, so that whoever finds otherwise from now on looks again.
        self.is_looked_after.store(false, Ordering::Release);
        self.state.send_replace(ConnectionState::Connected);
    }

    /// Tells the hooks, if it is news.
    pub(super) fn is_ill(&self, error: &Error) {
        let state = match error {
            Error::Timeout { .. } => ConnectionState::Unresponsive,
            _ => ConnectionState::Reconnecting,
        };
        if self.state.send_replace(state) != ConnectionState::Connected {
            return;
        }
        tracing::warn!(?state, "Redis does not answer the handle");
        // Outside of the lock, so that a hook may bring another one.
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for hook in hooks {
            hook(error);
        }
    }
}
