//! Waiting for load to go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longer than anything waits on a busy machine.
const GO_ON_MAX: Duration = Duration::from_secs(60);

/// Waits until a count has grown by so much, while whoever counts is well.
pub(crate) async fn go_on(count: &AtomicUsize, more: usize, is_well: impl Fn() -> bool) {
    let enough = count.load(Ordering::Relaxed) + more;
    let go_on = async {
        while count.load(Ordering::Relaxed) < enough {
            assert!(is_well(), "a writer has failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(GO_ON_MAX, go_on).await.expect("they go on");
}
