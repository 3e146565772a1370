//! Differences that a statement alone does not mend without harm, and those of several tables.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use kv_runtime::KvModel;
use kv_runtime::schema::Schema;
use kv_tests::pair::Pair;
use rust_decimal::Decimal;

use super::models::{empty, migrate};

async fn up_of(pair: &Pair, schema: &Schema) -> String {
    let change = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
    change.up()
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "measures", check = "whole + 1 > 0")]
struct Measure {
    #[kv(id, fresh)]
    id: i64,
    whole: i64,
    exact: Decimal,
    short: f32,
    long: f64,
    many: Vec<i64>,
    day: NaiveDate,
    local: NaiveDateTime,
    moment: DateTime<Utc>,
}

#[tokio::test]
async fn a_type_that_may_lose_something_is_for_a_person_to_change() {
    let pair = empty().await;
    let schema = Schema::new().model::<Measure>();
    migrate(&pair, &schema.create().up()).await;
    for (column, ty, is_run) in [
        ("whole", "integer", true),
        ("whole", "numeric", false),
        ("whole", "double precision", false),
        ("exact", "bigint", true),
        ("exact", "double precision", false),
        ("short", "double precision", false),
        ("long", "real", true),
        ("long", "numeric", false),
        ("many", "integer[]", true),
        ("many", "numeric[]", false),
        ("day", "timestamp", false),
        ("local", "date", true),
        ("local", "timestamptz", false),
        ("moment", "timestamp", false),
        ("moment", "date", false),
    ] {
        pair.sql(&format!("ALTER TABLE measures ALTER {column} TYPE {ty}")).await;
        let up = up_of(&pair, &schema).await;
        let is_statement = |line: &&str| line.trim_start_matches("-- ").starts_with("ALTER");
        let statements: Vec<&str> = up.lines().filter(is_statement).collect();
        assert_eq!(statements.len(), 1, "{up}");
        assert_eq!(!statements[0].starts_with("--"), is_run, "{column} {ty}: {up}");
        pair.sql(statements[0].trim_start_matches("-- ")).await;
        assert_eq!(up_of(&pair, &schema).await, "", "{column} {ty}");
    }
}

/// The model's conditions are about the types that it has, and make no sense of others.
#[tokio::test]
async fn conditions_are_read_with_the_types_of_the_model() {
    let pair = empty().await;
    pair.sql(
        "CREATE TABLE measures (id bigint PRIMARY KEY, whole timestamp NOT NULL,
             exact numeric NOT NULL, short real NOT NULL, long float8 NOT NULL,
             many bigint[] NOT NULL, day date NOT NULL, local timestamp NOT NULL,
             moment timestamptz NOT NULL)",
    )
    .await;
    let up = up_of(&pair, &Schema::new().model::<Measure>()).await;
    assert!(up.contains("-- ALTER TABLE \"measures\" ALTER COLUMN \"whole\" TYPE bigint"), "{up}");
    assert!(up.contains("CHECK (whole + 1 > 0)"), "{up}");
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "parents")]
struct Parent {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    code: i64,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "children")]
struct Child {
    #[kv(id, fresh)]
    id: i64,
    #[kv(references = "parents(code)")]
    parent: i64,
}

#[tokio::test]
async fn what_a_new_key_refers_to_is_unique_at_once() {
    let pair = empty().await;
    let url = &pair.settings.postgres.url;
    migrate(&pair, &Schema::new().model::<Parent>().create().up()).await;
    let both = Schema::new().model::<Parent>().model::<Child>();
    let change = both.difference(url).await.expect("a comparison");
    assert!(change.up().contains("CREATE UNIQUE INDEX \"parents_code_key\""), "{}", change.up());
    migrate(&pair, &change.up()).await;
    assert_eq!(up_of(&pair, &both).await, "");
    // And back, to what can be deferred.
    migrate(&pair, &change.down()).await;
    assert_eq!(both.difference(url).await.expect("a comparison"), change);
    migrate(&pair, &change.up()).await;
    // One model alone is what it is among all.
    let run = |verb: &str| {
        let arguments = [verb, "--model=Parent", "--database-url", url.expose()];
        both.run(arguments.map(str::to_owned))
    };
    let printed = run("print").await.expect("the SQL");
    assert!(printed.contains("CREATE UNIQUE INDEX \"parents_code_key\""), "{printed}");
    let nothing = run("diff").await.expect("no difference");
    assert_eq!(nothing.trim_end(), "-- Nothing to change.");
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "tickets")]
struct Ticket {
    #[kv(id, serial)]
    id: i64,
    title: String,
}

#[tokio::test]
async fn a_serial_id_without_a_sequence_is_found() {
    for default in ["", "DEFAULT nextval('loose')"] {
        let pair = empty().await;
        pair.sql(&format!(
            "CREATE SEQUENCE loose;
             CREATE TABLE tickets (id bigint PRIMARY KEY {default}, title text NOT NULL);
             INSERT INTO tickets VALUES (7, 'old')"
        ))
        .await;
        let found = pair.kv.checks().model::<Ticket>().run().await.expect_err("no sequence");
        let expected = "column `id` of table `tickets` has no sequence of its own";
        assert!(found.to_string().contains(expected), "{found}");
        let schema = Schema::new().model::<Ticket>();
        let change = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
        let up = change.up();
        let told = up.split('`').find(|text| text.starts_with("SELECT setval"));
        let setval = told.expect("a statement for the next number");
        migrate(&pair, &change.up()).await;
        migrate(&pair, &change.down()).await;
        migrate(&pair, &change.up()).await;
        pair.sql(setval).await;
        assert_eq!(up_of(&pair, &schema).await, "");
        pair.kv.checks().model::<Ticket>().run().await.expect("a sequence of its own");
        let tickets = pair.kv.repository::<Ticket>();
        let new = tickets.create_new(NewTicket { title: "new".to_owned() }).await;
        assert_eq!(new.expect("a new row").row.id, 8);
    }
}

#[tokio::test]
async fn a_sequence_waits_for_a_type_that_is_for_a_person_to_change() {
    let pair = empty().await;
    pair.sql("CREATE TABLE tickets (id text PRIMARY KEY, title text NOT NULL)").await;
    let schema = Schema::new().model::<Ticket>();
    let up = up_of(&pair, &schema).await;
    let statements: Vec<&str> =
        up.lines().filter_map(|line| line.strip_prefix("-- ALTER TABLE")).collect();
    assert!(statements.len() == 2 && statements[1].contains("ADD GENERATED"), "{up}");
    for statement in statements {
        migrate(&pair, &format!("ALTER TABLE{statement}")).await;
    }
    assert_eq!(up_of(&pair, &schema).await, "");
}
