//! The levels of consistency: what each sees, and what it says of itself.

use std::time::{Duration, Instant};

use kv_runtime::testing::Proxy;
use kv_runtime::{DurabilityError, Error, Server, Stored};
use kv_tests::contract;
use kv_tests::models::{Account, Booking};
use kv_tests::pair::Pair;

contract!(
    stored_answers_are_postgresqls_alone_and_say_how_far_behind,
    a_query_waits_for_a_write,
    a_query_that_waits_for_a_refused_write_says_so,
    a_query_that_waits_for_nobody_ends,
    with_too_many_dirty_rows_a_query_waits_for_the_drain,
    with_too_many_dirty_rows_and_no_drainer_a_query_says_so,
);

fn account(id: i64) -> Account {
    Account { id, revision: 1, note: None, active: true }
}

async fn stored_answers_are_postgresqls_alone_and_say_how_far_behind(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let stored = || accounts.query().stored();
    let Stored { value, behind } = stored().count().await.expect("a count");
    let behind = behind.expect("Redis is up");
    assert_eq!((value, behind.entries, behind.age), (0, 0, Duration::ZERO));
    for id in 0..3 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let Stored { value, behind } = stored().load().await.expect("rows");
    let behind = behind.expect("Redis is up");
    assert_eq!((value.len(), behind.entries), (0, 3));
    assert!(behind.age >= Duration::from_millis(10), "{behind:?}");
    assert!(behind.age < Duration::from_secs(60), "{behind:?}");
    pair.drain().await;
    let _ = accounts.create(&account(3)).await.expect("a new row");
    let Stored { value, behind } = stored().group_by(|a| a.active).count().await.expect("groups");
    assert_eq!((value, behind.expect("Redis is up").entries), (vec![(true, 3)], 1));
    let Stored { value, .. } = stored().limit(2).page().await.expect("a page");
    assert_eq!((value.rows.len(), value.next.is_some()), (2, true));
    assert!(!stored().filter(|a| a.id.eq(3)).exists().await.expect("an answer").value);
}

async fn a_query_waits_for_a_write(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let drainer = pair.spawn_drainer();
    for id in 0..20 {
        let receipt = accounts.create(&account(id)).await.expect("a new row");
        let stored = accounts.query().stored().after_write(&receipt);
        let found = stored.filter(|a| a.id.eq(id)).first().await.expect("a row");
        assert_eq!(found.value, Some(account(id)));
        let laid_over = accounts.query().after_write(&receipt).count().await.expect("a count");
        assert_eq!(laid_over, u64::try_from(id).expect("a small id") + 1);
    }
    drainer.shutdown().await.expect("everything is drained");
}

async fn a_query_that_waits_for_a_refused_write_says_so(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    accounts.invalidate(&1).await.expect("a clean row");
    let receipt = accounts.create(&account(1)).await.expect("Redis does not know of the first");
    pair.drain().await;
    let error = accounts.query().after_write(&receipt).load().await.expect_err("it is refused");
    let Error::NotDurable { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, DurabilityError::Refused { .. }), "{error:?}");
}

async fn a_query_that_waits_for_nobody_ends(pair: Pair) {
    let pair = pair.with(|settings| settings.overlay_timeout = Duration::from_millis(50)).await;
    let accounts = pair.kv.repository::<Account>();
    let receipt = accounts.create(&account(1)).await.expect("a new row");
    let error = accounts.query().stored().after_write(&receipt).load().await.expect_err("nobody");
    assert!(matches!(error, Error::Behind { .. }) && error.is_transient(), "{error:?}");
}

async fn with_too_many_dirty_rows_a_query_waits_for_the_drain(pair: Pair) {
    let pair = pair.with(|settings| settings.overlay_max = 10).await;
    let bookings = pair.kv.repository::<Booking>();
    let rows: Vec<Booking> = (0..200).map(|_| Booking::sample()).collect();
    for (at, row) in rows.iter().enumerate() {
        let _ = bookings.create(row).await.expect("a new row");
        if at == 9 {
            // So many it lays over by itself.
            assert_eq!(bookings.query().count().await.expect("a count"), 10);
        }
    }
    let counted = tokio::spawn(bookings.query().count());
    tokio::task::yield_now().await;
    let drainer = pair.spawn_drainer();
    let count = counted.await.expect("it does not panic").expect("a count");
    assert_eq!(count, 200);
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("rows").len(), 200, "it has waited");
    // While others go on writing, it comes to an end all the same.
    let writing = tokio::spawn({
        let bookings = bookings.clone();
        async move {
            loop {
                let _ = bookings.create(&Booking::sample()).await.expect("room for it");
            }
        }
    });
    for _ in 0..10 {
        let last = Booking::sample();
        let _ = bookings.create(&last).await.expect("a new row");
        let is_there = bookings.query().filter(|b| b.id.eq(last.id)).exists().await;
        assert!(is_there.expect("an answer"), "a write that was acknowledged before the query");
    }
    writing.abort();
    drainer.shutdown().await.expect("everything is drained");
}

async fn with_too_many_dirty_rows_and_no_drainer_a_query_says_so(pair: Pair) {
    let pair = pair
        .with(|settings| {
            settings.overlay_max = 2;
            settings.overlay_timeout = Duration::from_millis(50);
        })
        .await;
    let accounts = pair.kv.repository::<Account>();
    for id in 0..3 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    let error = accounts.query().load().await.expect_err("three are more than two");
    let Error::Behind { at, waited } = &error else { panic!("{error:?}") };
    assert_eq!((at.verb, *waited), ("query.load", Duration::from_millis(50)));
    assert!(error.to_string().contains("Settings::overlay_max"), "{error}");
    pair.drain().await;
    assert_eq!(accounts.query().count().await.expect("a count"), 3);
}

/// Then nothing is known of how far it is behind.
#[tokio::test]
async fn stored_answers_need_no_redis() {
    let pair = Pair::servers().await;
    let proxy = Proxy::to(pair.settings.redis.url.expose()).await.expect("a proxy");
    let pair = pair.with(|settings| settings.redis.url = proxy.url().into()).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    drop(proxy);
    let Stored { value, behind } = accounts.query().stored().load().await.expect("rows");
    assert_eq!((value, behind), (vec![account(1)], None));
    let error = accounts.query().load().await.expect_err("what is dirty is not known");
    assert!(matches!(error, Error::Unavailable { server: Server::Redis, .. }), "{error:?}");
}

/// However long it would be waited for otherwise.
#[tokio::test]
async fn stored_answers_do_not_wait_for_a_redis_that_hangs() {
    let pair = Pair::servers().await;
    let proxy = Proxy::to(pair.settings.redis.url.expose()).await.expect("a proxy");
    let pair = pair
        .with(|settings| {
            settings.redis.url = proxy.url().into();
            settings.redis.command_timeout = Duration::from_secs(60);
        })
        .await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    proxy.stall();
    let stored = accounts.query().stored().load();
    let answer = tokio::time::timeout(Duration::from_secs(20), stored).await;
    let Stored { value, behind } = answer.expect("PostgreSQL answers").expect("rows");
    assert_eq!((value, behind), (vec![account(1)], None));
}

/// The second write is waited for no longer than the first one has left.
#[tokio::test]
async fn a_query_that_waits_for_several_writes_waits_once() {
    let pair = Pair::memory().await;
    let pair = pair.with(|settings| settings.overlay_timeout = Duration::from_secs(2)).await;
    let accounts = pair.kv.repository::<Account>();
    let bookings = pair.kv.repository::<Booking>();
    let drained = accounts.create(&account(1)).await.expect("a new row");
    let left = bookings.create(&Booking::sample()).await.expect("a new row");
    let began = Instant::now();
    let drainer = tokio::spawn({
        let kv = pair.kv.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1_600)).await;
            kv.drainer().model::<Account>().spawn()
        }
    });
    let query = accounts.query().stored().after_write(&drained).after_write(&left);
    let error = query.load().await.expect_err("nobody drains the second");
    assert!(matches!(error, Error::Behind { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drainer.await.expect("it does not panic").shutdown().await.expect("everything is drained");
}

#[tokio::test]
async fn without_postgresql_a_query_is_unavailable() {
    let pair = Pair::servers().await;
    let proxy = Proxy::to(pair.settings.postgres.url.expose()).await.expect("a proxy");
    let pair = pair
        .with(|settings| {
            settings.postgres.url = proxy.url().into();
            settings.postgres.checkout_timeout = Duration::from_millis(200);
        })
        .await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    drop(proxy);
    let errors = [
        accounts.query().load().await.expect_err("no PostgreSQL"),
        accounts.query().stored().count().await.expect_err("no PostgreSQL"),
    ];
    for error in errors {
        let is_postgresql = matches!(error, Error::Unavailable { server: Server::PostgreSql, .. });
        assert!(is_postgresql && error.is_transient(), "{error:?}");
    }
}
