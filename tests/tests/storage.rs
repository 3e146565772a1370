//! What the backend of a storage provider asks: newtype ids, finders on other keys, associations,
//! constraints of the tables that surface.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDateTime, Utc};
use kv_runtime::{Error, KvModel, KvValue, Repository, StorageScheme};
use kv_tests::contract;
use kv_tests::pair::{After, Pair};

contract!(
    files_are_found_by_their_key_and_by_their_bucket,
    buckets_are_found_by_two_columns_with_a_total,
    a_parent_comes_with_its_associations_or_not_at_all,
    values_of_every_kind_come_back_bit_by_bit,
    an_absent_row_is_not_remembered,
);

/// 32 bytes, as hexadecimal text on the wire and as bytes in the table.
#[derive(Debug, Clone, PartialEq, Eq, KvValue)]
struct Hash(Vec<u8>);

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "buckets", index(user_id, msp_id))]
struct Bucket {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    onchain_id: Hash,
    user_id: String,
    msp_id: Option<i64>,
    total_size: BigDecimal,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "files", index(bucket_id))]
struct File {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    key: Hash,
    bucket_id: i64,
    created_at: NaiveDateTime,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bsps", queue = "bsps")]
struct Bsp {
    #[kv(id, fresh)]
    id: i64,
    stake: BigDecimal,
}

/// An association, which lies where its provider does.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bsp_files", queue = "bsps", partition_by = bsp_id)]
#[kv(references(bsp_id, to = "bsps(id)"))]
struct BspFile {
    #[kv(id, fresh)]
    bsp_id: i64,
    #[kv(id, fresh)]
    file_id: i64,
}

fn hash(number: u8) -> Hash {
    Hash((0..32).map(|at| at ^ number).collect())
}

fn bucket(id: u8) -> Bucket {
    Bucket {
        id: id.into(),
        onchain_id: hash(id),
        user_id: format!("user {}", id % 2),
        msp_id: (id < 8).then_some(3),
        total_size: "99999999999999999999999999999999999999".parse().expect("a number"),
    }
}

fn file(id: u8) -> File {
    let time =
        DateTime::from_timestamp_micros(1_700_000_000_123_456 + i64::from(id)).expect("time");
    let (created_at, updated_at) = (time.naive_utc(), time);
    File { id: id.into(), key: hash(id), bucket_id: (id % 3).into(), created_at, updated_at }
}

/// The pair with the tables, as the models say them.
async fn with_tables(pair: Pair) -> Pair {
    pair.sql("DROP TABLE IF EXISTS files, buckets CASCADE").await;
    for ddl in [Bucket::ddl(), File::ddl(), Bsp::ddl(), BspFile::ddl()] {
        pair.sql(&ddl).await;
    }
    pair.sql("ALTER TABLE buckets ALTER total_size TYPE numeric(38, 0)").await;
    pair
}

async fn drain(pair: &Pair) {
    let drainer = pair.kv.drainer().model::<Bucket>().model::<File>().model::<Bsp>();
    let drainer = drainer.model::<BspFile>().spawn();
    drainer.shutdown().await.expect("everything can be drained");
}

async fn bring<M: KvModel>(pair: &Pair, rows: &Repository<M>, id: &M::Id, after: After) {
    if after != After::Write {
        drain(pair).await;
    }
    if after == After::Eviction {
        rows.invalidate(id).await.expect("a clean row");
    }
}

async fn files_are_found_by_their_key_and_by_their_bucket(pair: Pair) {
    let pair = with_tables(pair).await;
    let files = pair.kv.repository::<File>();
    for id in 1..=9 {
        let _ = files.create(&file(id)).await.expect("a new row");
        if id == 4 {
            drain(&pair).await;
        }
    }
    assert_eq!(files.find_by_key(&hash(5)).await.expect("an answer"), Some(file(5)));
    assert_eq!(files.find_by_key(&hash(77)).await.expect("an answer"), None);
    assert!(files.get_by_id(&77).await.expect_err("no row").is_not_found());
    let of_bucket = || files.list_by_bucket_id(1).order_by(|f| f.id.asc());
    assert_eq!(of_bucket().limit(2).offset(1).load().await.expect("rows"), [file(4), file(7)]);
    assert_eq!(of_bucket().first().await.expect("the oldest"), Some(file(1)));
    let latest = files.list_by_bucket_id(1).order_by(|f| f.created_at.desc()).first().await;
    assert_eq!(latest.expect("the latest"), Some(file(7)));
}

async fn buckets_are_found_by_two_columns_with_a_total(pair: Pair) {
    let pair = with_tables(pair).await;
    let buckets = pair.kv.repository::<Bucket>();
    for id in 1..=9 {
        let _ = buckets.create(&bucket(id)).await.expect("a new row");
    }
    let found = || buckets.list_by_user_id_and_msp_id("user 1", 3);
    let page = found().order_by(|b| b.id.asc()).limit(2).offset(2).load().await.expect("rows");
    assert_eq!(page, [bucket(5), bucket(7)]);
    let beyond = found().limit(2).offset(10).load().await.expect("rows");
    assert_eq!((beyond.len(), found().count().await.expect("the total")), (0, 4));
    // To be NULL is to leave the provider; what is not named stays.
    let _ = buckets.update(&1, Bucket::patch().msp_id(None)).await.expect("a row");
    let row = buckets.get_by_id(&1).await.expect("the row");
    assert_eq!(row, Bucket { msp_id: None, ..bucket(1) });
    assert_eq!(found().count().await.expect("the total"), 3);
}

async fn a_parent_comes_with_its_associations_or_not_at_all(pair: Pair) {
    let pair = with_tables(pair).await.under(StorageScheme::PostgresOnly).await;
    let links = pair.kv.repository::<BspFile>();
    let bsp = Bsp { id: 1, stake: 100.into() };
    let unit = pair.kv.transaction(async |unit| {
        unit.repository::<Bsp>().create(&bsp).await?;
        for file_id in 1..=3 {
            unit.repository::<BspFile>().create(&BspFile { bsp_id: 1, file_id }).await?;
        }
        Ok::<_, Error>(())
    });
    unit.await.expect("all of them");
    let again = BspFile { bsp_id: 1, file_id: 2 };
    assert!(links.create(&again).await.expect_err("it is there").is_duplicate());
    let _ = links.upsert(&again).await.expect("it stays");
    assert_eq!(links.query().count().await.expect("a count"), 3);

    let orphan = links.create(&BspFile { bsp_id: 2, file_id: 1 }).await.expect_err("no parent");
    let Error::Refused { sqlstate, .. } = &orphan else { panic!("{orphan:?}") };
    assert_eq!(sqlstate.as_deref(), Some("23503"));
    assert!(orphan.is_constraint_violation() && !orphan.is_duplicate());
    let kept = pair.kv.repository::<Bsp>().delete(&1).await.expect_err("it has files");
    assert!(kept.is_constraint_violation(), "{kept}");
    let all_or_none = pair.kv.transaction(async |unit| {
        unit.repository::<Bsp>().update(&1, Bsp::patch().stake(7.into())).await?;
        unit.repository::<BspFile>().delete(&(1, 9)).await
    });
    assert!(all_or_none.await.expect_err("no such row").is_not_found());
    assert_eq!(pair.kv.repository::<Bsp>().get_by_id(&1).await.expect("the row"), bsp);
}

async fn values_of_every_kind_come_back_bit_by_bit(pair: Pair) {
    let pair = with_tables(pair).await;
    let (buckets, files) = (pair.kv.repository::<Bucket>(), pair.kv.repository::<File>());
    for (id, after) in (1..).zip(After::ALL) {
        let _ = buckets.create(&bucket(id)).await.expect("a new row");
        let _ = files.create(&file(id)).await.expect("a new row");
        bring(&pair, &buckets, &id.into(), after).await;
        bring(&pair, &files, &id.into(), after).await;
        assert_eq!(buckets.get_by_id(&id.into()).await.expect("the row"), bucket(id), "{after:?}");
        assert_eq!(files.get_by_id(&id.into()).await.expect("the row"), file(id), "{after:?}");
    }
}

async fn an_absent_row_is_not_remembered(pair: Pair) {
    let pair = with_tables(pair).await;
    let bsps = pair.kv.repository::<Bsp>();
    let error = bsps.get_by_id(&5).await.expect_err("no row");
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "Bsp.get_by_id: there is no row with id `5`");
    if pair.has_servers() {
        pair.sql("INSERT INTO bsps VALUES (5, 1)").await;
        assert_eq!(bsps.get_by_id(&5).await.expect("the row").stake, BigDecimal::from(1));
    }
}

/// Of a table with a single row, and of one with exactly one of two columns.
#[tokio::test]
async fn conditions_of_the_table_surface() {
    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "service_state", scheme = "write_through", check = "id = 1")]
    struct ServiceState {
        #[kv(id, fresh)]
        id: i32,
        last_block: i64,
    }

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "streams", scheme = "postgres_only")]
    #[kv(check = "num_nonnulls(rate, amount) = 1")]
    struct Stream {
        #[kv(id, fresh)]
        id: i64,
        rate: Option<i64>,
        amount: Option<i64>,
    }

    let pair = Pair::servers().await;
    pair.sql(&ServiceState::ddl()).await;
    pair.sql(&Stream::ddl()).await;
    let drainer = pair.kv.drainer().model::<ServiceState>().spawn();
    let (states, streams) = (pair.kv.repository::<ServiceState>(), pair.kv.repository::<Stream>());
    let _ = states.create(&ServiceState { id: 1, last_block: 7 }).await.expect("the row");
    let error = states.create(&ServiceState { id: 2, last_block: 7 }).await.expect_err("a second");
    let Error::Refused { sqlstate, constraint, .. } = &error else { panic!("{error:?}") };
    assert_eq!(sqlstate.as_deref(), Some("23514"));
    assert!(constraint.is_some() && error.is_constraint_violation(), "{error}");
    for (rate, amount, is_taken) in [
        (Some(1), None, true),
        (None, Some(1), true),
        (None, None, false),
        (Some(1), Some(1), false),
    ] {
        let id = streams.query().count().await.expect("a count").try_into().expect("few");
        let created = streams.create(&Stream { id, rate, amount }).await;
        assert_eq!(created.is_ok(), is_taken, "{rate:?} {amount:?}: {created:?}");
        assert!(created.is_ok() || created.is_err_and(|error| error.is_constraint_violation()));
    }
    drainer.shutdown().await.expect("everything is drained");
}
