//! Waiting for what comes in its own time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longer than anything takes on a busy machine, and shorter than the minute after which a drainer looks
/// at all tenants, whatever it was told.
const WAIT_MAX: Duration = Duration::from_secs(45);

/// Waits until something holds.
///
/// # Panics
///
/// When it does not come to that.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(WAIT_MAX, wait).await;
    waited.unwrap_or_else(|_| panic!("it does not come to that: {what}"));
}

/// Waits until a count has grown by so much, while whoever counts is well.
pub(crate) async fn go_on(count: &AtomicUsize, more: usize, is_well: impl Fn() -> bool) {
    let enough = count.load(Ordering::Relaxed) + more;
    let has_grown = async || {
        assert!(is_well(), "a writer has failed");
        count.load(Ordering::Relaxed) >= enough
    };
    until("they go on", has_grown).await;
}
