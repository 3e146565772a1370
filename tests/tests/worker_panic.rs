//! A worker that panics says so. In a process of its own, because failpoints are the process's.

use kv_runtime::DrainError;
use kv_tests::models::Booking;
use kv_tests::pair::Pair;

#[tokio::test]
async fn whoever_flushes_is_told_of_a_panic() {
    let pair = Pair::memory().await;
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    fail::cfg("after_read", "panic").expect("a failpoint");
    let drainer = pair.spawn_drainer();
    let error = drainer.flush().await.expect_err("no worker is left");
    assert!(matches!(error, DrainError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
    fail::remove("after_read");
    // Nothing was lost by it: the next drainer goes on.
    assert_eq!(pair.drain().await.undrained, 0);
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows").len(), 1);
}
