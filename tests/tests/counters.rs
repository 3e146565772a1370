//! `increment`: exact, whoever else does the same, and never half done.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_runtime::testing::Proxy;
use kv_runtime::{Drainer, Error, Kv, KvModel, Repository};
use kv_tests::contract;
use kv_tests::outside::RedisView;
use kv_tests::pair::{After, Pair};
use tokio::task::JoinSet;

contract!(
    under direct schemes:
    increments_answer_what_they_come_to,
    an_overflow_changes_nothing,
    null_cannot_be_added_to,
    what_is_not_there_cannot_be_added_to,
    neither_id_nor_version_is_a_counter,
);

mod at_once {
    use super::*;
    contract!(in parallel: a_hundred_callers_at_once_are_counted_exactly);
}

/// A model with counters of several sizes.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "buckets")]
struct Bucket {
    #[kv(id, fresh)]
    id: i64,
    #[kv(rename = "t", column = "total_size")]
    total: i64,
    name: String,
    files: i32,
    #[kv(version)]
    version: i64,
    level: u8,
}

/// The same table, as someone sees it who takes NULL for a total.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "buckets")]
struct LooseBucket {
    #[kv(id, fresh)]
    id: i64,
    #[kv(rename = "t", column = "total_size")]
    total: Option<i64>,
    name: String,
    files: i32,
    #[kv(version)]
    version: i64,
    level: u8,
}

const TABLE: &str = "CREATE TABLE buckets (id bigint PRIMARY KEY, total_size bigint, \
     name text NOT NULL, files integer NOT NULL, version bigint NOT NULL, level smallint NOT NULL)";

const CALLERS: i64 = 100;
const CALLS: i64 = 5;

async fn buckets(pair: &Pair) -> Repository<Bucket> {
    pair.sql(TABLE).await;
    pair.kv.repository()
}

fn drainer(pair: &Pair) -> Drainer {
    pair.drainer().model::<Bucket>().spawn()
}

async fn drain(pair: &Pair) {
    let drained = drainer(pair).shutdown().await.expect("everything can be drained");
    assert_eq!(drained.dead_letters, 0);
}

async fn bring(pair: &Pair, rows: &Repository<Bucket>, after: After) {
    if after != After::Write {
        drain(pair).await;
    }
    if after == After::Eviction {
        rows.invalidate(&1).await.expect("a clean row");
    }
}

fn bucket() -> Bucket {
    Bucket { id: 1, total: 0, name: "photos".to_owned(), files: 0, version: 0, level: 0 }
}

async fn increments_answer_what_they_come_to(pair: Pair) {
    let buckets = buckets(&pair).await;
    for after in After::ALL {
        // More than a number of a script can hold exactly.
        let total = i64::MAX - 10;
        let _ = buckets.upsert(&Bucket { total, ..bucket() }).await.expect("it is written");
        let mut version = 0;
        for (by, expected) in [(7, i64::MAX - 3), (0, i64::MAX - 3), (i64::MIN, -4), (-3, -7)] {
            bring(&pair, &buckets, after).await;
            let done = buckets.increment(&1, |bucket| bucket.total, by).await.expect("a row");
            assert_eq!(done.value, expected, "{after:?}");
            assert!(done.receipt.version > version, "{after:?}");
            version = done.receipt.version;
            bring(&pair, &buckets, after).await;
            let row = buckets.get_by_id(&1).await.expect("the row");
            assert_eq!(row, Bucket { total: expected, version, ..bucket() }, "{after:?}");
        }
        let files = buckets.increment(&1, |bucket| bucket.files, -2).await.expect("a row");
        let level = buckets.increment(&1, |bucket| bucket.level, 255).await.expect("a row");
        assert_eq!((files.value, level.value), (-2, 255));
        drain(&pair).await;
        let stored = pair.kv.durable_rows::<Bucket>().await.expect("the rows");
        let version = level.receipt.version;
        assert_eq!(stored, [Bucket { total: -7, files: -2, level: 255, version, ..bucket() }]);
    }
}

async fn an_overflow_changes_nothing(pair: Pair) {
    let buckets = buckets(&pair).await;
    for after in After::ALL {
        let row = Bucket { total: i64::MAX, files: i32::MIN, level: 0, ..bucket() };
        let version = buckets.upsert(&row).await.expect("it is written").version;
        bring(&pair, &buckets, after).await;
        let too_much = [
            ("total", buckets.increment(&1, |bucket| bucket.total, 1).await.err()),
            ("total", buckets.increment(&1, |bucket| bucket.total, i64::MAX).await.err()),
            ("files", buckets.increment(&1, |bucket| bucket.files, -1).await.err()),
            ("files", buckets.increment(&1, |bucket| bucket.files, i64::MAX).await.err()),
            ("level", buckets.increment(&1, |bucket| bucket.level, -1).await.err()),
            ("level", buckets.increment(&1, |bucket| bucket.level, 256).await.err()),
        ];
        for (counter, error) in too_much {
            match error {
                Some(Error::Overflow { field, .. }) => assert_eq!(field, counter),
                other => panic!("{counter}: {other:?}"),
            }
        }
        let row = Bucket { version, ..row };
        assert_eq!(buckets.get_by_id(&1).await.expect("the row"), row, "{after:?}");
        drain(&pair).await;
        assert_eq!(pair.kv.durable_rows::<Bucket>().await.expect("the rows"), [row], "{after:?}");
    }
}

async fn null_cannot_be_added_to(pair: Pair) {
    let buckets = buckets(&pair).await;
    let Bucket { id, name, files, version, level, .. } = bucket();
    let row = LooseBucket { id, total: None, name, files, version, level };
    let loose = pair.kv.repository::<LooseBucket>();
    let _ = loose.create(&row).await.expect("a new row");
    let drainer = pair.drainer().model::<LooseBucket>().spawn();
    assert_eq!(drainer.shutdown().await.expect("everything can be drained").dead_letters, 0);
    let error = buckets.increment(&1, |bucket| bucket.total, 1).await.expect_err("NULL");
    assert!(matches!(error, Error::Encoding { .. }), "{error}");
    assert_eq!(loose.get_by_id(&1).await.expect("the row").total, None);
}

async fn what_is_not_there_cannot_be_added_to(pair: Pair) {
    let buckets = buckets(&pair).await;
    let error = buckets.increment(&1, |bucket| bucket.files, 1).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
    let _ = buckets.create(&bucket()).await.expect("a new row");
    let _ = buckets.delete(&1).await.expect("a row");
    let error = buckets.increment(&1, |bucket| bucket.files, 1).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
    drain(&pair).await;
    assert!(pair.kv.durable_rows::<Bucket>().await.expect("the rows").is_empty());
}

async fn neither_id_nor_version_is_a_counter(pair: Pair) {
    let buckets = buckets(&pair).await;
    let _ = buckets.create(&bucket()).await.expect("a new row");
    let errors = [
        buckets.increment(&1, |bucket| bucket.id, 1).await,
        buckets.increment(&1, |bucket| bucket.version, 1).await,
    ];
    for error in errors {
        let error = error.expect_err("no counter");
        assert!(matches!(error, Error::Configuration { .. }), "{error}");
    }
}

/// Meanwhile the row is drained and evicted.
async fn a_hundred_callers_at_once_are_counted_exactly(pair: Pair) {
    let buckets = buckets(&pair).await;
    let _ = buckets.create(&bucket()).await.expect("a new row");
    let drainer = drainer(&pair);
    let evictor = tokio::spawn({
        let buckets = buckets.clone();
        async move {
            loop {
                // Left alone where it is dirty.
                let _ = buckets.invalidate(&1).await;
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000))).await;
            }
        }
    });
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(count(buckets.clone()));
    }
    let mut totals = BTreeSet::new();
    while let Some(caller) = callers.join_next().await {
        totals.extend(caller.expect("every call is counted"));
    }
    // None came to what another came to.
    assert_eq!(totals, (1..=CALLERS * CALLS).map(|number| number * 3).collect());
    evictor.abort();
    drainer.shutdown().await.expect("everything can be drained");
    let rows = pair.kv.durable_rows::<Bucket>().await.expect("the rows");
    assert_eq!((rows[0].total, rows[0].files), (CALLERS * CALLS * 3, 500));
    assert_eq!(buckets.get_by_id(&1).await.expect("the row"), rows[0]);
}

/// Adds to two counters in turn: what each call for the first came to.
async fn count(buckets: Repository<Bucket>) -> Vec<i64> {
    let mut totals = Vec::new();
    while (totals.len() as i64) < CALLS {
        match buckets.increment(&1, |bucket| bucket.total, 3).await {
            Ok(done) => totals.push(done.value),
            // The evictor can be faster again and again.
            Err(Error::Conflict { .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        while let Err(error) = buckets.increment(&1, |bucket| bucket.files, 1).await {
            assert!(matches!(error, Error::Conflict { .. }), "{error}");
        }
    }
    totals
}

/// The first try is done, and its answer is lost; others have counted on before the retry comes.
#[tokio::test]
async fn a_retry_is_not_counted_again_and_gets_the_first_result() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let buckets = buckets(&pair).await;
    let _ = buckets.create(&bucket()).await.expect("a new row");
    let proxy = Proxy::to(pair.settings.redis.url.expose()).await.expect("a proxy");
    let mut proxied = pair.settings.clone();
    proxied.redis.url = proxy.url().into();
    let proxied = Kv::connect(proxied).await.expect("the servers are up").repository::<Bucket>();

    // The storage scheme is asked for before the first write.
    assert!(proxied.exists(&1).await.expect("an answer"));
    proxy.stall_answers();
    let first = tokio::spawn(async move { proxied.increment(&1, |b| b.total, -5).await });
    while redis.entries().await < 2 {
        tokio::task::yield_now().await;
    }
    let second = buckets.increment(&1, |bucket| bucket.total, 7).await.expect("a row");
    assert_eq!(second.value, 2);
    proxy.cut();
    proxy.resume();
    let first = first.await.expect("it ends").expect("it is done, and told so");
    assert_eq!(first.value, -5);
    assert_eq!(redis.entries().await, 3, "it was done once");
    assert_eq!(buckets.get_by_id(&1).await.expect("the row").total, 2);
}
