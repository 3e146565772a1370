//! What the schemes need of each server, and what they leave there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use kv_runtime::testing::{Proxy, RedisServer};
use kv_runtime::{Error, KvModel, Server, StorageScheme};
use kv_tests::models::Counter;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

use super::switches::counter;

#[tokio::test]
async fn without_redis_a_model_of_postgresql_alone_goes_on() {
    let redis = RedisServer::start().expect("a private server");
    let pair = Pair::servers().await.with(|settings| settings.redis.url = redis.url().into()).await;
    let pair = pair.under(StorageScheme::PostgresOnly).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 1)).await.expect("a new row");
    drop(redis);
    let _ = counters.create(&counter(2, 2)).await.expect("a new row");
    let _ = counters.update(&1, Counter::patch().total(10)).await.expect("a row");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 10));
    assert_eq!(counters.query().sum(|c| c.total).await.expect("a sum"), Some(12.into()));
    let unit = pair.kv.transaction(async |unit| {
        let counters = unit.repository::<Counter>();
        let total = counters.get_by_id(&1).await?.total;
        counters.update(&1, Counter::patch().total(total + 1)).await
    });
    unit.await.expect("a row");
    let _ = counters.delete(&2).await.expect("a row");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows"), [counter(1, 11)]);
}

#[tokio::test]
async fn without_redis_a_cache_aside_model_is_read_and_not_written() {
    let redis = RedisServer::start().expect("a private server");
    let pair = Pair::servers().await.with(|settings| settings.redis.url = redis.url().into()).await;
    let pair = pair.under(StorageScheme::CacheAside).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 1)).await.expect("a new row");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
    drop(redis);
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
    let error = counters.update(&1, Counter::patch().total(2)).await.expect_err("no Redis");
    assert!(matches!(error, Error::Unavailable { server: Server::Redis, .. }), "{error:?}");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
}

/// A reader that is slow puts nothing into Redis that a writer has changed since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_row_is_never_older_than_the_last_write() {
    let pair = Pair::servers().await.under(StorageScheme::CacheAside).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 0)).await.expect("a new row");
    let (is_over, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let mut readers = Vec::new();
    for _ in 0..8 {
        let (counters, is_over, newest) = (counters.clone(), is_over.clone(), newest.clone());
        readers.push(tokio::spawn(async move {
            let mut reads = 0;
            while !is_over.load(Ordering::SeqCst) {
                let at_least = newest.load(Ordering::SeqCst);
                let total = counters.get_by_id(&1).await.expect("the row").total;
                assert!(total >= at_least, "{total} after {at_least}");
                reads += 1;
            }
            reads
        }));
    }
    for total in 1..=300 {
        let _ = counters.update(&1, Counter::patch().total(total)).await.expect("a row");
        newest.store(total, Ordering::SeqCst);
    }
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.expect("nothing old") > 0);
    }
}

/// Wherever the connection to PostgreSQL ends: a write that is told to be done is done, and one that
/// is told not to be is not.
#[tokio::test]
async fn a_connection_that_ends_in_the_midst_of_a_write_leaves_no_doubt_untold() {
    let pair = Pair::servers().await;
    let proxy = Proxy::to(pair.settings.postgres.url.expose()).await.expect("a proxy");
    let pair = pair.with(|settings| settings.postgres.url = proxy.url().into()).await;
    let pair = pair.under(StorageScheme::PostgresOnly).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(0, 0)).await.expect("a new row");
    let (mut done, mut undone) = (0, 0);
    for id in 1..=60 {
        proxy.cut_answers_after(u64::try_from(id).expect("few") * 50);
        let created = counters.create(&counter(id, id)).await;
        proxy.cut_answers_after(u64::MAX);
        let is_there = counters.exists(&id).await.expect("it is connected again");
        match created {
            Ok(_) => assert!(is_there, "{id}"),
            Err(Error::OutcomeUnknown { .. }) => {}
            Err(Error::Unavailable { .. } | Error::Timeout { .. }) => assert!(!is_there, "{id}"),
            Err(error) => panic!("{error:?}"),
        }
        (done, undone) = if is_there { (done + 1, undone) } else { (done, undone + 1) };
    }
    assert!(done > 0 && undone > 0, "{done} done, {undone} not");
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "sessions", scheme = "redis_only")]
struct Session {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    token: String,
}

fn session(id: i64) -> Session {
    Session { id, token: format!("token of {id}") }
}

#[tokio::test]
async fn a_model_of_redis_alone_needs_no_table_and_stays() {
    let pair = Pair::servers().await;
    let sessions = pair.kv.repository::<Session>();
    let drainer = pair.kv.drainer().model::<Session>().spawn();
    for id in 0..20 {
        let _ = sessions.create(&session(id)).await.expect("a new row");
    }
    let error = sessions.create(&Session { id: 30, ..session(1) }).await.expect_err("taken");
    assert!(error.is_duplicate(), "{error:?}");
    let _ = sessions.delete(&19).await.expect("a row");
    drainer.flush().await.expect("into nowhere");
    let view = RedisView::of(&pair).await;
    for key in view.row_keys().await {
        assert_eq!(view.ttl_ms(&key).await, -1, "{key}");
    }
    assert_eq!(view.row_keys().await.len(), 19, "a deleted row leaves nothing");
    for id in 0..19 {
        assert_eq!(sessions.get_by_id(&id).await.expect("the row"), session(id));
        let found = sessions.find_by_token(&session(id).token).await.expect("an answer");
        assert_eq!(found, Some(session(id)));
    }
    let again = Session { id: 40, ..session(19) };
    let _ = sessions.create(&again).await.expect("the value is free");
    let error = sessions.query().count().await.expect_err("nothing to ask");
    assert!(matches!(error, Error::RedisOnly { .. }), "{error:?}");
    drainer.shutdown().await.expect("everything is drained");
}

/// Redis has the only copy, so it is not repaired from PostgreSQL.
#[tokio::test]
async fn rows_of_redis_alone_outlive_their_entries() {
    let pair = Pair::servers().await.under(StorageScheme::RedisOnly).await;
    let counters = pair.kv.repository::<Counter>();
    for id in 0..20 {
        let _ = counters.create(&counter(id, id)).await.expect("a new row");
    }
    pair.drain().await;
    let view = RedisView::of(&pair).await;
    for stream in view.streams().await {
        view.ask::<i64>(&["XTRIM", &stream, "MAXLEN", "0"]).await;
    }
    let _ = counters.update(&1, Counter::patch().total(100)).await.expect("a row");
    assert!(pair.drain().await.setbacks > 0);
    for id in 0..20 {
        assert!(counters.exists(&id).await.expect("an answer"), "{id}");
    }
}

/// What Redis forgets of a scheme, PostgreSQL still knows.
#[tokio::test]
async fn a_redis_that_was_emptied_is_told_again() {
    let pair = Pair::servers().await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(1, 1)).await.expect("a new row");
    pair.drain().await;
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("it is drained");
    RedisView::of(&pair).await.empty().await;
    let other = pair.other_process().await;
    let _ = other.repository::<Counter>().create(&counter(2, 2)).await.expect("a new row");
    let _ = counters.create(&counter(3, 3)).await.expect("a new row");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 3);
}

/// Who stops waiting for a write does not stop those of others that go with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_nobody_waits_for_take_no_others_with_them() {
    let pair = Pair::servers().await.under(StorageScheme::CacheAside).await;
    let pair = pair.with(|settings| settings.partitions = 1).await;
    let counters = pair.kv.repository::<Counter>();
    let _ = counters.create(&counter(0, 0)).await.expect("a new row");
    let mut waited_for = Vec::new();
    for round in 0..30 {
        for place in 1..=10 {
            let (id, counters) = (round * 10 + place, counters.clone());
            let task = tokio::spawn(async move { counters.create(&counter(id, id)).await });
            if place % 2 == 0 {
                waited_for.push((id, task));
            } else {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..300))).await;
                task.abort();
            }
        }
    }
    for (id, task) in waited_for {
        let _ = task.await.expect("it goes on").expect("a new row");
        assert_eq!(counters.get_by_id(&id).await.expect("the row").total, id);
    }
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "counters", key_prefix = "counter", queue = "counter_queue")]
#[kv(scheme = "postgres_only")]
struct Direct {
    #[kv(id)]
    id: i64,
    #[kv(rename = "n", column = "total_count")]
    total: i64,
    r#type: String,
}

/// Another declaration of the same queue, in a process of another release, changes nothing.
#[tokio::test]
async fn what_was_declared_first_holds() {
    let pair = Pair::servers().await;
    let drainer = pair.spawn_drainer();
    let _ = pair.kv.repository::<Counter>().create(&counter(1, 1)).await.expect("a new row");
    drainer.flush().await.expect("it drains");
    let newer = pair.other_process().await;
    let direct = newer.repository::<Direct>();
    let _ = direct.update(&1, Direct::patch().total(2)).await.expect("a row");
    assert_eq!(newer.scheme::<Direct>().await.expect("up"), StorageScheme::WriteBehind);
    assert_eq!(drainer.shutdown().await.expect("everything is drained").entries_drained, 2);
    newer.switch_scheme::<Direct>(StorageScheme::PostgresOnly).await.expect("nothing to drain");
    let _ = pair.kv.repository::<Counter>().create(&counter(2, 2)).await.expect("a new row");
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 2, "at once");
}

#[tokio::test]
async fn what_a_switch_leaves_in_redis_is_nothing() {
    let pair = Pair::servers().await;
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.spawn_drainer();
    for id in 0..100 {
        let _ = counters.create(&counter(id, id)).await.expect("a new row");
    }
    drainer.flush().await.expect("it drains");
    for id in 0..50 {
        counters.invalidate(&id).await.expect("a clean row");
    }
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("a drainer");
    let view = RedisView::of(&pair).await;
    assert_eq!(view.row_keys().await, Vec::<String>::new());
    for id in 0..100 {
        assert_eq!(counters.get_by_id(&id).await.expect("the row").total, id);
    }
    assert_eq!(view.row_keys().await, Vec::<String>::new(), "nor does a reader");
    let began = std::time::Instant::now();
    pair.kv.switch_scheme::<Counter>(StorageScheme::WriteBehind).await.expect("up");
    let receipt = counters.update(&1, Counter::patch().total(7)).await.expect("a row");
    assert_eq!(view.row_keys().await.len(), 1);
    let durable = tokio::time::timeout(Duration::from_secs(30), receipt.await_durable());
    durable.await.expect("the drainer is back").expect("it is drained");
    eprintln!("drained again {:?} after the switch", began.elapsed());
    drainer.shutdown().await.expect("everything is drained");
}
