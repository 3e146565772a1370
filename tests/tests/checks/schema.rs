//! The models against their tables. Where a message tells a statement, the statement mends it.

use kv_runtime::schema::Schema;
use kv_runtime::{CheckError, CheckMode, KvModel, KvValue, Settings};
use kv_tests::models::Booking;
use kv_tests::pair::Pair;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::log::Log;

const OVERRIDE: &str = ", or set `checks.schema` (KV_CHECKS_SCHEMA) to `warn`";

async fn check(pair: &Pair) -> Result<(), CheckError> {
    pair.kv.checks().model::<Booking>().run().await
}

/// The messages of the problems that are refused.
async fn refusals(pair: &Pair) -> Vec<String> {
    match check(pair).await {
        Ok(()) => Vec::new(),
        Err(CheckError::Refused(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(outage) => panic!("{outage}"),
    }
}

/// The first statement that a message tells.
fn told_statement(message: &str) -> &str {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_statement = |text: &&str| {
        ["ALTER ", "CREATE ", "DROP ", "GRANT "].iter().any(|it| text.starts_with(it))
    };
    quoted.find(is_statement).expect("a statement")
}

/// Changes the tables, expects one refusal, and does what it says.
async fn expect_mended(pair: &Pair, change: &str, expected: &str) {
    pair.sql(change).await;
    let found = refusals(pair).await;
    assert_eq!(found, [format!("model `Booking`: {expected}{OVERRIDE}")], "{change}");
    pair.sql(told_statement(&found[0])).await;
    assert_eq!(refusals(pair).await, [] as [String; 0], "{change}: {found:?}");
}

#[tokio::test]
async fn columns_that_do_not_fit_are_refused() {
    let pair = Pair::servers().await;
    let cases = [
        (
            "DROP COLUMN fare",
            "table `bookings` has no column `fare`; add it with \
             `ALTER TABLE \"bookings\" ADD COLUMN \"fare\" numeric NOT NULL`",
        ),
        (
            "DROP COLUMN driver_id",
            "table `bookings` has no column `driver_id`; add it with \
             `ALTER TABLE \"bookings\" ADD COLUMN \"driver_id\" uuid`",
        ),
        (
            "ALTER COLUMN seats TYPE bigint",
            "column `seats` of table `bookings` is `bigint`, but field `seats` needs `integer`; \
             change one of them, the column with \
             `ALTER TABLE \"bookings\" ALTER COLUMN \"seats\" TYPE integer`",
        ),
        (
            "ALTER COLUMN created_at TYPE timestamp",
            "column `created_at` of table `bookings` is `timestamp without time zone`, but field \
             `created_at` needs `timestamptz`; change one of them, the column with \
             `ALTER TABLE \"bookings\" ALTER COLUMN \"created_at\" TYPE timestamptz`",
        ),
        (
            "ALTER COLUMN reference TYPE char(8)",
            "column `reference` of table `bookings` is `character(8)`, but field `reference` \
             needs `text`; change one of them, the column with \
             `ALTER TABLE \"bookings\" ALTER COLUMN \"reference\" TYPE text`",
        ),
        (
            "ALTER COLUMN driver_id SET NOT NULL",
            "column `driver_id` of table `bookings` is NOT NULL, but field `driver_id` is an \
             `Option`; allow it with \
             `ALTER TABLE \"bookings\" ALTER COLUMN \"driver_id\" DROP NOT NULL`, or make the \
             field none",
        ),
        (
            "ADD COLUMN vehicle text NOT NULL",
            "table `bookings` has a column `vehicle` that needs a value, and the model has none \
             for it; add a field, or allow it with \
             `ALTER TABLE \"bookings\" ALTER COLUMN \"vehicle\" DROP NOT NULL`",
        ),
    ];
    for (change, expected) in cases {
        expect_mended(&pair, &format!("ALTER TABLE bookings {change}"), expected).await;
    }
}

#[tokio::test]
async fn generated_columns_are_refused() {
    let pair = Pair::servers().await;
    for generated in ["AS (1) STORED", "AS IDENTITY"] {
        let change = format!(
            "ALTER TABLE bookings DROP COLUMN seats, \
             ADD COLUMN seats integer NOT NULL GENERATED ALWAYS {generated}"
        );
        pair.sql(&change).await;
        let expected = format!(
            "model `Booking`: column `seats` of table `bookings` is generated, so that it takes \
             no value; make it a plain column, or leave field `seats` out{OVERRIDE}"
        );
        assert_eq!(refusals(&pair).await, [expected]);
    }
    pair.sql("ALTER TABLE bookings ALTER seats DROP IDENTITY").await;
    check(&pair).await.expect("a plain column");
}

#[tokio::test]
async fn what_fits_in_another_way_passes() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    let before = log.text();
    pair.sql(
        "CREATE DOMAIN money_amount AS numeric CHECK (value >= 0);
         ALTER TABLE bookings
            ALTER COLUMN reference TYPE varchar(20),
            ALTER COLUMN fare TYPE money_amount,
            ALTER COLUMN created_at TYPE timestamptz(6),
            ALTER COLUMN seats SET DEFAULT 1,
            ADD COLUMN one integer NOT NULL DEFAULT 1,
            ADD COLUMN two integer,
            ADD COLUMN three bigserial,
            ADD COLUMN four integer NOT NULL GENERATED ALWAYS AS (1) STORED,
            ADD COLUMN five integer GENERATED ALWAYS AS IDENTITY,
            ADD COLUMN six integer GENERATED BY DEFAULT AS IDENTITY,
            ADD COLUMN gone integer NOT NULL,
            DROP CONSTRAINT bookings_pkey;
         ALTER TABLE bookings DROP COLUMN gone;
         CREATE UNIQUE INDEX ON bookings (id) INCLUDE (reference);
         CREATE SCHEMA elsewhere;
         CREATE TABLE elsewhere.bookings ()",
    )
    .await;
    check(&pair).await.expect("it fits");
    pair.drainer().check().await.expect("so do the other models");
    assert_eq!(log.text(), before, "nor is anything warned of");
}

#[tokio::test]
async fn columns_that_round_are_warned_of() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    pair.sql(
        "CREATE DOMAIN cents AS numeric(12, 2);
         ALTER TABLE bookings ALTER fare TYPE cents, ALTER created_at TYPE timestamptz(3)",
    )
    .await;
    check(&pair).await.expect("it may be as it is wanted");
    let expected = [
        "WARN kv_runtime::checks: model `Booking`: column `fare` of table `bookings` is `cents`, \
         to which PostgreSQL rounds what was written; make it exact with \
         `ALTER TABLE \"bookings\" ALTER COLUMN \"fare\" TYPE numeric`, \
         or set `checks.schema` to `off`",
        "column `created_at` of table `bookings` is `timestamp(3) with time zone`, to which",
    ];
    for expected in expected {
        assert!(log.text().contains(expected), "{}", log.text());
    }
}

#[tokio::test]
async fn an_id_without_a_unique_index_is_refused() {
    let pair = Pair::servers().await;
    let expected = "table `bookings` has no unique index on exactly the id (\"id\") that is \
                    neither partial nor deferrable; add it with \
                    `CREATE UNIQUE INDEX ON \"bookings\" (\"id\")`";
    let indexes = [
        "",
        "CREATE INDEX other ON bookings (id)",
        "CREATE UNIQUE INDEX other ON bookings (id, reference)",
        "CREATE UNIQUE INDEX other ON bookings (id) WHERE seats > 0",
        "CREATE UNIQUE INDEX other ON bookings (id, lower(reference))",
        "ALTER TABLE bookings ADD CONSTRAINT other UNIQUE (id) DEFERRABLE",
    ];
    for index in indexes {
        let change = format!(
            "ALTER TABLE bookings DROP CONSTRAINT IF EXISTS bookings_pkey;
             ALTER TABLE bookings DROP CONSTRAINT IF EXISTS other;
             DROP INDEX IF EXISTS bookings_id_idx, other; {index}"
        );
        expect_mended(&pair, &change, expected).await;
    }
}

#[tokio::test]
async fn what_changes_rows_behind_the_back_of_redis_is_refused() {
    let pair = Pair::servers().await;
    pair.sql(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TABLE drivers (id uuid PRIMARY KEY)",
    )
    .await;
    for timing in ["BEFORE UPDATE", "AFTER INSERT OR DELETE"] {
        for level in ["ROW", "STATEMENT"] {
            let change = format!(
                "CREATE OR REPLACE TRIGGER \"Touch\" {timing} ON bookings
                 FOR EACH {level} EXECUTE FUNCTION touch();
                 ALTER TABLE bookings ENABLE TRIGGER \"Touch\""
            );
            let expected = "trigger `Touch` on table `bookings` could change rows behind Redis' \
                            back; switch it off with \
                            `ALTER TABLE bookings DISABLE TRIGGER \"Touch\"`";
            expect_mended(&pair, &change, expected).await;
        }
    }
    for action in ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE"] {
        let change = format!(
            "ALTER TABLE bookings ADD CONSTRAINT driver
             FOREIGN KEY (driver_id) REFERENCES drivers {action}"
        );
        let expected = format!(
            "foreign key `driver` of table `bookings` could change rows behind Redis' back \
             (FOREIGN KEY (driver_id) REFERENCES drivers(id) {action}); remove it with \
             `ALTER TABLE \"bookings\" DROP CONSTRAINT \"driver\"` and add it again without an \
             action"
        );
        expect_mended(&pair, &change, &expected).await;
    }
    let rule = "CREATE RULE aside AS ON DELETE TO bookings DO INSTEAD NOTHING";
    let expected = "rule `aside` on table `bookings` could change rows behind Redis' back; \
                    remove it with `DROP RULE \"aside\" ON \"bookings\"`";
    expect_mended(&pair, rule, expected).await;
    // What changes nothing of the model's: a foreign key that only refuses, one that points to
    // it, and a trigger that no drainer fires.
    pair.sql(
        "ALTER TABLE bookings ADD FOREIGN KEY (driver_id) REFERENCES drivers;
         CREATE TABLE notes (booking uuid REFERENCES bookings ON DELETE CASCADE);
         CREATE TRIGGER never BEFORE TRUNCATE ON bookings EXECUTE FUNCTION touch()",
    )
    .await;
    check(&pair).await.expect("it changes nothing");
}

#[tokio::test]
async fn a_table_that_is_missing_or_none_is_refused() {
    let pair = Pair::servers().await;
    let expected = "there is no table `bookings`; create it with `CREATE TABLE \"bookings\" \
                    (\"id\" uuid NOT NULL, \"reference\" text NOT NULL, \"driver_id\" uuid, \
                    \"status\" text NOT NULL, \"fare\" numeric NOT NULL, \
                    \"seats\" integer NOT NULL, \"created_at\" timestamptz NOT NULL, \
                    PRIMARY KEY (\"id\"))`";
    expect_mended(&pair, "DROP TABLE bookings", expected).await;
    pair.sql("ALTER TABLE bookings RENAME TO b; CREATE VIEW bookings AS SELECT * FROM b").await;
    let expected = format!(
        "model `Booking`: `bookings` is a view or a foreign table; name a table with \
         `#[kv(table = \"…\")]`{OVERRIDE}"
    );
    assert_eq!(refusals(&pair).await, [expected]);
}

#[tokio::test]
async fn rights_that_are_missing_are_refused() {
    let pair = Pair::servers().await;
    // Users are the server's, not the database's.
    let user = format!("app_{:x}", fastrand::u64(..));
    pair.sql(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'word';
         GRANT SELECT ON kv_offsets, __diesel_schema_migrations, bookings TO {user};
         CREATE SCHEMA app; CREATE TABLE app.rides ()"
    ))
    .await;
    let as_user = |settings: &mut Settings| {
        let url = settings.postgres.url.expose();
        let (_, server) = url.rsplit_once('@').expect("an address with a user");
        settings.postgres.url = format!("postgres://{user}:word@{server}").into();
    };
    let pair = pair.with(as_user).await;
    let found = refusals(&pair).await;
    let grant = format!("GRANT INSERT, UPDATE, DELETE ON \"bookings\" TO \"{user}\"");
    let expected = format!(
        "model `Booking`: user \"{user}\" lacks rights on table `bookings`; grant them with \
         `{grant}`{OVERRIDE}"
    );
    assert_eq!(found, [expected]);
    pair.sql(&grant).await;
    check(&pair).await.expect("it has all rights");

    let found = pair.kv.checks().model::<Ride>().run().await.expect_err("a hidden schema");
    let found = found.to_string();
    assert!(found.contains(&format!("`GRANT USAGE ON SCHEMA \"app\" TO \"{user}\"`")), "{found}");
    pair.sql(&format!("REVOKE ALL ON kv_offsets FROM {user}")).await;
    let error = check(&pair).await.expect_err("nobody can tell the partitions");
    assert!(matches!(error, CheckError::Unavailable { .. }), "{error}");
}

/// A model with types of the user's, in a schema of its own.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "app.rides")]
struct Ride {
    #[kv(id)]
    id: Uuid,
    state: State,
    tags: Vec<String>,
    fares: Vec<Decimal>,
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
#[kv(pg_type = "ride state")]
enum State {
    New,
}

#[tokio::test]
async fn types_of_the_users_go_by_name_and_arrays_by_their_elements() {
    let pair = Pair::servers().await;
    let check = || async { pair.kv.checks().model::<Ride>().run().await };
    let missing = check().await.expect_err("no table").to_string();
    assert!(missing.contains("there is no table `app.rides`"), "{missing}");
    pair.sql("CREATE SCHEMA app; CREATE TYPE \"ride state\" AS ENUM ('new')").await;
    // A table of the same name elsewhere is another one.
    pair.sql("CREATE TABLE rides (id uuid)").await;
    pair.sql(told_statement(&missing)).await;
    check().await.expect("what it told to create");
    pair.sql(
        "CREATE TYPE mine AS ENUM ('new');
         ALTER TABLE app.rides ALTER state TYPE mine USING 'new', ALTER tags TYPE char(3)[],
         ALTER fares TYPE numeric(12, 2)[]",
    )
    .await;
    let found = check().await.expect_err("two other types").to_string();
    assert!(found.contains("found 2 problems"), "{found}");
    for expected in [
        "column `state` of table `app.rides` is `mine`, but field `state` needs `\"ride state\"`",
        "column `tags` of table `app.rides` is `character(3)[]`, but field `tags` needs `text[]`",
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[tokio::test]
async fn a_partitioned_table_is_one_and_its_partitions_triggers_count() {
    let pair = Pair::servers().await;
    pair.sql(
        "DROP TABLE bookings;
         CREATE TABLE bookings (
            id uuid PRIMARY KEY, reference text NOT NULL, driver_id uuid, status text NOT NULL,
            fare numeric NOT NULL, seats integer NOT NULL, created_at timestamptz NOT NULL
         ) PARTITION BY HASH (id);
         CREATE TABLE half PARTITION OF bookings FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    .await;
    check(&pair).await.expect("it fits");
    pair.sql(
        "CREATE TRIGGER touch BEFORE INSERT ON half FOR EACH ROW EXECUTE FUNCTION touch();
         CREATE TRIGGER other AFTER INSERT ON bookings FOR EACH ROW EXECUTE FUNCTION touch()",
    )
    .await;
    let found = refusals(&pair).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("trigger `other` on table `bookings`"), "{found:?}");
    assert!(found[1].contains("trigger `touch` on table `half`"), "{found:?}");
}

#[tokio::test]
async fn the_check_can_be_overridden() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE bookings DROP COLUMN fare, DROP COLUMN seats").await;
    assert_eq!(refusals(&pair).await.len(), 2, "all in one go");
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Warn).await;
    check(&pair).await.expect("it is a warning");
    assert!(log.text().contains("WARN") && log.text().contains("no column `fare`"));
    let warned = log.text().matches("no column").count();
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Off).await;
    check(&pair).await.expect("nobody looks");
    assert_eq!(log.text().matches("no column").count(), warned);
}

/// The bookings with what finds them.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bookings", unique(reference, seats), unique(driver_id, when = "status <> 'over'"))]
struct Indexed {
    #[kv(id)]
    id: Uuid,
    #[kv(unique)]
    reference: String,
    driver_id: Option<Uuid>,
    #[kv(index)]
    status: String,
    fare: Decimal,
    seats: i32,
    created_at: chrono::DateTime<chrono::Utc>,
}

#[tokio::test]
async fn unique_indexes_that_are_missing_are_refused_and_others_warned_of() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    let check = || async { pair.kv.checks().model::<Indexed>().run().await };
    // What does not do: an index that is not unique, one on other columns, one for other rows.
    pair.sql(
        "CREATE INDEX ON bookings (reference);
         CREATE UNIQUE INDEX ON bookings (reference, fare);
         CREATE UNIQUE INDEX ON bookings (reference) WHERE seats > 1;
         CREATE UNIQUE INDEX ON bookings (driver_id)",
    )
    .await;
    let found = check().await.expect_err("three are missing");
    let CheckError::Refused(problems) = &found else { panic!("{found}") };
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 3, "{found}");
    assert_eq!(
        messages[0],
        format!(
            "model `Indexed`: table `bookings` has no unique index on exactly (\"reference\"); add \
             it with `ALTER TABLE \"bookings\" ADD CONSTRAINT \"bookings_reference_key\" UNIQUE \
             (\"reference\") DEFERRABLE`{OVERRIDE}"
        )
    );
    assert!(messages[2].contains("(\"driver_id\") where status <> 'over'; add"), "{found}");
    for message in &messages {
        pair.sql(told_statement(message)).await;
    }
    check().await.expect("what it told to add");
    let warning = "has no index on exactly (\"status\"); add it with";
    assert!(log.text().contains(warning), "{}", log.text());
    let warned = log.text().matches(warning).count();
    // The columns of a unique index in another order, and a unique one where any will do.
    pair.sql(
        "ALTER TABLE bookings DROP CONSTRAINT bookings_reference_seats_key,
             ADD UNIQUE (seats, reference), ADD UNIQUE (status)",
    )
    .await;
    check().await.expect("they do as well");
    assert_eq!(log.text().matches(warning).count(), warned);
}

/// A unique index of some rows, and another one of the same column for other rows.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "shifts")]
#[kv(unique(driver_id, when = "state = 'on'"), index(driver_id, when = "state = 'new'"))]
struct Shift {
    #[kv(id, fresh)]
    id: i64,
    driver_id: i64,
    state: String,
}

#[tokio::test]
async fn an_index_beside_a_unique_one_of_the_same_column_is_looked_for_as_well() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    let check = || async { pair.kv.checks().model::<Shift>().run().await };
    let schema = Schema::new().model::<Shift>();
    let expect_left = async |expected: &str| {
        let left = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
        assert_eq!(left.up().trim_end(), expected);
    };
    pair.sql(&schema.create().up()).await;
    check().await.expect("both are there");
    expect_left("").await;
    let warning = "has no index on exactly (\"driver_id\") where state = 'new'; add it with";
    assert!(!log.text().contains(warning), "{}", log.text());

    pair.sql("DROP INDEX shifts_driver_id_idx").await;
    check().await.expect("it is a warning");
    assert_eq!(log.text().matches(warning).count(), 1, "{}", log.text());
    let index = "CREATE INDEX \"shifts_driver_id_idx\" ON \"shifts\" (\"driver_id\") \
                 WHERE state = 'new';";
    expect_left(index).await;
    pair.sql(index).await;

    pair.sql("DROP INDEX shifts_driver_id_key").await;
    let found = check().await.expect_err("the unique one is missing").to_string();
    assert!(found.contains("no unique index on exactly (\"driver_id\") where"), "{found}");
    assert_eq!(log.text().matches(warning).count(), 1, "{}", log.text());
    let unique = "CREATE UNIQUE INDEX \"shifts_driver_id_key\" ON \"shifts\" (\"driver_id\") \
                  WHERE state = 'on';";
    expect_left(unique).await;
}
