//! The tables that models say they need.

use futures_util::future::join_all;
use kv_runtime::schema::Schema;
use kv_runtime::{ConnectError, KvModel};
use kv_tests::models::{Account, Booking, Counter, Everything, Flight, Member, Place, Seat, Wide};

use super::models::{Ride, Shop, empty, lines, migrate, refusal, without_tables};

#[tokio::test]
async fn the_start_up_checks_are_content_with_the_tables_that_are_made() {
    let pair = empty().await;
    let schema = Schema::new()
        .model::<Booking>()
        .model::<Flight>()
        .model::<Seat>()
        .model::<Member>()
        .model::<Counter>()
        .model::<Account>()
        .model::<Place>()
        .model::<Everything>()
        .model::<Wide>()
        // The child first: its keys come behind all tables.
        .model::<Ride>()
        .model::<Shop>();
    migrate(&pair, &schema.create().up()).await;
    pair.kv.migrate().await.expect("the runtime's own tables are there, and stay as they are");
    pair.drainer().check().await.expect("the models' own tables");
    pair.kv.checks().models(&schema).run().await.expect("those with more to them, too");
    // And they take rows.
    let rows = pair.kv.repository::<Booking>();
    let _ = rows.create(&Booking::sample()).await.expect("a new row");
    let queues = pair.kv.queues().models(&schema);
    assert_eq!(queues.status().await.expect("the servers are up").undrained, 1);
    pair.drain().await;
    assert_eq!(queues.status().await.expect("the servers are up").undrained, 0);
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows").len(), 1);

    migrate(&pair, &schema.create().down()).await;
    let left = "SELECT relname::text AS line FROM pg_class AS c
                WHERE relnamespace IN ('public'::regnamespace, 'fleet'::regnamespace)
                AND relkind = 'r' AND relname NOT LIKE 'kv_%' AND relname NOT LIKE '\\_\\_%'
                UNION SELECT typname FROM pg_type WHERE typtype = 'e'";
    assert_eq!(lines(&pair, left).await, [] as [String; 0]);
}

/// The tables and types in the schemas of the models, in order.
const MADE: &str = "SELECT relname::text AS line FROM pg_class
                    WHERE relnamespace IN ('public'::regnamespace, 'fleet'::regnamespace)
                    AND relkind = 'r' AND relname NOT LIKE 'kv_%' AND relname NOT LIKE '\\_\\_%'
                    UNION SELECT typname::text FROM pg_type WHERE typtype = 'e' ORDER BY line";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_are_made_once_however_many_ask() {
    let pair = without_tables().await;
    let models = Schema::new().model::<Ride>().model::<Shop>().model::<Everything>();
    let start = |_| async {
        let kv = pair.other_process().await;
        kv.migrate().await.expect("the runtime's own tables");
        kv.create_tables(&models).await.expect("the models' tables");
        kv.drainer().models(&models).check().await.expect("tables that fit");
    };
    // As the instances of a service that are started together.
    join_all((0..8).map(start)).await;
    assert_eq!(lines(&pair, MADE).await, ["everything", "mood", "ride state", "rides", "shops"]);
    let lacking = models.difference(&pair.settings.postgres.url).await.expect("a comparison");
    assert!(lacking.is_empty(), "{}", lacking.up());
}

#[tokio::test]
async fn a_table_that_is_there_stays_as_it_is() {
    let pair = empty().await;
    pair.sql(
        "CREATE TYPE \"ride state\" AS ENUM ('new', 'it''s on', 'over');
         CREATE TABLE fleet.shops (merchant_id bigint, id bigint, PRIMARY KEY (merchant_id, id))",
    )
    .await;
    let models = Schema::new().model::<Ride>().model::<Shop>();
    pair.kv.create_tables(&models).await.expect("the table that is missing");
    let columns = "SELECT attname::text AS line FROM pg_attribute
                   WHERE attrelid = 'fleet.shops'::regclass AND attnum > 0 ORDER BY attnum";
    assert_eq!(lines(&pair, columns).await, ["merchant_id", "id"]);
    assert_eq!(lines(&pair, MADE).await, ["ride state", "rides", "shops"]);
}

#[tokio::test]
async fn a_tenants_tables_are_in_its_schema() {
    let pair = empty().await;
    let acme = pair.kv.tenant("acme").expect("a name that a schema can have");
    acme.migrate().await.expect("the pair's tables are there");
    acme.create_tables(&Schema::new().model::<Member>()).await.expect("an empty schema");
    let schemas = "SELECT relnamespace::regnamespace::text AS line FROM pg_class
                   WHERE relname = 'members'";
    assert_eq!(lines(&pair, schemas).await, ["tenant_acme"]);
}

#[tokio::test]
async fn all_tables_are_made_or_none() {
    let pair = empty().await;
    // It refers to a table that nobody has made.
    let models = Schema::new().model::<Member>().model::<Ride>();
    let error = pair.kv.create_tables(&models).await.expect_err("there is no `fleet.shops`");
    assert!(matches!(error, ConnectError::Tables(_)), "{error}");
    assert_eq!(lines(&pair, MADE).await, [] as [String; 0]);
}

#[tokio::test]
async fn the_declared_indexes_are_those_of_the_table() {
    let pair = empty().await;
    migrate(&pair, &format!("{}{}", Shop::ddl(), Ride::ddl())).await;
    let indexes = "SELECT indexdef::text AS line FROM pg_indexes
                   WHERE tablename = 'rides' ORDER BY indexname";
    assert_eq!(
        lines(&pair, indexes).await,
        [
            "CREATE INDEX rides_before_idx ON public.rides USING btree (before)",
            "CREATE UNIQUE INDEX rides_driver_id_key ON public.rides USING btree (driver_id) \
             WHERE (state = 'it''s on'::\"ride state\")",
            "CREATE INDEX rides_merchant_id_fare_idx ON public.rides USING btree \
             (merchant_id, fare)",
            "CREATE UNIQUE INDEX rides_merchant_id_number_key ON public.rides USING btree \
             (merchant_id, number)",
            "CREATE UNIQUE INDEX rides_pkey ON public.rides USING btree (id)",
            "CREATE UNIQUE INDEX rides_reference_key ON public.rides USING btree (reference)",
            "CREATE INDEX rides_state_idx ON public.rides USING btree (state) \
             WHERE (state <> 'over'::\"ride state\")",
        ]
    );
    let keys = "SELECT pg_get_constraintdef(oid) AS line FROM pg_constraint
                WHERE conrelid = 'rides'::regclass AND contype = 'f' ORDER BY conname";
    assert_eq!(
        lines(&pair, keys).await,
        [
            "FOREIGN KEY (before) REFERENCES rides(id)",
            "FOREIGN KEY (merchant_id, shop_id) REFERENCES fleet.shops(merchant_id, id)",
        ]
    );
}

#[tokio::test]
async fn rows_that_the_model_rules_out_are_refused() {
    let pair = empty().await;
    migrate(&pair, &Schema::new().model::<Ride>().model::<Shop>().create().up()).await;
    pair.sql("INSERT INTO fleet.shops VALUES (1, 1, 'a')").await;
    let insert = |id: u8, rest: &str| {
        format!(
            "INSERT INTO rides (id, merchant_id, number, shop_id, reference, state, states, fare, \
             seats) VALUES ('00000000-0000-0000-0000-00000000000{id}', {rest})"
        )
    };
    pair.sql(&insert(1, "1, 1, 1, 'a', 'new', '{over}', 0, 1")).await;
    for (rest, expected) in [
        ("1, 2, 1, 'a', 'new', '{}', 0, 1", "rides_reference_key"),
        ("1, 1, 1, 'b', 'new', '{}', 0, 1", "rides_merchant_id_number_key"),
        ("1, 2, 2, 'b', 'new', '{}', 0, 1", "rides_merchant_id_shop_id_fkey"),
        ("1, 2, 1, 'b', 'new', '{}', -1, 1", "rides_check_"),
        ("1, 2, 1, 'b', 'new', '{}', 0, 10", "rides_check_"),
        ("1, 2, 1, 'b', 'none', '{}', 0, 1", "ride state"),
    ] {
        let refusal = refusal(&pair, &insert(2, rest)).await.expect("a row that is ruled out");
        assert!(refusal.contains(expected), "{refusal}");
    }
}
