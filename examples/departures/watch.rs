//! Looks at the drain while work goes on, and gives up when nothing moves any more.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use indicatif::HumanCount;
use kv_runtime::DrainError;

use crate::board::Board;
use crate::drain::{Drain, DrainView};
use crate::writers::Progress;

/// How often the drain is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long nothing may move. The drainer itself would wait for ever, and rightly so: it cannot
/// know whether somebody is about to set its trouble right. Longer than the longest pause
/// between two of its tries.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does the work, with the board up to date meanwhile.
pub(crate) async fn watch<T, E: Into<Error>>(
    board: &mut Board,
    drain: &Drain,
    progress: &Progress,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    let watching = async {
        let mut patience = Patience::new(Instant::now());
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            let view = drain.view().await;
            board.update(&view);
            let written = progress.written.load(Ordering::Relaxed);
            if patience.is_over(written, &view, Instant::now()) {
                return stalled(&view);
            }
        }
    };
    let (work, watching) = (Box::pin(work), Box::pin(watching));
    tokio::select! {
        done = work => done.map_err(Into::into),
        error = watching => Err(error),
    }
}

/// Since when nothing has moved.
struct Patience {
    /// Writes acknowledged, and entries drained.
    last: (u64, u64),
    since: Instant,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { last: (0, 0), since: now }
    }

    fn is_over(
        &mut self,
        written: u64,
        view: &Result<DrainView, DrainError>,
        now: Instant,
    ) -> bool {
        let (drained, is_idle) = match view {
            Ok(view) => (view.drained.entries, view.undrained == 0),
            Err(_) => (self.last.1, false),
        };
        self.has_waited(written, drained, is_idle, now)
    }

    fn has_waited(&mut self, written: u64, drained: u64, is_idle: bool, now: Instant) -> bool {
        // With nothing to drain it is the pace of the replay that makes it wait.
        if is_idle || self.last != (written, drained) {
            *self = Self { last: (written, drained), since: now };
        }
        now.duration_since(self.since) >= PATIENCE
    }
}

fn stalled(view: &Result<DrainView, DrainError>) -> Error {
    let seconds = PATIENCE.as_secs();
    match view {
        Ok(view) => anyhow!(
            "nothing moved for {seconds} s, and {} entries wait in Redis to be drained ({}); \
             set that right and run again",
            HumanCount(view.undrained),
            view.drained.trouble.as_deref().unwrap_or("the drainer names no cause"),
        ),
        Err(error) => anyhow!("nothing moved for {seconds} s: {error}; is Redis up?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_only_when_nothing_moves_while_something_waits() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start);
        assert!(!patience.has_waited(10, 0, false, at(50)), "it was written");
        assert!(!patience.has_waited(10, 5, false, at(100)), "it was drained");
        assert!(!patience.has_waited(10, 5, false, at(159)), "not long enough");
        assert!(patience.has_waited(10, 5, false, at(160)), "nothing moved for 60 s");
        let mut patience = Patience::new(start);
        assert!(!patience.has_waited(0, 0, true, at(500)), "nothing waits");
        assert!(!patience.has_waited(0, 0, false, at(501)), "it waits only now");
    }
}
