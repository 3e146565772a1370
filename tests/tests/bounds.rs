//! Bounds: how many entries a queue holds, and how many bytes an entry and a batch have.

use std::time::Duration;

use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{Error, OnFull, Settings};
use kv_tests::contract;
use kv_tests::models::{Booking, Counter};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

contract!(
    a_full_queue_is_waited_for,
    a_wait_for_room_ends,
    those_who_wait_stay_within_the_bound,
    many_rows_wait_for_room_together,
    a_wait_that_is_given_up_writes_nothing,
    a_write_that_is_too_large_is_refused_with_its_size,
    a_row_that_is_too_large_is_refused_alone,
    batches_are_bounded_in_bytes,
);

const CAPACITY: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// One partition with little room.
async fn narrow(pair: Pair, on_full: OnFull) -> Pair {
    let change = |settings: &mut Settings| {
        settings.partitions = 1;
        settings.queue_capacity = CAPACITY;
        settings.on_full = on_full;
        settings.tenant = settings.tenant.take().map(|tenant| format!("{tenant}-narrow"));
    };
    pair.with(change).await
}

async fn fill_up(pair: &Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for _ in 0..CAPACITY {
        let _ = bookings.create(&Booking::sample()).await.expect("room for it");
    }
}

async fn a_full_queue_is_waited_for(pair: Pair) {
    let pair = narrow(pair, OnFull::Block { timeout: PATIENCE }).await;
    fill_up(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    let late = Booking::sample();
    let row = late.clone();
    let writing = tokio::spawn(async move { bookings.create(&row).await });
    let bookings = pair.kv.repository::<Booking>();
    tokio::time::timeout(Duration::from_millis(200), async {
        while !bookings.exists(&late.id).await.expect("an answer") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect_err("there is no room for it");
    assert!(!writing.is_finished());
    let drainer = pair.spawn_drainer();
    let written = tokio::time::timeout(PATIENCE, writing).await.expect("it ends");
    let _ = written.expect("no panic").expect("the drainer made room");
    drainer.shutdown().await.expect("nothing is left");
    let rows = pair.kv.durable_rows::<Booking>().await.expect("the rows");
    assert_eq!(rows.iter().filter(|row| row.id == late.id).count(), 1);
}

async fn a_wait_for_room_ends(pair: Pair) {
    let timeout = Duration::from_millis(150);
    let pair = narrow(pair, OnFull::Block { timeout }).await;
    fill_up(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    let late = Booking::sample();
    let error = bookings.create(&late).await.expect_err("nobody drains");
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    let Error::Full { waited, .. } = error else { panic!("{error}") };
    assert!(waited >= timeout && waited < PATIENCE, "{waited:?}");
    assert!(!bookings.exists(&late.id).await.expect("an answer"), "refused as a whole");
}

async fn those_who_wait_stay_within_the_bound(pair: Pair) {
    let timeout = Duration::from_millis(300);
    let pair = narrow(pair, OnFull::Block { timeout }).await;
    let writes: Vec<_> = (0..100)
        .map(|_| {
            let bookings = pair.kv.repository::<Booking>();
            tokio::spawn(async move { bookings.create(&Booking::sample()).await })
        })
        .collect();
    let mut written = 0;
    for write in writes {
        match write.await.expect("no panic") {
            Ok(_) => written += 1,
            Err(error) => assert!(matches!(error, Error::Full { .. }), "{error}"),
        }
    }
    assert_eq!(written, CAPACITY);
    assert_eq!(pair.drain().await.entries_drained, CAPACITY);
}

async fn many_rows_wait_for_room_together(pair: Pair) {
    let timeout = Duration::from_millis(200);
    let reluctant = narrow(pair, OnFull::Block { timeout }).await;
    let rows: Vec<Booking> = (0..200).map(|_| Booking::sample()).collect();
    let started = std::time::Instant::now();
    let results = reluctant.kv.repository::<Booking>().create_many(&rows).await;
    assert!(started.elapsed() < PATIENCE, "the time-out is that of the call, not of each row");
    assert_eq!(results.iter().flatten().count() as u64, CAPACITY);
    reluctant.drain().await;

    let pair = reluctant.with(|s| s.on_full = OnFull::Block { timeout: PATIENCE }).await;
    let rows: Vec<Booking> = (0..200).map(|_| Booking::sample()).collect();
    let drainer = pair.spawn_drainer();
    for result in pair.kv.repository::<Booking>().create_many(&rows).await {
        let _ = result.expect("the drainer makes room");
    }
    drainer.shutdown().await.expect("nothing is left");
    let durable = pair.kv.durable_rows::<Booking>().await.expect("the rows");
    assert!(rows.iter().all(|row| durable.contains(row)));
}

async fn a_wait_that_is_given_up_writes_nothing(pair: Pair) {
    let pair = narrow(pair, OnFull::Block { timeout: PATIENCE }).await;
    fill_up(&pair).await;
    let bookings = pair.kv.repository::<Booking>();
    let late = Booking::sample();
    let writing = bookings.create(&late);
    tokio::time::timeout(Duration::from_millis(50), writing).await.expect_err("nobody drains");
    pair.drain().await;
    assert!(!bookings.exists(&late.id).await.expect("an answer"), "nobody waits for it any more");
    let _ = bookings.create(&late).await.expect("room again");
}

async fn a_write_that_is_too_large_is_refused_with_its_size(pair: Pair) {
    let pair = pair.with(|settings| settings.max_entry_bytes = 1_000).await;
    let counters = pair.kv.repository::<Counter>();
    // What has to be escaped takes more than a byte.
    let large = Counter { id: 1, total: 5, r#type: "\"".repeat(600) };
    let error = counters.create(&large).await.expect_err("it is too large");
    let message = error.to_string();
    assert!(message.contains("`1`") && message.contains("1000 are allowed"), "{message}");
    let Error::TooLarge { bytes, max, .. } = error else { panic!("{message}") };
    assert!((1_200..1_500).contains(&bytes), "{bytes}");
    assert_eq!(max, 1_000);
    let error = counters.upsert(&large).await.expect_err("it is too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert!(!counters.exists(&1).await.expect("an answer"), "nothing was sent");
    let small = Counter { r#type: "x".to_owned(), ..large.clone() };
    let _ = counters.create(&small).await.expect("a new row");
    let patch = Counter::patch().r#type(large.r#type.clone());
    let error = counters.update(&1, patch).await.expect_err("it is too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), small);

    let pair = pair.with(|settings| settings.max_entry_bytes = bytes - 1).await;
    let other = Counter { id: 2, ..large };
    let error = pair.kv.repository::<Counter>().create(&other).await.expect_err("by a byte");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let pair = pair.with(|settings| settings.max_entry_bytes = bytes).await;
    let _ = pair.kv.repository::<Counter>().create(&other).await.expect("it just fits");
}

async fn a_row_that_is_too_large_is_refused_alone(pair: Pair) {
    let pair = pair.with(|settings| settings.max_entry_bytes = 1_000).await;
    let mut rows: Vec<Booking> = (0..10).map(|_| Booking::sample()).collect();
    rows[4].reference = "x".repeat(1_000);
    let bookings = pair.kv.repository::<Booking>();
    for (index, result) in bookings.create_many(&rows).await.into_iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(index, 4),
            Err(Error::TooLarge { .. }) => assert_eq!(index, 4),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!bookings.exists(&rows[4].id).await.expect("an answer"));
}

#[tokio::test]
async fn a_call_holds_up_the_server_with_few_bytes() {
    let redis = RedisServer::start().expect("a private server");
    let mut settings = Settings::new(redis.url(), servers().create_database());
    settings.tenant = Some("large".to_owned());
    settings.redis.connections = 1;
    // On a machine that is busy, a call that is made again would be counted twice.
    settings.redis.command_timeout = PATIENCE;
    let pair = Pair::connect(settings).await;
    let view = RedisView::of(&pair).await;
    let calls = async || {
        let stats: String = view.ask(&["INFO", "commandstats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().and_then(|n| n.parse().ok()).expect("calls"))
    };
    let bookings = pair.kv.repository::<Booking>();
    // A first call makes the script known.
    let _ = bookings.create(&Booking::sample()).await.expect("a new row");
    let large = || Booking { reference: "x".repeat(400 * 1024), ..Booking::sample() };
    let before: usize = calls().await;
    let rows: Vec<Booking> = (0..20).map(|_| large()).collect();
    for result in bookings.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    let together = calls().await - before;
    assert_eq!(together, 10, "two of them are less than a MiB, three are more");
    let before = calls().await;
    let writes: Vec<_> = (0..40)
        .map(|_| {
            let (bookings, row) = (bookings.clone(), large());
            tokio::spawn(async move { bookings.create(&row).await })
        })
        .collect();
    for write in writes {
        let _ = write.await.expect("no panic").expect("a new row");
    }
    let alone = calls().await - before;
    assert!((20..=40).contains(&alone), "{alone}");
    // Small ones share their calls as ever.
    let before = calls().await;
    let rows: Vec<Booking> = (0..128).map(|_| Booking::sample()).collect();
    for result in bookings.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    assert_eq!(calls().await - before, 2);
}

async fn batches_are_bounded_in_bytes(pair: Pair) {
    const ROWS: usize = 40;
    const ROW_BYTES: usize = 10_000;
    let change = |settings: &mut Settings| {
        settings.drain.workers = 1;
        settings.drain.batch_bytes = 3 * ROW_BYTES;
    };
    let pair = pair.with(change).await;
    let bookings = pair.kv.repository::<Booking>();
    let row = || Booking { reference: "x".repeat(ROW_BYTES), ..Booking::sample() };
    let mut rows: Vec<Booking> = (0..ROWS).map(|_| row()).collect();
    // One that alone has more than a batch may.
    rows[7].reference = "x".repeat(10 * ROW_BYTES);
    assert!(bookings.create_many(&rows).await.iter().all(Result::is_ok));
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.undrained), (ROWS as u64, 0));
    // Two rows fit into a batch, the third is over it by its header.
    assert!(status.batches >= ROWS as u64 / 2, "{} batches", status.batches);
}
