//! Whatever keeps PostgreSQL from taking a batch, other than its content, is waited for.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, servers};
use kv_runtime::{CheckMode, Settings};
use kv_tests::pair::Pair;

use super::course::{Course, until_found};

/// Errors that say nothing about the rows, whatever raised them: conflicts with other transactions,
/// a server that is out of something, that is told to end, that is broken; a right, a table, a
/// function that is not there; and a trigger of the user's that takes no row of its table at all.
const FAULTS: [&str; 17] = [
    "40001", "40P01", "53000", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P03",
    "58030", "XX000", "25006", "42501", "42P01", "42883", "P0001",
];

/// Makes every statement on accounts fail while the table of faults has a row.
const FAULTY_TABLE: &str = "
    CREATE TABLE faults (sqlstate text);
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE fault text := (SELECT sqlstate FROM faults);
    BEGIN
        IF fault IS NOT NULL THEN RAISE EXCEPTION 'fault %', fault USING ERRCODE = fault; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION fail();
";

/// The pair as a role of its own, which can be kept from things, and that role.
async fn as_role(pair: Pair) -> (Pair, String) {
    let url = pair.database_url.clone().expect("a pair of servers");
    let (_, place) = url.rsplit_once('@').expect("an address with a user");
    let (_, database) = place.rsplit_once('/').expect("an address with a database");
    let role = database.split('?').next().expect("a name").to_owned();
    pair.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'kv';
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
    ))
    .await;
    let url = format!("postgres://{role}:kv@{place}");
    let pair = pair
        .with(|settings| {
            settings.postgres.url = url.into();
            settings.postgres.checkout_timeout = Duration::from_secs(1);
        })
        .await;
    (pair, role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_is_waited_for() {
    let mut server = PostgresServer::start().expect("a private server");
    let mut settings = Settings::new(servers().redis_url(), server.url());
    settings.tenant = Some(format!("down{:016x}", fastrand::u64(..)));
    settings.partitions = 8;
    settings.postgres.checkout_timeout = Duration::from_secs(1);
    settings.drain.backoff_max = Duration::from_millis(500);
    settings.drain.interval = Duration::from_millis(5);
    let pair = Pair::connect(settings).await;
    let mut course = Course::begin(&pair).await;
    for crash in [PostgresServer::stop_immediate, PostgresServer::kill] {
        crash(&mut server).expect("it ends");
        course.is_told("PostgreSQL").await;
        server.restart().expect("it starts again");
        course.recovers(&pair).await;
    }
    // It is away for a moment only, and ends its clients itself.
    course.write().await;
    server.restart().expect("it starts again");
    course.end(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_waited_for() {
    let (pair, role) = as_role(Pair::servers().await).await;
    let end_sessions =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    let faults = [
        (
            format!("ALTER ROLE {role} SET default_transaction_read_only = on; {end_sessions}"),
            "read-only",
            format!("ALTER ROLE {role} RESET default_transaction_read_only; {end_sessions}"),
        ),
        (
            format!("ALTER ROLE {role} CONNECTION LIMIT 0; {end_sessions}"),
            "too many connections",
            format!("ALTER ROLE {role} CONNECTION LIMIT -1"),
        ),
        (
            format!("REVOKE INSERT ON accounts FROM {role}"),
            "permission denied for table accounts",
            format!("GRANT INSERT ON accounts TO {role}"),
        ),
        (
            format!("REVOKE UPDATE ON kv_offsets FROM {role}"),
            "permission denied for table kv_offsets",
            format!("GRANT UPDATE ON kv_offsets TO {role}"),
        ),
        (
            "ALTER TABLE kv_offsets RENAME TO not_there_yet".to_owned(),
            "kv_offsets",
            "ALTER TABLE not_there_yet RENAME TO kv_offsets".to_owned(),
        ),
        (
            "ALTER TABLE accounts RENAME COLUMN note TO not_there_yet".to_owned(),
            "note",
            "ALTER TABLE accounts RENAME COLUMN not_there_yet TO note".to_owned(),
        ),
    ];
    let mut course = Course::begin(&pair).await;
    for (begin, told, end) in faults {
        pair.sql(&begin).await;
        course.is_told(told).await;
        pair.sql(&end).await;
        course.recovers(&pair).await;
    }
    course.end(&pair).await;
}

/// Changes what is faulty while no batch is on its way: in the midst of one, PostgreSQL would refuse a
/// row and take others like it, which makes it that row's fault.
async fn between_batches(pair: &Pair, change: &str) {
    let lock = "LOCK TABLE kv_offsets IN EXCLUSIVE MODE";
    pair.sql(&format!("BEGIN; {lock}; {change}; COMMIT")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_not_about_the_rows_is_waited_for() {
    let pair = Pair::servers().await;
    let change = |settings: &mut Settings| {
        settings.drain.backoff_max = Duration::from_millis(100);
        // Of the trigger.
        settings.checks.schema = CheckMode::Warn;
    };
    let pair = pair.with(change).await;
    pair.sql(FAULTY_TABLE).await;
    let mut course = Course::begin(&pair).await;
    for fault in FAULTS {
        between_batches(&pair, &format!("INSERT INTO faults VALUES ('{fault}')")).await;
        course.is_told(&format!("fault {fault}")).await;
        between_batches(&pair, "DELETE FROM faults").await;
        course.recovers(&pair).await;
    }
    course.end(&pair).await;
}

/// A session that keeps accounts from being written, until it is dropped or rolls back.
async fn lock_accounts(pair: &Pair) -> AsyncPgConnection {
    let url = pair.database_url.as_deref().expect("a pair of servers");
    let mut session = AsyncPgConnection::establish(url).await.expect("the server is up");
    let lock = "SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE accounts IN SHARE MODE";
    session.batch_execute(lock).await.expect("it is free soon");
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_is_waited_for() {
    for (lease, statement_timeout, told) in [
        (Duration::from_secs(60), Duration::from_millis(200), "statement timeout"),
        (Duration::from_millis(600), Duration::from_secs(30), "lock timeout"),
    ] {
        let pair = Pair::servers().await;
        let pair = pair
            .with(|settings| {
                settings.postgres.statement_timeout = statement_timeout;
                settings.drain.lease = lease;
            })
            .await;
        let mut course = Course::begin(&pair).await;
        let mut session = lock_accounts(&pair).await;
        course.is_told(told).await;
        session.batch_execute("ROLLBACK").await.expect("it is there");
        course.end(&pair).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_waited_for() {
    let (pair, role) = as_role(Pair::servers().await).await;
    // It is the drainer that finds the deadlock, and is ended; there is time to make it.
    pair.sql(&format!("ALTER ROLE {role} SET deadlock_timeout = '2s'")).await;
    let pair = pair.with(|settings| settings.drain.lease = Duration::from_secs(20)).await;
    let mut course = Course::begin(&pair).await;
    let mut session = lock_accounts(&pair).await;
    course.write().await;
    // It has moved its offsets, and waits for the accounts.
    let waiting = format!(
        "SELECT 1::text AS value FROM pg_stat_activity
         WHERE usename = '{role}' AND wait_event_type = 'Lock' AND query LIKE '%accounts%'"
    );
    until_found(&pair, &waiting).await;
    let offsets = "UPDATE kv_offsets SET updated_at = now()";
    session.batch_execute(offsets).await.expect("the drainer gave way");
    session.batch_execute("ROLLBACK").await.expect("it is there");
    course.end(&pair).await;
}
