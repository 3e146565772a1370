//! What Redis holds is bounded: drained entries go after the retention, also when nothing new
//! comes; and a Redis that is full still lets PostgreSQL answer.

use std::time::Duration;

use kv_runtime::Settings;
use kv_runtime::testing::{RedisServer, servers};
use kv_tests::models::Booking;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

#[tokio::test]
async fn drained_entries_go_when_nothing_new_comes() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.retention = Duration::from_millis(50)).await;
    let redis = RedisView::of(&pair).await;
    let rows: Vec<Booking> = (0..200).map(|_| Booking::sample()).collect();
    for result in pair.kv.repository::<Booking>().create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("everything can be drained");
    // The entry at the offset stays: it is what the offset is compared with.
    let at_most = usize::from(pair.settings.partitions);
    let trimmed = async {
        while redis.entries().await > at_most {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), trimmed).await.expect("they go");
    assert_eq!(redis.undrained().await, 0);
    drainer.shutdown().await.expect("nothing is left");
}

#[tokio::test]
async fn a_full_redis_does_not_keep_a_row_from_its_reader() {
    let redis = RedisServer::start().expect("a private server");
    let url = servers().create_database();
    let mut settings = Settings::new(redis.url(), url.as_str());
    settings.tenant = Some("full".to_owned());
    let pair = Pair::connect(settings).await;
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    pair.drain().await;
    bookings.invalidate(&booking.id).await.expect("a clean row");
    let view = RedisView::of(&pair).await;
    let _: String = view.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
    let error = bookings.create(&Booking::sample()).await.expect_err("no memory for it");
    assert!(error.is_transient(), "{error}");
}
