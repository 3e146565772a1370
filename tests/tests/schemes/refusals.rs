//! Under each scheme by which PostgreSQL acknowledges writes, it is the caller who is told of a
//! refusal, and nothing is left of it.

use kv_runtime::{DeadLetterFilter, Error, StorageScheme};
use kv_tests::models::{Account, Counter};
use kv_tests::pair::Pair;

/// Those by which PostgreSQL acknowledges a write.
const STORED: [StorageScheme; 3] =
    [StorageScheme::WriteThrough, StorageScheme::CacheAside, StorageScheme::PostgresOnly];

fn counter(id: i64, total: i64) -> Counter {
    Counter { id, total, r#type: "a".to_owned() }
}

#[tokio::test]
async fn the_caller_is_told_what_postgresql_refuses() {
    for scheme in STORED {
        let pair = Pair::servers().await.under(scheme).await;
        pair.sql("ALTER TABLE counters ADD CONSTRAINT is_small CHECK (total_count < 100)").await;
        let counters = pair.kv.repository::<Counter>();
        let error = counters.create(&counter(1, 100)).await.expect_err("too large");
        let Error::Refused { sqlstate, constraint, .. } = &error else { panic!("{error:?}") };
        assert_eq!(sqlstate.as_deref(), Some("23514"), "{scheme}");
        assert_eq!(constraint.as_deref(), Some("is_small"), "{scheme}");
        assert!(!error.is_transient());
        assert_eq!(counters.find_by_id(&1).await.expect("an answer"), None, "{scheme}");

        let _ = counters.create(&counter(1, 1)).await.expect("a new row");
        let patch = || Counter::patch().total(100);
        let error = counters.update(&1, patch()).await.expect_err("too large");
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let results = counters.create_many(&[counter(2, 2), counter(3, 300)]).await;
        assert!(results[0].is_ok(), "{results:?}");
        assert!(matches!(results[1], Err(Error::Refused { .. })), "{results:?}");
        assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1), "{scheme}");
        let _ = counters.update(&1, Counter::patch().total(2)).await.expect("not held");
        let letters = pair.kv.dead_letters().list(&DeadLetterFilter::new()).await;
        assert_eq!(letters.expect("PostgreSQL is up"), [], "{scheme}");
        assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("rows").len(), 2);
    }
}

#[tokio::test]
async fn what_is_written_is_in_postgresql() {
    for scheme in STORED {
        for pair in [Pair::memory().await, Pair::servers().await] {
            let pair = pair.under(scheme).await;
            let accounts = pair.kv.repository::<Account>();
            let account = super::switches::account(1);
            let receipt = accounts.create(&account).await.expect("a new row");
            let rows = pair.kv.durable_rows::<Account>().await.expect("rows");
            assert_eq!(rows.len(), 1, "{scheme}");
            receipt.await_durable().await.expect("it is there");
            let queues = pair.kv.queues().model::<Account>();
            assert_eq!(queues.status().await.expect("Redis is up").undrained, 0);
        }
    }
}

/// What queues behind a refused write is refused with it, and its caller told.
#[tokio::test]
async fn every_writer_is_told_of_its_own_refusal() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.scheme = StorageScheme::WriteThrough).await;
    pair.sql("ALTER TABLE accounts ADD CHECK (id < 100)").await;
    let accounts = pair.kv.repository::<Account>();
    let write = async |note: &str| {
        let account = Account { note: Some(note.to_owned()), ..super::switches::account(100) };
        accounts.upsert(&account).await
    };
    let written = async |count| {
        let queues = pair.kv.queues().model::<Account>();
        while queues.status().await.expect("Redis is up").undrained < count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let (mut first, mut second) = (Box::pin(write("a")), Box::pin(write("b")));
    tokio::select! {
        answer = &mut first => panic!("nothing drains: {answer:?}"),
        () = written(1) => {}
    }
    tokio::select! {
        answer = &mut second => panic!("nothing drains: {answer:?}"),
        () = written(2) => {}
    }
    let drainer = pair.spawn_drainer();
    // One after the other: the second one looks when the first one is done with its own.
    for answer in [first.await, second.await] {
        assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
    }
    let letters = pair.kv.dead_letters().list(&DeadLetterFilter::new()).await;
    assert_eq!(letters.expect("PostgreSQL is up"), []);
    assert_eq!(accounts.find_by_id(&100).await.expect("an answer"), None);
    drainer.shutdown().await.expect("everything is drained");
}

/// Without a drainer a write-through says that it waits in vain, and is not undone.
#[tokio::test]
async fn a_write_through_that_nobody_drains_says_so() {
    let pair = Pair::memory().await;
    let pair = pair
        .with(|settings| {
            settings.scheme = StorageScheme::WriteThrough;
            settings.write_through_timeout = std::time::Duration::from_millis(50);
        })
        .await;
    let counters = pair.kv.repository::<Counter>();
    let error = counters.create(&counter(1, 1)).await.expect_err("no drainer");
    let Error::NotDrained { receipt, .. } = &error else { panic!("{error:?}") };
    assert!(!error.is_transient());
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1, 1));
    pair.drain().await;
    receipt.await_durable().await.expect("it is drained");
}
