//! A dirty row has no time to live, so nothing can expire or evict it. Only settling sets one.

use std::time::Duration;

use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{KvModel, Settings};
use kv_tests::models::{Booking, Counter};
use kv_tests::outside::{RedisView, stream_beside};
use kv_tests::pair::Pair;

const PINNED: i64 = -1;
const GONE: i64 = -2;

#[tokio::test]
async fn a_row_is_pinned_until_it_is_settled() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.row_ttl = Duration::from_secs(60)).await;
    let redis = RedisView::of(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let key = bookings.key(&booking.id).expect("a key");

    let _ = bookings.create(&booking).await.expect("a new row");
    assert_eq!(redis.ttl_ms(&key).await, PINNED, "created");
    let settled_in_time = async |after: &str| {
        pair.drain().await;
        let ttl_ms = redis.ttl_ms(&key).await;
        assert!((50_000..=60_000).contains(&ttl_ms), "settled after {after}: {ttl_ms}");
    };
    settled_in_time("a create").await;
    let _ = bookings.update(&booking.id, Booking::patch().seats(3)).await.expect("a row");
    assert_eq!(redis.ttl_ms(&key).await, PINNED, "an update of a clean row");
    let _ = bookings.update(&booking.id, Booking::patch().driver_id(None)).await.expect("a row");
    assert_eq!(redis.ttl_ms(&key).await, PINNED, "an update of a dirty row");
    settled_in_time("an update").await;
    let _ = bookings.upsert(&booking).await.expect("a row");
    assert_eq!(redis.ttl_ms(&key).await, PINNED, "an upsert of a clean row");
    settled_in_time("an upsert").await;

    bookings.invalidate(&booking.id).await.expect("a clean row");
    assert_eq!(redis.ttl_ms(&key).await, GONE);
    let _ = bookings.get_by_id(&booking.id).await.expect("the row");
    assert!((50_000..=60_000).contains(&redis.ttl_ms(&key).await), "a row that was read through");
    let _ = bookings.update(&booking.id, Booking::patch()).await.expect("a row");
    assert_eq!(redis.ttl_ms(&key).await, PINNED, "an empty update has an entry too");
    settled_in_time("an empty update").await;
}

#[tokio::test]
async fn a_model_has_a_time_to_live_of_its_own() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let counters = pair.kv.repository::<Counter>();
    let declared = Counter::DESCRIPTOR.ttl.expect("the model declares one").as_millis();
    let _ = counters.upsert(&Counter { id: 1, total: 1, r#type: String::new() }).await.expect("ok");
    pair.drain().await;
    let ttl_ms = redis.ttl_ms(&counters.key(&1).expect("a key")).await;
    assert!(ttl_ms > 0 && ttl_ms.unsigned_abs() as u128 <= declared, "{ttl_ms}");
}

#[tokio::test]
async fn a_tombstone_stays_until_it_is_drained() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    for is_drained_before in [false, true] {
        let booking = Booking::sample();
        let key = bookings.key(&booking.id).expect("a key");
        let _ = bookings.create(&booking).await.expect("a new row");
        if is_drained_before {
            pair.drain().await;
        }
        let _ = bookings.delete(&booking.id).await.expect("a row");
        assert_eq!(redis.ttl_ms(&key).await, PINNED);
        assert!(!bookings.exists(&booking.id).await.expect("an answer"));
        pair.drain().await;
        assert_eq!(redis.ttl_ms(&key).await, GONE);
        assert!(!bookings.exists(&booking.id).await.expect("an answer"));
    }
}

/// Whenever a row has a time to live, PostgreSQL has its last acknowledged write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_settling_sets_a_time_to_live() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.batch_entries = 3).await;
    let redis = RedisView::of(&pair).await;
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.spawn_drainer();
    let key = counters.key(&1).expect("a key");
    let mut was_settled = 0;
    for total in 0..300 {
        let row = Counter { id: 1, total, r#type: String::new() };
        let receipt = counters.upsert(&row).await.expect("a row");
        match total % 20 {
            0 => drainer.flush().await.expect("it drains"),
            10 => tokio::time::sleep(Duration::from_millis(fastrand::u64(0..10))).await,
            _ => {}
        }
        if redis.ttl_ms(&key).await != PINNED {
            was_settled += 1;
            let sql = format!(
                "SELECT position AS value FROM kv_offsets WHERE queue = 'counter_queue' \
                 AND partition = {}",
                receipt.partition.number
            );
            let position = pair.texts(&sql).await.remove(0).expect("an offset");
            assert!(number_of(&position) >= number_of(&receipt.entry.to_string()), "{position}");
        }
    }
    assert!(was_settled > 0, "the drainer never came in between");
    drainer.shutdown().await.expect("everything can be drained");
    assert!(redis.ttl_ms(&key).await > 0);
}

fn number_of(entry: &str) -> (u64, u64) {
    let (milliseconds, sequence) = entry.split_once('-').expect("an entry's id");
    (milliseconds.parse().expect("a number"), sequence.parse().expect("a number"))
}

/// A drainer makes room in a Redis that is full, so it must not need any for that.
#[tokio::test]
async fn settling_needs_no_memory() {
    let server = RedisServer::start().expect("a private server");
    let mut settings = Settings::new(server.url(), servers().create_database());
    settings.tenant = Some("private".to_owned());
    settings.partitions = 1;
    // Batches that leave the row dirty, because its newest entry is not in them.
    settings.drain.batch_entries = 2;
    settings.drain.retention = Duration::ZERO;
    settings.drain.shutdown_timeout = Duration::from_secs(5);
    let pair = Pair::connect(settings).await;
    let redis = RedisView::of(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    for seats in 0..10 {
        // The queue is trimmed by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let _ = bookings.update(&booking.id, Booking::patch().seats(seats)).await.expect("a row");
    }
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let status = pair.spawn_drainer().shutdown().await.expect("it drains");
    assert_eq!((status.entries_drained, status.undrained), (11, 0));
    let key = bookings.key(&booking.id).expect("a key");
    assert!(redis.ttl_ms(&key).await > 0);
    let length: usize = redis.ask(&["XLEN", &stream_beside(&key, "booking_queue")]).await;
    assert_eq!(length, 1, "the entry at the offset stays");
}
