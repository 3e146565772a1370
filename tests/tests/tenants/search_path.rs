//! Sessions are shared, and what one tenant leaves in them does not lead another one astray.

use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use kv_runtime::testing::servers;
use kv_runtime::{Kv, Settings};
use kv_tests::models::Account;
use kv_tests::pair::Pair;

/// More often than PostgreSQL takes to keep a plan for a prepared statement.
const USES: usize = 12;

/// A pair whose tenants take turns with one session.
async fn with_one_session() -> Pair {
    let pair = Pair::servers().await;
    pair.with(|settings| settings.postgres.max_connections = 1).await
}

#[tokio::test]
async fn a_prepared_statement_follows_the_search_path() {
    let pair = with_one_session().await;
    let all = [pair.tenant("acme").await, pair.tenant("globex").await];
    for (number, tenant) in all.iter().enumerate() {
        let accounts = tenant.kv.repository::<Account>();
        let note = Some(number.to_string());
        let row = Account { id: 1, revision: 1, note, active: true };
        let _ = accounts.create(&row).await.expect("a new row");
        tenant.drain().await;
    }
    for _ in 0..USES {
        for (number, tenant) in all.iter().enumerate() {
            let accounts = tenant.kv.repository::<Account>();
            accounts.invalidate(&1).await.expect("a clean row");
            let row = accounts.get_by_id(&1).await.expect("the row");
            assert_eq!(row.note, Some(number.to_string()));
        }
    }
    let prepared = "SELECT count(*) AS value FROM pg_prepared_statements \
                    WHERE statement LIKE '%accounts%'";
    let count: Number = diesel::sql_query(prepared)
        .get_result(&mut *pair.kv.connection().await.expect("the session"))
        .await
        .expect("valid SQL");
    assert!(count.value > 0, "no statement was kept, so that nothing was shown");
}

#[tokio::test]
async fn a_path_that_a_user_leaves_is_not_gone_by() {
    let pair = with_one_session().await;
    let (acme, globex) = (pair.tenant("acme").await, pair.tenant("globex").await);
    let path = async |kv: &Kv| -> String {
        let mut connection = kv.connection().await.expect("the session");
        let query = diesel::sql_query("SELECT current_schemas(false)::text AS value");
        let path: Name = query.get_result(&mut *connection).await.expect("valid SQL");
        connection.batch_execute("SET search_path TO tenant_globex").await.expect("valid SQL");
        path.value
    };
    for _ in 0..2 {
        assert_eq!(path(&acme.kv).await, "{tenant_acme}");
        // The next use of the session is for the same tenant.
        let row = Account { id: fastrand::i64(..), revision: 1, note: None, active: true };
        let _ = acme.kv.repository::<Account>().create(&row).await.expect("a new row");
        acme.drain().await;
        assert_eq!(path(&acme.kv).await, "{tenant_acme}");
        assert_eq!(path(&pair.kv).await, "{public}");
        assert_eq!(path(&pair.kv).await, "{public}");
    }
    assert_eq!(acme.kv.durable_rows::<Account>().await.expect("the rows").len(), 2);
    assert_eq!(globex.kv.durable_rows::<Account>().await.expect("the rows").len(), 0);
}

diesel::table! {
    reports (id) { id -> BigInt, title -> Text }
}

/// A statement that Diesel keeps, of columns that have a type of each tenant's own.
#[tokio::test]
async fn a_users_statements_are_of_the_tenants_types() {
    let pair = with_one_session().await;
    let mut titles = Vec::new();
    for round in 0..2 {
        for (name, ty) in [("acme", "text"), ("globex", "varchar(80)")] {
            let kv = pair.kv.tenant(name).expect("a tenant");
            kv.migrate().await.expect("the pair's tables are there");
            let mut connection = kv.connection().await.expect("the session");
            if round == 0 {
                let make = format!(
                    "CREATE TABLE reports (id bigint PRIMARY KEY, title {ty} NOT NULL); \
                     INSERT INTO reports VALUES (1, '{name}')"
                );
                connection.batch_execute(&make).await.expect("an empty schema");
            }
            let title: String = reports::table
                .select(reports::title)
                .get_result(&mut *connection)
                .await
                .expect("a report");
            titles.push(title);
        }
    }
    assert_eq!(titles, ["acme", "globex", "acme", "globex"]);
}

#[tokio::test]
async fn tenants_are_kept_apart_by_the_checks_too() {
    let pair = Pair::servers().await;
    let acme = pair.tenant("acme").await;
    acme.kv.checks().model::<Account>().run().await.expect("it has its tables");
    let globex = pair.kv.tenant("globex").expect("a tenant");
    let error = globex.checks().model::<Account>().run().await.expect_err("it has no tables");
    let error = error.to_string();
    assert!(error.contains("`accounts`") && error.contains("`Kv::migrate`"), "{error}");
    let row = Account { id: 1, revision: 1, note: None, active: true };
    let _ = globex.repository::<Account>().create(&row).await.expect("Redis takes it");
    let drainer = globex.drainer().model::<Account>().spawn();
    let loud = async {
        while drainer.status().await.expect("Redis is up").last_error.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), loud).await.expect("it is told");
    drainer.stop().await;
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), 0);
    // Once the tables are there, what waits is drained.
    let globex = pair.tenant("globex").await;
    assert_eq!(globex.drain().await.entries_drained, 1);
}

#[tokio::test]
async fn a_schema_that_is_there_takes_no_right_to_make_one() {
    let mut settings = Settings::new(servers().redis_url(), servers().create_database());
    settings.tenant = Some(format!("s{:x}", fastrand::u64(..)));
    settings.postgres.tenant_schema = "{}".to_owned();
    let pair = Pair::connect(settings).await;
    let role = format!("tenant_role_{:x}", fastrand::u64(..));
    pair.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; CREATE SCHEMA acme AUTHORIZATION {role}; \
         GRANT ALL ON kv_tenants TO {role}"
    ))
    .await;
    let kv = Kv::connect(as_role(&pair.settings, &role)).await.expect("the role can log in");
    kv.tenant("acme").expect("a name").migrate().await.expect("its schema is there");
    kv.tenant("globex").expect("a name").migrate().await.expect_err("it may make no schema");
    pair.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

fn as_role(settings: &Settings, role: &str) -> Settings {
    let mut settings = settings.clone();
    let (_, rest) = settings.postgres.url.expose().split_once("://").expect("an address");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    settings.postgres.url = format!("postgres://{role}:secret@{host}").as_str().into();
    settings
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}
