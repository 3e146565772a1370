//! Associations, absent rows, and the conditions of tables that surface, with what the caller is told of each. The
//! service that needs them is in `examples/storage_backend`.

use std::error::Error as _;

use bigdecimal::BigDecimal;
use kv_runtime::schema::Schema;
use kv_runtime::{DurabilityError, Error, KvModel, KvValue, Repository, StorageScheme};
use kv_tests::contract;
use kv_tests::pair::{After, Pair};
use uuid::Uuid;

contract!(
    a_parent_comes_with_its_associations_or_not_at_all,
    a_receipt_tells_that_children_forbid_a_delete,
    an_absent_row_is_not_remembered,
    an_id_that_its_caller_chooses_can_be_there_already,
    a_number_that_its_column_would_not_keep_is_refused,
    newtypes_of_numbers_are_added_up
);

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

async fn a_parent_comes_with_its_associations_or_not_at_all(pair: Pair) {
    let pair = pair.under(StorageScheme::PostgresOnly).await;
    pair.sql(&Bsp::ddl()).await;
    pair.sql(&BspFile::ddl()).await;
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

/// Who writes behind goes on before PostgreSQL has an opinion, and learns it from the receipt.
async fn a_receipt_tells_that_children_forbid_a_delete(pair: Pair) {
    pair.sql(&Bsp::ddl()).await;
    pair.sql(&BspFile::ddl()).await;
    let (bsps, links) = (pair.kv.repository::<Bsp>(), pair.kv.repository::<BspFile>());
    let _ = bsps.create(&Bsp { id: 1, stake: 100.into() }).await.expect("a new row");
    let _ = links.create(&BspFile { bsp_id: 1, file_id: 1 }).await.expect("a new row");
    let deleted = bsps.delete(&1).await.expect("Redis knows of no children");
    let drainer = pair.kv.drainer().model::<Bsp>().model::<BspFile>().spawn();
    let status = drainer.shutdown().await.expect("all that can be");
    assert_eq!((status.undrained, status.dead_letters), (0, 1));
    let error = deleted.await_durable().await.expect_err("it has a file");
    let DurabilityError::Refused { sqlstate, .. } = &error else { panic!("{error:?}") };
    assert_eq!(sqlstate.as_deref(), Some("23503"));
    assert_eq!(pair.kv.durable_rows::<Bsp>().await.expect("the rows").len(), 1);
}

async fn an_absent_row_is_not_remembered(pair: Pair) {
    pair.sql(&Bsp::ddl()).await;
    let bsps = pair.kv.repository::<Bsp>();
    let error = bsps.get_by_id(&5).await.expect_err("no row");
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "Bsp.get_by_id: there is no row with id `5`");
    if pair.has_servers() {
        pair.sql("INSERT INTO bsps VALUES (5, 1)").await;
        assert_eq!(bsps.get_by_id(&5).await.expect("the row").stake, BigDecimal::from(1));
    }
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "orders")]
struct Order {
    #[kv(id, fresh = false)]
    id: Uuid,
    amount: i64,
}

async fn an_id_that_its_caller_chooses_can_be_there_already(pair: Pair) {
    pair.sql(&Order::ddl()).await;
    let orders = pair.kv.repository::<Order>();
    for after in After::ALL {
        let order = Order { id: Uuid::now_v7(), amount: 1 };
        let _ = orders.create(&order).await.expect("a new order");
        if after != After::Write {
            drain_orders(&pair).await;
        }
        if after == After::Eviction {
            orders.invalidate(&order.id).await.expect("a clean row");
        }
        let again = orders.create(&Order { amount: 2, ..order.clone() }).await;
        assert!(again.expect_err("it is there").is_duplicate(), "{after:?}");
        assert_eq!(orders.get_by_id(&order.id).await.expect("the order"), order);
    }
    drain_orders(&pair).await;
}

async fn drain_orders(pair: &Pair) {
    let drained = pair.kv.drainer().model::<Order>().spawn().shutdown().await;
    assert_eq!(drained.expect("all orders").dead_letters, 0);
}

/// A number that is a type of its own.
#[derive(Debug, Clone, PartialEq, KvValue)]
struct Amount(BigDecimal);

impl From<&str> for Amount {
    fn from(text: &str) -> Self {
        Self(text.parse().expect("a number"))
    }
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "payments")]
struct Payment {
    #[kv(id, fresh)]
    id: i64,
    #[kv(column_type = "numeric(5, 2)")]
    paid: Amount,
    #[kv(column_type = "numeric(38, 0)")]
    owed: Option<Amount>,
}

async fn payments(pair: &Pair) -> Repository<Payment> {
    let models = Schema::new().model::<Payment>();
    pair.kv.create_tables(&models).await.expect("an empty database");
    pair.kv.repository()
}

async fn drain_payments(pair: &Pair) {
    let drained = pair.kv.drainer().model::<Payment>().spawn().shutdown().await;
    assert_eq!(drained.expect("all payments").dead_letters, 0);
}

async fn a_number_that_its_column_would_not_keep_is_refused(pair: Pair) {
    let payments = payments(&pair).await;
    let most = "9".repeat(38);
    let payment = |paid: &str, owed: Option<&str>| Payment {
        id: 1,
        paid: paid.into(),
        owed: owed.map(Amount::from),
    };
    for (paid, owed) in [("999.99", None), ("-0.01", Some(&*most)), ("1.500", Some("1e37"))] {
        let row = payment(paid, owed);
        let _ = payments.upsert(&row).await.expect("it fits");
        drain_payments(&pair).await;
        payments.invalidate(&1).await.expect("a clean row");
        assert_eq!(payments.get_by_id(&1).await.expect("the row"), row);
    }
    let kept = payments.get_by_id(&1).await.expect("the row");
    let refused = |error: Error, expected: &str| {
        assert!(matches!(error, Error::Encoding { .. }), "{error}");
        let source = error.source().expect("what is wrong").to_string();
        assert_eq!(source, expected);
    };
    let of_paid =
        "field `paid`: its column is `numeric(5, 2)`, which does not keep all of its digits";
    for paid in ["1000", "-1000", "0.001", "1e3"] {
        refused(payments.upsert(&payment(paid, None)).await.expect_err(paid), of_paid);
        let patch = Payment::patch().paid(paid.into());
        refused(payments.update(&1, patch).await.expect_err(paid), of_paid);
    }
    let of_owed =
        "field `owed`: its column is `numeric(38, 0)`, which does not keep all of its digits";
    let patch = Payment::patch().owed(Some("0.5".into()));
    refused(payments.update(&1, patch.clone()).await.expect_err("a fraction"), of_owed);
    let unit = pair
        .kv
        .transaction(async |unit| unit.repository::<Payment>().update(&1, patch.clone()).await);
    refused(unit.await.expect_err("a fraction"), of_owed);
    assert_eq!(payments.get_by_id(&1).await.expect("the row"), kept);
}

async fn newtypes_of_numbers_are_added_up(pair: Pair) {
    let payments = payments(&pair).await;
    assert_eq!(payments.query().sum(|p| p.paid).await.expect("a sum"), None);
    for (id, paid, owed) in [(1, "999.99", Some("7")), (2, "999.99", None), (3, "0.02", Some("2"))]
    {
        let row = Payment { id, paid: paid.into(), owed: owed.map(Amount::from) };
        let _ = payments.create(&row).await.expect("a new row");
        // So that some rows are in both, and the last one is in Redis alone.
        if id < 3 {
            drain_payments(&pair).await;
        }
    }
    let number = |text: &str| text.parse::<BigDecimal>().ok();
    // More than its column could hold.
    assert_eq!(payments.query().sum(|p| p.paid).await.expect("a sum"), number("2000"));
    assert_eq!(payments.query().sum(|p| p.owed).await.expect("a sum"), number("9"));
    assert_eq!(payments.query().avg(|p| p.owed).await.expect("an average"), number("4.5"));
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
