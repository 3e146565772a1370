//! Waiting for room on a full queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hot_store::{HotStoreError, Unit, UnitOutcome, Write, WriteOutcome};
use crate::settings::OnFull;
use crate::stores::Stores;

/// The pauses between two tries: they grow.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How many writes that wait are tried at once.
const TRIES_MAX: usize = 64;

type Outcome = Result<WriteOutcome, HotStoreError>;

/// The patience of one call, whatever number of rows it writes.
#[derive(Debug)]
pub(crate) struct RoomWait {
    timeout: Duration,
    /// When the queue was first found full.
    since: Option<Instant>,
    pause: Duration,
}

impl RoomWait {
    pub(crate) fn new(on_full: OnFull) -> Self {
        let timeout = match on_full {
            OnFull::Reject => Duration::ZERO,
            OnFull::Block { timeout } => timeout,
        };
        Self { timeout, since: None, pause: PAUSE_MIN }
    }

    /// How long the call has waited.
    pub(crate) fn waited(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Makes writes; those that find their partition full wait for room, as long as they may.
    pub(crate) async fn write(&mut self, stores: &Stores, writes: &[Arc<Write>]) -> Vec<Outcome> {
        let mut outcomes = stores.write(writes).await;
        if outcomes.iter().any(is_full) {
            // Apart, because this rare case would make the future of every write larger.
            Box::pin(self.write_again(stores, writes, &mut outcomes)).await;
        }
        outcomes
    }

    /// The same for a unit of work.
    pub(crate) async fn write_unit(
        &mut self,
        stores: &Stores,
        unit: &Unit,
    ) -> Result<UnitOutcome, HotStoreError> {
        loop {
            let outcome = stores.write_unit(unit).await;
            let is_full = matches!(outcome, Ok(UnitOutcome::Refused(_, WriteOutcome::Full)));
            if !is_full || !self.pause().await {
                return outcome;
            }
        }
    }

    async fn write_again(
        &mut self,
        stores: &Stores,
        writes: &[Arc<Write>],
        outcomes: &mut [Outcome],
    ) {
        loop {
            let mut full: Vec<usize> =
                (0..outcomes.len()).filter(|&at| is_full(&outcomes[at])).collect();
            if full.is_empty() || !self.pause().await {
                return;
            }
            // Some of many, and others each time: one partition may stay full for long.
            let first = fastrand::usize(..full.len());
            full.rotate_left(first);
            full.truncate(TRIES_MAX);
            let again: Vec<Arc<Write>> = full.iter().map(|&at| Arc::clone(&writes[at])).collect();
            for (at, outcome) in full.into_iter().zip(stores.write(&again).await) {
                if !is_full(&outcome) {
                    // There may be more.
                    self.pause = PAUSE_MIN;
                }
                outcomes[at] = outcome;
            }
        }
    }

    /// Lets some time go by; `false` if there is none left, and the queue is full for good.
    async fn pause(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now);
        let left = self.timeout.saturating_sub(self.waited());
        if left.is_zero() {
            return false;
        }
        // Those who wait must not all come at once.
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        tokio::time::sleep(pause.min(left)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

fn is_full(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(WriteOutcome::Full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_it_was_told_and_not_at_all_if_not() {
        assert!(!RoomWait::new(OnFull::Reject).pause().await);
        let timeout = Duration::from_millis(500);
        let mut room = RoomWait::new(OnFull::Block { timeout });
        let mut pauses = 0;
        while room.pause().await {
            pauses += 1;
        }
        assert_eq!(room.waited(), timeout);
        assert!((10..40).contains(&pauses), "{pauses}");
    }
}
