//! The way to Redis alone and back, with rows that PostgreSQL has.

use std::time::Duration;

use kv_runtime::{Error, Kv, StorageScheme, SwitchError};
use kv_tests::contract;
use kv_tests::models::{Counter, Flight, Member, Seat};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

use super::switches::counter;

contract!(in parallel:
    rows_of_postgresql_are_those_of_redis_alone,
    what_was_changed_in_redis_alone_is_carried_back,
    deletions_in_redis_alone_are_carried_back,
    unique_values_go_to_redis_alone_and_back,
    unique_values_that_are_handed_on_are_carried_back,
    what_was_not_loaded_goes_on_as_it_was,
);

/// From where rows can be moved to Redis alone.
const OTHERS: [StorageScheme; 4] = [
    StorageScheme::WriteBehind,
    StorageScheme::WriteThrough,
    StorageScheme::CacheAside,
    StorageScheme::PostgresOnly,
];
/// More rows than are moved at once.
const ROWS: i64 = 1_100;

/// A transaction that writes many rows may rest longer than a drainer's.
async fn patient(pair: Pair) -> Pair {
    pair.with(|settings| settings.drain.lease = Duration::from_secs(10)).await
}

/// Rows that are in PostgreSQL, and not in Redis.
async fn stored(pair: &Pair, count: i64) {
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("nothing is there");
    let rows: Vec<Counter> = (0..count).map(|id| counter(id, id)).collect();
    for created in pair.kv.repository::<Counter>().create_many(&rows).await {
        let _ = created.expect("a new row");
    }
}

async fn switch(kv: &Kv, to: StorageScheme) {
    kv.switch_scheme::<Counter>(to).await.expect("a drainer is at work");
}

async fn rows_of_postgresql_are_those_of_redis_alone(pair: Pair) {
    let pair = patient(pair).await;
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.spawn_drainer();
    stored(&pair, ROWS).await;
    let ids: Vec<i64> = (0..ROWS).collect();
    for from in OTHERS {
        switch(&pair.kv, from).await;
        switch(&pair.kv, StorageScheme::RedisOnly).await;
        let read = counters.get_many(&ids).await.expect("Redis is up");
        let expected: Vec<Option<Counter>> = ids.iter().map(|&id| Some(counter(id, id))).collect();
        assert_eq!(read, expected, "{from}");
        let error = counters.create(&counter(7, 70)).await.expect_err("it is there");
        assert!(error.is_duplicate(), "{from}: {error:?}");
        // Of what is done there by hand, nobody is told.
        pair.sql("UPDATE counters SET total_count = -1 WHERE id = 7").await;
        pair.sql("INSERT INTO counters VALUES (5000, 1, 'a') ON CONFLICT DO NOTHING").await;
        assert_eq!(counters.get_by_id(&7).await.expect("the row"), counter(7, 7), "{from}");
        assert_eq!(counters.find_by_id(&5_000).await.expect("an answer"), None, "{from}");
        let _ = counters.create(&counter(5_000, 2)).await.expect("no row of Redis");
        let _ = counters.delete(&5_000).await.expect("a row");
        pair.sql("DELETE FROM counters WHERE id = 5000").await;
    }
    drainer.shutdown().await.expect("everything is drained");
}

async fn what_was_changed_in_redis_alone_is_carried_back(pair: Pair) {
    let pair = patient(pair).await;
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.spawn_drainer();
    stored(&pair, ROWS).await;
    for (to, changed) in OTHERS.into_iter().zip(1..) {
        switch(&pair.kv, StorageScheme::RedisOnly).await;
        let _ = counters.update(&1, Counter::patch().total(changed)).await.expect("a row");
        let _ = counters.upsert(&counter(2, changed)).await.expect("a row");
        let _ = counters.create(&counter(ROWS + changed, changed)).await.expect("a new row");
        drainer.flush().await.expect("into nowhere");
        if pair.has_servers() {
            let sql = "SELECT total_count::text AS value FROM counters WHERE id = 1";
            let before = if changed == 1 { 1 } else { changed - 1 };
            assert_eq!(pair.texts(sql).await, [Some(before.to_string())], "as it was");
        }
        switch(&pair.kv, to).await;
        let mut rows = pair.kv.durable_rows::<Counter>().await.expect("rows");
        rows.sort_by_key(|row| row.id);
        let mut expected: Vec<Counter> = (0..ROWS).map(|id| counter(id, id)).collect();
        expected.extend((1..=changed).map(|more| counter(ROWS + more, more)));
        (expected[1].total, expected[2].total) = (changed, changed);
        assert_eq!(rows, expected, "{to}");
        assert_eq!(counters.get_by_id(&1).await.expect("the row").total, changed, "{to}");
    }
    drainer.shutdown().await.expect("everything is drained");
}

async fn deletions_in_redis_alone_are_carried_back(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.spawn_drainer();
    stored(&pair, 20).await;
    // It takes the rows to be where they were before.
    let other = pair.other_process().await;
    switch(&pair.kv, StorageScheme::WriteBehind).await;
    let elsewhere = other.repository::<Counter>();
    assert!(elsewhere.exists(&0).await.expect("an answer"));
    switch(&pair.kv, StorageScheme::RedisOnly).await;
    let error = elsewhere.query().count().await.expect_err("PostgreSQL has what was");
    assert!(matches!(error, Error::RedisOnly { .. }), "{error:?}");
    for id in 0..10 {
        let _ = counters.delete(&id).await.expect("a row");
    }
    let _ = counters.create(&counter(20, 20)).await.expect("a new row");
    let _ = counters.delete(&20).await.expect("a row");
    // A deletion that is taken back.
    let _ = counters.create(&counter(9, 90)).await.expect("it was deleted");
    drainer.flush().await.expect("into nowhere");
    for id in 0..9 {
        assert_eq!(elsewhere.find_by_id(&id).await.expect("an answer"), None, "{id}");
    }
    switch(&pair.kv, StorageScheme::WriteBehind).await;
    let mut rows = pair.kv.durable_rows::<Counter>().await.expect("rows");
    rows.sort_by_key(|row| row.id);
    let kept = (10..20).map(|id| counter(id, id));
    assert_eq!(rows, [counter(9, 90)].into_iter().chain(kept).collect::<Vec<_>>());
    for id in 0..9 {
        assert_eq!(counters.find_by_id(&id).await.expect("an answer"), None, "{id}");
    }
    drainer.shutdown().await.expect("everything is drained");
}

async fn unique_values_go_to_redis_alone_and_back(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    let drainer = pair.spawn_drainer();
    for id in 0..6 {
        let member = Member::with_badge(id, &format!("badge {id}"));
        let _ = members.create(&member).await.expect("a new row");
    }
    let to = StorageScheme::PostgresOnly;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    let to = StorageScheme::RedisOnly;
    pair.kv.switch_scheme::<Member>(to).await.expect("nothing to drain");
    for id in 0..6 {
        let found = members.find_by_badge(format!("badge {id}")).await.expect("an answer");
        assert_eq!(found.map(|member| member.id), Some(id));
        let taken = members.create(&Member::with_badge(10 + id, &format!("badge {id}"))).await;
        assert!(taken.expect_err("it is taken").is_duplicate());
    }
    // Given up, by a deletion, by a change, and for another one's.
    let _ = members.delete(&0).await.expect("a row");
    let patch = Member::patch().badge("badge 20");
    let _ = members.update(&1, patch).await.expect("a row");
    let swap = pair.kv.transaction(async |unit| {
        let members = unit.repository::<Member>();
        members.update(&1, Member::patch().badge(None)).await
    });
    swap.await.expect("a row");
    let _ = members.create(&Member::with_badge(30, "badge 0")).await.expect("it is free");
    let _ = members.create(&Member::with_badge(31, "badge 1")).await.expect("it is free");
    let to = StorageScheme::WriteBehind;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    let mut rows = pair.kv.durable_rows::<Member>().await.expect("rows");
    rows.sort_by_key(|row| row.id);
    let kept = (2..6).map(|id| Member::with_badge(id, &format!("badge {id}")));
    let mut expected = vec![Member::sample(1)];
    expected.extend(kept);
    expected.extend([Member::with_badge(30, "badge 0"), Member::with_badge(31, "badge 1")]);
    assert_eq!(rows, expected);
    let taken = members.create(&Member::with_badge(40, "badge 0")).await;
    assert!(taken.expect_err("it is taken").is_duplicate());
    drainer.shutdown().await.expect("everything is drained");
}

/// Each row has the value of another one, in whichever order and chunks they are written.
async fn unique_values_that_are_handed_on_are_carried_back(pair: Pair) {
    let pair = patient(pair).await;
    const MEMBERS: i64 = 520;
    let members = pair.kv.repository::<Member>();
    let drainer = pair.spawn_drainer();
    let member = |id: i64, badge: i64| Member::with_badge(id, &format!("badge {badge}"));
    let rows: Vec<Member> = (0..MEMBERS).map(|id| member(id, id)).collect();
    for created in members.create_many(&rows).await {
        let _ = created.expect("a new row");
    }
    let to = StorageScheme::RedisOnly;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    for round in [1_000, 1] {
        for id in 0..MEMBERS {
            let badge = if round == 1 { (id + 1) % MEMBERS } else { id + round };
            let patch = Member::patch().badge(Some(format!("badge {badge}")));
            let _ = members.update(&id, patch).await.expect("a value that is free");
        }
    }
    let to = StorageScheme::PostgresOnly;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    let mut rows = pair.kv.durable_rows::<Member>().await.expect("rows");
    rows.sort_by_key(|row| row.id);
    let expected: Vec<Member> = (0..MEMBERS).map(|id| member(id, (id + 1) % MEMBERS)).collect();
    assert_eq!(rows, expected);
    drainer.shutdown().await.expect("everything is drained");
}

async fn what_was_not_loaded_goes_on_as_it_was(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let drainer = pair.spawn_drainer();
    let (flights, seats) = (pair.kv.repository::<Flight>(), pair.kv.repository::<Seat>());
    let flight = Flight { flight: "A".into(), taken: 1 };
    let _ = flights.create(&flight).await.expect("a new row");
    let seat = Seat { flight: "A".into(), number: 1, passenger: None };
    let _ = seats.create(&seat).await.expect("a new row");
    for from in [StorageScheme::PostgresOnly, StorageScheme::WriteBehind] {
        pair.kv.switch_scheme::<Flight>(from).await.expect("a drainer is at work");
        // Of the two models of the queue, one can be loaded.
        pair.sql("ALTER TABLE seats RENAME COLUMN passenger TO guest").await;
        let error = pair.kv.switch_scheme::<Flight>(StorageScheme::RedisOnly).await;
        let error = error.expect_err("a column is not there");
        assert!(matches!(error, SwitchError::PostgreSql(_)), "{error:?}");
        pair.sql("ALTER TABLE seats RENAME COLUMN guest TO passenger").await;
        assert_eq!(pair.kv.scheme::<Flight>().await.expect("PostgreSQL is up"), from);
        let taken = if from == StorageScheme::PostgresOnly { 2 } else { 3 };
        let patch = Flight::patch().taken(taken);
        let receipt = flights.update(&"A".to_owned(), patch).await.expect("a row");
        receipt.await_durable().await.expect("it is drained");
        let stored = pair.kv.durable_rows::<Flight>().await.expect("rows");
        assert_eq!(stored, [Flight { taken, ..flight.clone() }]);
        let read = flights.get_by_id(&"A".to_owned()).await.expect("the row");
        assert_eq!(read.taken, taken);
    }
    pair.kv.switch_scheme::<Flight>(StorageScheme::RedisOnly).await.expect("all is there");
    assert_eq!(flights.get_by_id(&"A".to_owned()).await.expect("the row").taken, 3);
    drainer.shutdown().await.expect("everything is drained");
}

#[tokio::test]
async fn nothing_of_redis_alone_has_a_time_to_live() {
    let pair = Pair::servers().await;
    let members = pair.kv.repository::<Member>();
    let drainer = pair.spawn_drainer();
    for id in 0..30 {
        let member = Member::with_badge(id, &format!("badge {id}"));
        let _ = members.create(&member).await.expect("a new row");
    }
    drainer.flush().await.expect("it drains");
    // Readers put rows and values back, with a time to live.
    for id in 0..10 {
        members.invalidate(&id).await.expect("a clean row");
        let found = members.find_by_badge(format!("badge {id}")).await.expect("an answer");
        assert!(found.is_some());
    }
    let to = StorageScheme::RedisOnly;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    let view = RedisView::of(&pair).await;
    let keys = [view.row_keys().await, view.keys("string").await].concat();
    let of_members: Vec<&String> = keys.iter().filter(|key| key.contains("member")).collect();
    // With an email and a badge each; what drainers take for a time is no row's.
    let pinned: Vec<&&String> = of_members.iter().filter(|key| !key.contains(".lease")).collect();
    assert_eq!(pinned.len(), 30 * 3, "{pinned:?}");
    for key in pinned {
        assert_eq!(view.ttl_ms(key).await, -1, "{key}");
    }
    for id in 0..30 {
        let _ = members.delete(&id).await.expect("a row");
    }
    drainer.flush().await.expect("into nowhere");
    let to = StorageScheme::WriteBehind;
    pair.kv.switch_scheme::<Member>(to).await.expect("a drainer is at work");
    assert_eq!(view.row_keys().await, Vec::<String>::new());
    drainer.shutdown().await.expect("everything is drained");
}
