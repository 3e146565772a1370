//! A worker that panics is started again. In a process of its own, because failpoints are the
//! process's.

use kv_tests::models::Booking;
use kv_tests::pair::Pair;

#[tokio::test]
async fn a_panic_is_reported_and_the_worker_goes_on() {
    let pair = Pair::memory().await;
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    fail::cfg("after_read", "1*panic").expect("a failpoint");
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("another try succeeds");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert_eq!((status.panics, status.undrained, status.entries_drained), (1, 0, 1));
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows").len(), 1);
}
