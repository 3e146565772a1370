//! Tables that are older than their models.

use kv_runtime::schema::{Migration, Schema};
use kv_runtime::{CheckError, KvModel};
use kv_tests::pair::Pair;
use rust_decimal::Decimal;

use super::models::{Ride, Shop, empty, lines, migrate};

fn schema() -> Schema {
    Schema::new().model::<Ride>().model::<Shop>()
}

async fn difference(pair: &Pair) -> Migration {
    schema().difference(&pair.settings.postgres.url).await.expect("a comparison")
}

#[tokio::test]
async fn what_was_just_made_differs_in_nothing() {
    let pair = empty().await;
    let all = difference(&pair).await;
    migrate(&pair, &all.up()).await;
    let nothing = difference(&pair).await;
    assert_eq!((nothing.up(), nothing.down()), (String::new(), String::new()));
}

#[tokio::test]
async fn a_number_has_the_digits_of_its_field() {
    #[derive(Debug, Clone, PartialEq, KvModel)]
    struct Payment {
        #[kv(id, fresh)]
        id: i64,
        #[kv(column_type = "numeric(12, 2)")]
        paid: Decimal,
    }

    let pair = empty().await;
    let models = Schema::new().model::<Payment>();
    pair.kv.create_tables(&models).await.expect("an empty database");
    let column = "SELECT format_type(atttypid, atttypmod) AS line FROM pg_attribute
                  WHERE attrelid = 'payments'::regclass AND attname = 'paid'";
    let url = &pair.settings.postgres.url;
    let differ = async || models.difference(url).await.expect("a comparison");
    assert_eq!(lines(&pair, column).await, ["numeric(12,2)"]);
    assert_eq!(differ().await.up(), "");
    let mending = "ALTER TABLE \"payments\" ALTER COLUMN \"paid\" TYPE numeric(12, 2) \
                   USING \"paid\"::numeric(12, 2);\n";
    for (ty, keeps_all) in [
        ("numeric(10, 0)", true),
        ("numeric(11, 2)", true),
        ("numeric(12, 1)", false),
        ("numeric(12, 3)", false),
        ("numeric(13, 2)", false),
        ("numeric", false),
        ("integer", false),
    ] {
        pair.sql(&format!("ALTER TABLE payments ALTER paid TYPE {ty}")).await;
        let change = differ().await;
        assert_eq!(change.is_empty(), !keeps_all, "{ty}: {}", change.up());
        assert!(change.up().ends_with(mending), "{ty}: {}", change.up());
        if keeps_all {
            migrate(&pair, &change.up()).await;
            assert_eq!(lines(&pair, column).await, ["numeric(12,2)"]);
            migrate(&pair, &change.down()).await;
            assert_eq!(lines(&pair, column).await, [ty.replace(", ", ",")]);
        }
    }
}

/// Every way a table can be older, one after the other: each is found, mended and taken back.
#[tokio::test]
async fn each_difference_is_found_and_mended() {
    let pair = empty().await;
    migrate(&pair, &schema().create().up()).await;
    for (change, expected) in [
        ("DROP COLUMN note", "ADD COLUMN \"note\" text"),
        (
            "DROP COLUMN fare",
            "-- Rows that are there need a value: where there are any, give this a DEFAULT.\n\
             ALTER TABLE \"rides\" ADD COLUMN \"fare\" bigint NOT NULL",
        ),
        (
            "ALTER fare TYPE integer",
            "ALTER TABLE \"rides\" ALTER COLUMN \"fare\" TYPE bigint USING \"fare\"::bigint",
        ),
        ("ALTER driver_id SET NOT NULL", "ALTER COLUMN \"driver_id\" DROP NOT NULL"),
        ("ALTER fare DROP NOT NULL", "ALTER COLUMN \"fare\" SET NOT NULL"),
        ("ADD COLUMN vehicle text NOT NULL", "ALTER COLUMN \"vehicle\" DROP NOT NULL"),
        ("DROP CONSTRAINT rides_before_fkey", "FOREIGN KEY (\"before\")"),
        (
            "DROP CONSTRAINT rides_before_fkey,
             ADD CONSTRAINT rides_before_fkey FOREIGN KEY (before) REFERENCES rides
             ON DELETE CASCADE",
            "DROP CONSTRAINT \"rides_before_fkey\"",
        ),
        (
            "DROP CONSTRAINT rides_before_fkey,
             ADD CONSTRAINT rides_before_fkey FOREIGN KEY (driver_id) REFERENCES rides",
            "FOREIGN KEY (\"before\")",
        ),
    ] {
        mend(&pair, &format!("ALTER TABLE rides {change}"), expected).await;
    }
    for (change, expected) in [
        (
            "ALTER TABLE rides DROP CONSTRAINT rides_reference_key",
            "ADD CONSTRAINT \"rides_reference_key\" UNIQUE (\"reference\") DEFERRABLE",
        ),
        ("DROP INDEX rides_state_idx", "WHERE state <> 'over'"),
        (
            "DROP INDEX rides_state_idx; CREATE INDEX rides_state_idx ON rides (state)",
            "DROP INDEX \"rides_state_idx\"",
        ),
        (
            "DROP INDEX rides_driver_id_key;
             CREATE UNIQUE INDEX ON rides (driver_id) WHERE state = 'new'",
            "WHERE state = 'it''s on'",
        ),
        (
            "ALTER TABLE fleet.shops DROP CONSTRAINT shops_name_key",
            "ALTER TABLE \"fleet\".\"shops\" ADD CONSTRAINT",
        ),
        (
            "DROP INDEX rides_merchant_id_fare_idx;
             CREATE INDEX ON rides (fare, merchant_id)",
            "CREATE INDEX \"rides_merchant_id_fare_idx\"",
        ),
    ] {
        mend(&pair, change, expected).await;
    }
}

async fn mend(pair: &Pair, change: &str, expected: &str) {
    pair.sql(change).await;
    let found = difference(pair).await;
    assert!(!found.is_empty() && found.up().contains(expected), "{change}: {}", found.up());
    migrate(pair, &found.up()).await;
    let left = difference(pair).await;
    assert!(left.is_empty(), "{change}: {}", left.up());
    // There and back is where it began.
    migrate(pair, &found.down()).await;
    let again = difference(pair).await;
    assert_eq!(statements(&again.up()), statements(&found.up()), "{change}");
    migrate(pair, &again.up()).await;
}

/// Without the comments: what the model does not know has come and gone meanwhile.
fn statements(sql: &str) -> Vec<&str> {
    sql.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).collect()
}

#[tokio::test]
async fn checks_are_compared_by_what_they_mean() {
    let pair = empty().await;
    migrate(&pair, &schema().create().up()).await;
    let names = "SELECT conname::text AS line FROM pg_constraint
                 WHERE conrelid = 'rides'::regclass AND contype = 'c' ORDER BY 1";
    for name in super::models::lines(&pair, names).await {
        pair.sql(&format!("ALTER TABLE rides DROP CONSTRAINT {name}")).await;
    }
    // One by hand, under another name and in other words.
    pair.sql("ALTER TABLE rides ADD CONSTRAINT mine CHECK ((FARE>=0))").await;
    let found = difference(&pair).await.up();
    assert!(found.contains("CHECK (seats between 1 and 9") && !found.contains("fare"), "{found}");
    migrate(&pair, &found).await;
    assert_eq!(difference(&pair).await.up(), "");
}

#[tokio::test]
async fn what_the_model_does_not_know_is_left_alone() {
    let pair = empty().await;
    migrate(&pair, &schema().create().up()).await;
    pair.sql(
        "ALTER TABLE rides ADD COLUMN vehicle text, ADD CONSTRAINT mine UNIQUE (seats, note),
             ADD CONSTRAINT other CHECK (seats <> 7),
             ADD CONSTRAINT third FOREIGN KEY (driver_id) REFERENCES rides;
         CREATE INDEX vehicles ON rides (vehicle);
         CREATE INDEX lower_notes ON rides (lower(note));
         ALTER TABLE fleet.shops ALTER name TYPE varchar(20)",
    )
    .await;
    let found = difference(&pair).await;
    assert!(found.is_empty(), "{}", found.up());
    for expected in [
        "-- ALTER TABLE \"rides\" DROP CONSTRAINT \"mine\";\n",
        "-- ALTER TABLE \"rides\" DROP CONSTRAINT \"other\";\n",
        "-- ALTER TABLE \"rides\" DROP CONSTRAINT \"third\";\n",
        "-- ALTER TABLE \"rides\" DROP COLUMN \"vehicle\";\n",
        "-- DROP INDEX \"vehicles\";\n",
    ] {
        assert!(found.up().contains(expected), "{expected}\n{}", found.up());
    }
    assert_eq!(statements(&found.up()), [] as [&str; 0]);
    assert!(!found.up().contains("lower_notes"), "{}", found.up());
    migrate(&pair, &found.up()).await;
    assert_eq!(difference(&pair).await, found);
}

#[tokio::test]
async fn types_get_the_values_they_lack() {
    let pair = empty().await;
    pair.sql("CREATE TYPE \"ride state\" AS ENUM ('over', 'old')").await;
    let up = difference(&pair).await.up();
    for expected in [
        "ALTER TYPE \"ride state\" ADD VALUE 'new' BEFORE 'over';",
        "ALTER TYPE \"ride state\" ADD VALUE 'it''s on' AFTER 'new';",
    ] {
        assert!(up.contains(expected), "{up}");
    }
    // PostgreSQL takes a new value only in the next transaction.
    let (types, rest) = up.split_once("CREATE TABLE").expect("the tables");
    migrate(&pair, types).await;
    let problem = "type `\"ride state\"` has no value";
    migrate(&pair, &format!("CREATE TABLE {rest}")).await;
    pair.kv.checks().model::<Ride>().run().await.expect("all values are there");
    pair.sql("ALTER TYPE \"ride state\" RENAME VALUE 'new' TO 'fresh'").await;
    let found = pair.kv.checks().model::<Ride>().run().await.expect_err("a value is missing");
    assert!(
        matches!(found, CheckError::Refused(_)) && found.to_string().contains(problem),
        "{found}"
    );
    let statement = "`ALTER TYPE \"ride state\" ADD VALUE 'new'`";
    assert_eq!(found.to_string().matches(statement).count(), 2, "{found}");
}

/// A model of the table of shops, with a condition that PostgreSQL does not understand.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "fleet.shops", check = "fee > 0")]
struct Wrong {
    #[kv(id)]
    merchant_id: i64,
    #[kv(id)]
    id: i64,
    name: String,
}

#[tokio::test]
async fn what_cannot_be_compared_is_told() {
    let pair = empty().await;
    migrate(&pair, &schema().create().up()).await;
    let error = Schema::new().model::<Wrong>().difference(&pair.settings.postgres.url).await;
    let error = error.expect_err("a condition about no column");
    let source = std::error::Error::source(&error).expect("a reason").to_string();
    assert!(source.contains("fee"), "{source}");
    pair.sql("ALTER TABLE rides RENAME TO other; CREATE VIEW rides AS SELECT * FROM other").await;
    let error = schema().difference(&pair.settings.postgres.url).await.expect_err("no table");
    let source = std::error::Error::source(&error).expect("a reason").to_string();
    assert!(source.contains("`rides` is a view"), "{source}");
}
