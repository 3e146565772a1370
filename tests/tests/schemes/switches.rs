//! The way from one storage scheme to another, while rows are read and written.

use std::time::Duration;

use kv_runtime::{DeadLetterFilter, Error, StorageScheme, SwitchError};
use kv_tests::contract;
use kv_tests::counting::{self, Counting};
use kv_tests::models::{Account, Counter};
use kv_tests::pair::Pair;

contract!(in parallel:
    a_queue_is_moved_while_it_is_used,
    rows_and_versions_survive_every_way,
    what_is_not_drained_stays_where_it_is,
    a_queue_with_dead_letters_stays_where_it_is,
    a_queue_of_redis_alone_is_moved_out,
    what_postgresql_does_not_take_stays_in_redis_alone,
    a_switch_that_was_broken_off_is_finished,
);

const ALL: [StorageScheme; 11] = [
    StorageScheme::PostgresOnly,
    StorageScheme::CacheAside,
    StorageScheme::WriteThrough,
    StorageScheme::RedisOnly,
    StorageScheme::CacheAside,
    StorageScheme::RedisOnly,
    StorageScheme::PostgresOnly,
    StorageScheme::RedisOnly,
    StorageScheme::WriteBehind,
    StorageScheme::RedisOnly,
    StorageScheme::WriteThrough,
];

pub(super) fn counter(id: i64, total: i64) -> Counter {
    Counter { id, total, r#type: "a".to_owned() }
}

pub(super) fn account(id: i64) -> Account {
    Account { id, revision: 0, note: None, active: true }
}

async fn a_queue_is_moved_while_it_is_used(pair: Pair) {
    let other = pair.other_process().await;
    let drainer = pair.spawn_drainer();
    let counting = Counting::start(&pair, 1..9).await;
    for to in ALL {
        // Two at once, of which one finds it done.
        let (first, second) =
            tokio::join!(pair.kv.switch_scheme::<Counter>(to), other.switch_scheme::<Counter>(to),);
        first.and(second).expect("a drainer is at work");
        assert_eq!(other.scheme::<Counter>().await.expect("PostgreSQL is up"), to);
        counting.go_on().await;
    }
    let totals = counting.stop().await;
    drainer.shutdown().await.expect("everything is drained");
    counting::check_rows(&pair, &totals).await;
}

async fn rows_and_versions_survive_every_way(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let drainer = pair.spawn_drainer();
    let mut newest = accounts.create(&account(1)).await.expect("a new row").version;
    for (id, to) in (2..).zip(ALL) {
        pair.kv.switch_scheme::<Account>(to).await.expect("a drainer is at work");
        pair.kv.switch_scheme::<Account>(to).await.expect("it is so already");
        assert_eq!(accounts.get_by_id(&1).await.expect("the row"), account(1), "{to}");
        let receipts = [
            accounts.create(&account(id)).await.expect("a new row"),
            accounts.upsert(&account(1)).await.expect("a row"),
            accounts.delete(&id).await.expect("a row"),
        ];
        for receipt in receipts {
            receipt.await_durable().await.expect("it is drained");
        }
        let version = accounts.upsert(&account(1)).await.expect("a row").version;
        assert!(version > newest, "{to}");
        newest = version;
        assert_eq!(accounts.find_by_id(&id).await.expect("an answer"), None, "{to}");
        match accounts.query().count().await {
            Err(Error::RedisOnly { .. }) if to == StorageScheme::RedisOnly => {}
            left => assert_eq!(left.expect("a number"), 1, "{to}"),
        }
    }
    drainer.shutdown().await.expect("everything is drained");
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("rows"), [account(1)]);
}

async fn what_is_not_drained_stays_where_it_is(pair: Pair) {
    let pair = pair.with(|settings| settings.switch_timeout = Duration::from_millis(100)).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 1)).await.expect("a new row");
    let error = pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await;
    let error = error.expect_err("no drainer");
    assert!(matches!(error, SwitchError::NotDrained { undrained: 1, .. }), "{error:?}");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
    let _ = counters.update(&1, Counter::patch().total(2)).await.expect("a row");
    let _ = counters.create(&counter(2, 2)).await.expect("a new row");
    assert_eq!(pair.drain().await.entries_drained, 3);
    assert_eq!(
        pair.kv.scheme::<Counter>().await.expect("PostgreSQL is up"),
        StorageScheme::WriteBehind
    );
}

async fn a_queue_with_dead_letters_stays_where_it_is(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    accounts.invalidate(&1).await.expect("a clean row");
    // The caller has vouched that the id is new.
    let _ = accounts.create(&account(1)).await.expect("nobody has asked PostgreSQL");
    pair.drain().await;
    let error = pair.kv.switch_scheme::<Account>(StorageScheme::CacheAside).await;
    let error = error.expect_err("a dead letter");
    assert!(matches!(error, SwitchError::Held { letters: 1, .. }), "{error:?}");
    let letters = pair.kv.dead_letters();
    letters.discard(&DeadLetterFilter::new()).await.expect("both sides are up");
    pair.kv.switch_scheme::<Account>(StorageScheme::CacheAside).await.expect("nothing is held");
}

async fn a_queue_of_redis_alone_is_moved_out(pair: Pair) {
    let pair = pair.under(StorageScheme::RedisOnly).await;
    let counters = pair.kv.repository::<Counter>();
    for id in 0..50 {
        let _ = counters.create(&counter(id, id)).await.expect("a new row");
    }
    let _ = counters.delete(&49).await.expect("a row");
    let drainer = pair.spawn_drainer();
    pair.kv.switch_scheme::<Counter>(StorageScheme::WriteBehind).await.expect("a drainer");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 49);
    assert_eq!(counters.find_by_id(&49).await.expect("an answer"), None);
    let _ = counters.update(&7, Counter::patch().total(70)).await.expect("a row");
    assert_eq!(counters.query().count().await.expect("a number"), 49);
    drainer.shutdown().await.expect("everything is drained");
    let rows = pair.kv.durable_rows::<Counter>().await.expect("rows");
    let sum: i64 = rows.iter().map(|row| row.total).sum();
    assert_eq!(sum, (0..49).sum::<i64>() + 63);
}

async fn what_postgresql_does_not_take_stays_in_redis_alone(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let pair = pair.under(StorageScheme::RedisOnly).await;
    pair.sql("ALTER TABLE counters ADD CHECK (total_count < 1199)").await;
    let counters = pair.kv.repository::<Counter>();
    let rows: Vec<Counter> = (0..1_200).map(|id| counter(id, id)).collect();
    for created in counters.create_many(&rows).await {
        let _ = created.expect("a new row");
    }
    let drainer = pair.spawn_drainer();
    let error = pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await;
    let error = error.expect_err("one is too large");
    assert!(matches!(error, SwitchError::Refused { .. }), "{error:?}");
    let ids: Vec<i64> = (0..1_200).collect();
    let read = counters.get_many(&ids).await.expect("Redis is up");
    assert!(read.iter().all(Option::is_some));
    let _ = counters.delete(&1_199).await.expect("a row");
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("they are taken");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 1_199);
    drainer.shutdown().await.expect("everything is drained");
}

async fn a_switch_that_was_broken_off_is_finished(pair: Pair) {
    let pair = pair.with(|settings| settings.switch_timeout = Duration::from_secs(20)).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 1)).await.expect("a new row");
    // Nobody drains, so that it is in the midst of it when it is broken off.
    let switch = pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly);
    let broken_off = tokio::time::timeout(Duration::from_millis(200), switch).await;
    assert!(broken_off.is_err(), "{broken_off:?}");
    assert_eq!(counters.get_by_id(&1).await.expect("reads go on"), counter(1, 1));
    let late = tokio::spawn({
        let counters = counters.clone();
        async move { counters.create(&counter(2, 2)).await }
    });
    let drainer = pair.spawn_drainer();
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("a drainer");
    let _ = late.await.expect("no panic").expect("it has waited for the end of the switch");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 2);
    drainer.shutdown().await.expect("everything is drained");
}
