//! PostgreSQL without a Redis: what goes on is in the contract suite, and what does not is said here.

use std::error::Error as _;

use kv_runtime::{
    ConnectError, Error, Kv, KvModel, Repository, Settings, StorageScheme, SwitchError, redis,
};
use kv_tests::models::Counter;
use kv_tests::pair::Pair;

use super::switches::counter;

/// A model that is declared otherwise than the settings say.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "counters", key_prefix = "cached", queue = "cached", scheme = "cache_aside")]
struct Cached {
    #[kv(id)]
    id: i64,
    #[kv(column = "total_count")]
    total: i64,
    r#type: String,
}

/// The refusal of a read, and of a write.
async fn refusals(counters: &Repository<Counter>) -> [String; 2] {
    let text = |error: Error| {
        assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
        error.source().map(ToString::to_string).unwrap_or_default()
    };
    let read = counters.get_by_id(&1).await.expect_err("no Redis");
    let write = counters.create(&counter(2, 2)).await.expect_err("no Redis");
    [text(read), text(write)]
}

#[tokio::test]
async fn only_models_of_postgresql_alone_do_without_redis() {
    let settings = Settings::new("", "postgres://localhost/none");
    let error = Kv::connect(settings).await.expect_err("no Redis is named");
    assert!(matches!(&error, ConnectError::Settings(error) if error.setting == "redis.url"));
    assert!(error.to_string().contains("`postgres_only`"), "{error}");

    let pair = Pair::postgres_alone().await;
    let cached = pair.kv.repository::<Cached>();
    let row = Cached { id: 1, total: 1, r#type: "a".to_owned() };
    let error = cached.create(&row).await.expect_err("no Redis");
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("queue `cached` has the scheme `cache_aside`"), "{text}");
}

#[tokio::test]
async fn a_queue_that_redis_has_is_left_to_those_who_reach_it() {
    let pair = Pair::servers().await;
    let _ = pair.kv.repository::<Counter>().create(&counter(1, 1)).await.expect("a new row");
    let alone = Kv::connect(alone_settings(&pair)).await.expect("PostgreSQL is up");
    let drainer = pair.spawn_drainer();
    // From the first batch on PostgreSQL knows of the queue.
    drainer.flush().await.expect("everything can be drained");
    let counters = alone.repository::<Counter>();
    for text in refusals(&counters).await {
        assert!(text.contains("has the scheme `write_behind`, and the settings name no"), "{text}");
    }
    pair.kv.switch_scheme::<Counter>(StorageScheme::PostgresOnly).await.expect("it is drained");
    let alone = Kv::connect(alone_settings(&pair)).await.expect("PostgreSQL is up");
    let counters = alone.repository::<Counter>();
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
    let _ = counters.update(&1, Counter::patch().total(2)).await.expect("the row");
    let of_others = pair.kv.repository::<Counter>();
    assert_eq!(of_others.get_by_id(&1).await.expect("the row"), counter(1, 2));

    // And back: who has no Redis is told by whatever it does first, and answers nothing that is old.
    let (reader, asker) = (alone_that_knows(&pair).await, alone_that_knows(&pair).await);
    let looker = alone_that_knows(&pair).await;
    pair.kv.switch_scheme::<Counter>(StorageScheme::WriteBehind).await.expect("nothing is queued");
    let _ = of_others.update(&1, Counter::patch().total(3)).await.expect("the row");
    let refused = [
        counters.update(&1, Counter::patch().total(4)).await.map(drop),
        reader.get_by_id(&1).await.map(drop),
        asker.query().load().await.map(drop),
        looker.exists(&1).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::Configuration { .. })), "{refused:?}");
    }
    assert_eq!(of_others.get_by_id(&1).await.expect("the row"), counter(1, 3));
    drainer.shutdown().await.expect("everything can be drained");
}

/// Of a process that has found the queue to be PostgreSQL's alone.
async fn alone_that_knows(pair: &Pair) -> Repository<Counter> {
    let alone = Kv::connect(alone_settings(pair)).await.expect("PostgreSQL is up");
    let counters = alone.repository::<Counter>();
    counters.get_by_id(&1).await.expect("the row");
    counters
}

fn alone_settings(pair: &Pair) -> Settings {
    let mut settings = Settings::postgres_only(pair.settings.postgres.url.clone());
    settings.partitions = pair.settings.partitions;
    settings
}

#[tokio::test]
async fn what_needs_a_redis_says_so() {
    let pair = Pair::postgres_alone().await;
    let switched = pair.kv.switch_scheme::<Counter>(StorageScheme::WriteBehind).await;
    assert!(matches!(switched, Err(SwitchError::NoRedis)), "{switched:?}");
    let changed = pair.kv.change_partitions::<Counter>(16).await;
    assert!(matches!(changed, Err(SwitchError::NoRedis)), "{changed:?}");
    let handle = pair.kv.redis().await.map(drop);
    assert!(matches!(handle, Err(redis::Error::InMemory)), "{handle:?}");
    // A drainer has nothing to do, and ends.
    let _ = pair.kv.repository::<Counter>().create(&counter(1, 1)).await.expect("a new row");
    assert_eq!(pair.drain().await.entries_drained, 0);
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("the rows"), [counter(1, 1)]);
}
