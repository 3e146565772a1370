//! Waiting for a write to be in PostgreSQL: it is there when the wait is over, and not before.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, RedisOptions, RedisServer, servers};
use kv_runtime::{DeadLetterFilter, DurabilityError, Receipt, Settings};
use kv_tests::contract;
use kv_tests::models::{Account, Booking};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use tokio::task::JoinHandle;

contract!(a_write_is_durable_once_it_is_drained, many_wait_at_once);

const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for(receipt: &Receipt) -> JoinHandle<Result<(), DurabilityError>> {
    let receipt = receipt.clone();
    tokio::spawn(async move {
        tokio::time::timeout(PATIENCE, receipt.await_durable()).await.expect("it ends")
    })
}

/// Whether it still waits after a time in which it would have looked more than once.
async fn still_waits(receipt: &Receipt) -> bool {
    tokio::time::timeout(Duration::from_millis(300), receipt.await_durable()).await.is_err()
}

async fn a_write_is_durable_once_it_is_drained(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let receipt = bookings.create(&booking).await.expect("a new row");
    assert!(still_waits(&receipt).await, "nobody drains");
    let waiting = wait_for(&receipt);
    let drainer = pair.spawn_drainer();
    waiting.await.expect("no panic").expect("it is drained");
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows"), [booking]);
    // Also for one who asks late, or twice.
    receipt.await_durable().await.expect("it is drained");
    drainer.shutdown().await.expect("nothing is left");
}

async fn many_wait_at_once(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let drainer = pair.spawn_drainer();
    let waits: Vec<_> = (0..300)
        .map(|id| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                let account = Account { id, revision: 1, note: None, active: true };
                let receipt = accounts.create(&account).await.expect("a new row");
                let durable = tokio::time::timeout(PATIENCE, receipt.await_durable()).await;
                durable.expect("it ends").expect("it is drained");
            })
        })
        .collect();
    for wait in waits {
        wait.await.expect("no panic");
    }
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), 300);
    drainer.shutdown().await.expect("nothing is left");
}

#[tokio::test]
async fn a_commit_that_is_held_up_is_waited_for() {
    let pair = Pair::servers().await;
    let url = pair.database_url.as_deref().expect("a database");
    let mut other = AsyncPgConnection::establish(url).await.expect("the server is up");
    let lock = "BEGIN; LOCK TABLE bookings IN ACCESS EXCLUSIVE MODE";
    other.batch_execute(lock).await.expect("nobody else has it");
    let bookings = pair.kv.repository::<Booking>();
    let receipt = bookings.create(&Booking::sample()).await.expect("a new row");
    let waiting = wait_for(&receipt);
    let drainer = pair.spawn_drainer();
    let held_up = async {
        let blocked = "SELECT count(*)::text AS value FROM pg_locks \
            WHERE NOT granted AND relation = 'bookings'::regclass";
        while pair.texts(blocked).await == [Some("0".to_owned())] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held_up).await.expect("the drainer comes to the table");
    assert!(still_waits(&receipt).await, "its commit is held up");
    assert!(!waiting.is_finished());
    other.batch_execute("COMMIT").await.expect("it was held");
    waiting.await.expect("no panic").expect("it is drained");
    drainer.shutdown().await.expect("nothing is left");
}

#[tokio::test]
async fn a_refusal_is_told_from_a_success() {
    let pair = Pair::servers().await;
    let bookings = pair.kv.repository::<Booking>();
    pair.sql("ALTER TABLE bookings ADD CONSTRAINT seats_are_few CHECK (seats < 9)").await;
    let many = Booking { seats: 9, ..Booking::sample() };
    let refused = bookings.create(&many).await.expect("Redis knows of no check");
    let taken = bookings.create(&Booking::sample()).await.expect("a new row");
    assert!(still_waits(&refused).await, "nobody drains");
    let drainer = pair.spawn_drainer();
    let error = wait_for(&refused).await.expect("no panic").expect_err("it was refused");
    let message = error.to_string();
    assert!(message.contains("seats_are_few"), "{message}");
    let DurabilityError::Refused { entry, sqlstate, .. } = error else { panic!("{message}") };
    assert_eq!((entry, sqlstate.as_deref()), (refused.entry, Some("23514")));
    wait_for(&taken).await.expect("no panic").expect("it was taken");
    // One that was replayed is applied.
    pair.sql("ALTER TABLE bookings DROP CONSTRAINT seats_are_few").await;
    let replayed = pair.kv.dead_letters().replay(&DeadLetterFilter::new()).await;
    assert_eq!(replayed.expect("it is taken now").applied, 1);
    wait_for(&refused).await.expect("no panic").expect("it was replayed");
    drop(drainer);
}

#[tokio::test]
async fn a_wait_goes_on_through_outages_of_either_server() {
    let options = RedisOptions::new().append_only(true).setting("appendfsync", "always");
    let mut redis = RedisServer::start_with(options).expect("a private server");
    let mut postgres = PostgresServer::start().expect("a private server");
    let url = postgres.create_database("outages").expect("a new database");
    let mut settings = Settings::new(redis.url(), url.as_str());
    settings.tenant = Some("outages".to_owned());
    settings.postgres.checkout_timeout = Duration::from_secs(1);
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.backoff_max = Duration::from_millis(200);
    let pair = Pair::connect(settings).await;
    let bookings = pair.kv.repository::<Booking>();
    let receipt = bookings.create(&Booking::sample()).await.expect("a new row");
    let waiting = wait_for(&receipt);
    assert!(still_waits(&receipt).await, "nobody drains");
    redis.kill().expect("it runs");
    postgres.kill().expect("it runs");
    assert!(still_waits(&receipt).await, "neither server is there");
    redis.restart().expect("it starts");
    let drainer = pair.spawn_drainer();
    assert!(still_waits(&receipt).await, "PostgreSQL is not there");
    assert!(!waiting.is_finished());
    postgres.restart().expect("it starts");
    waiting.await.expect("no panic").expect("it is drained");
    drainer.shutdown().await.expect("nothing is left");
}

#[tokio::test]
async fn an_entry_that_redis_lost_is_told() {
    let mut redis = RedisServer::start().expect("a private server");
    let mut settings = Settings::new(redis.url(), servers().create_database());
    settings.tenant = Some("lost".to_owned());
    settings.partitions = 1;
    let pair = Pair::connect(settings).await;
    let bookings = pair.kv.repository::<Booking>();
    let receipt = bookings.create(&Booking::sample()).await.expect("a new row");
    let waiting = wait_for(&receipt);
    assert!(still_waits(&receipt).await, "nobody drains");
    // Without an append-only file it comes back empty.
    redis.kill().expect("it runs");
    redis.restart().expect("it starts");
    let error = waiting.await.expect("no panic").expect_err("it is gone");
    assert!(matches!(error, DurabilityError::Lost { .. }), "{error}");
    // Entries that came after it say nothing about it, and neither does another in its place.
    let view = RedisView::of(&pair).await;
    let stream = "lost/booking_queue";
    let header = "create booking 1 0000000000000000 0";
    let entry = receipt.entry.to_string();
    let words = ["XADD", stream, &entry, "change", header, "values", "{}"];
    let _: String = view.ask(&words).await;
    let error = wait_for(&receipt).await.expect("no panic").expect_err("it is another entry");
    assert!(matches!(error, DurabilityError::Lost { .. }), "{error}");
}
