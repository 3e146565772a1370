//! What the server's clock shows, as far as its answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// Clocks drift, and are set.
const MARGIN_MS: i64 = 1_000;

/// An estimate that is early rather than late. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ServerClock {
    start: Instant,
    /// How much more the server's clock shows than the time since `start`; far less until the
    /// first answer.
    ahead_ms: Arc<AtomicI64>,
}

impl ServerClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), ahead_ms: Arc::new(AtomicI64::new(i64::MIN / 2)) }
    }

    /// Notes what the clock showed when an answer was given that has come now.
    pub(super) fn note(&self, milliseconds: u64) {
        let shown = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        self.ahead_ms.store(shown - self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Not later than what the clock shows now, and never zero.
    pub(super) fn now_at_least_ms(&self) -> u64 {
        let estimate = self.ahead_ms.load(Ordering::Relaxed) + self.elapsed_ms() - MARGIN_MS;
        u64::try_from(estimate).unwrap_or_default().max(1)
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_late() {
        let clock = ServerClock::new();
        assert_eq!(clock.now_at_least_ms(), 1, "nothing is known");
        clock.note(1_700_000_000_000);
        let now = clock.now_at_least_ms();
        assert!((1_699_999_998_999..=1_700_000_000_000).contains(&now), "{now}");
        clock.note(1_600_000_000_000);
        assert!(clock.now_at_least_ms() < 1_600_000_000_000, "it was set back");
    }
}
