//! A drainer that is told to end finishes its batch or rolls it back, gives its leases back, and
//! ends in a bounded time, whatever hangs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kv_runtime::testing::Proxy;
use kv_runtime::{CheckMode, Settings};
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::course::{WAIT_MAX, account, flush, spawn, until_found};

/// Leases that do not end by themselves while a test runs.
const LEASE: Duration = Duration::from_secs(600);

/// What a stop may take: three seconds, and what a busy machine adds.
const STOP_MAX: Duration = Duration::from_secs(6);

async fn pair_with_long_leases() -> Pair {
    let change = |settings: &mut Settings| {
        settings.drain.lease = LEASE;
        // Of the trigger.
        settings.checks.schema = CheckMode::Warn;
    };
    Pair::servers().await.with(change).await
}

/// Batches take this long, and what they have done is counted.
async fn dawdle(pair: &Pair, seconds: f32) {
    pair.sql(&format!(
        "CREATE TABLE inserted (id bigint);
         CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO inserted VALUES (new.id); RETURN NULL; END $$;
         CREATE TRIGGER counted AFTER INSERT ON accounts
         FOR EACH ROW EXECUTE FUNCTION count_row();
         CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
         CREATE TRIGGER dawdle BEFORE INSERT ON accounts
         FOR EACH STATEMENT EXECUTE FUNCTION dawdle();"
    ))
    .await;
}

/// Waits until a batch is in PostgreSQL's hands.
async fn is_in_a_batch(pair: &Pair) {
    let sleeping = "SELECT 1::text AS value FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    until_found(pair, sleeping).await;
}

async fn create_accounts(pair: &Pair, ids: std::ops::Range<i64>) {
    let rows: Vec<Account> = ids.map(account).collect();
    let results = pair.kv.repository::<Account>().create_many(&rows).await;
    assert!(results.iter().all(Result::is_ok));
}

/// Nobody has a lease or is a member.
async fn assert_nothing_is_claimed(pair: &Pair) {
    let redis = RedisView::of(pair).await;
    let tenant = pair.settings.tenant.as_deref().expect("a tenant");
    for kind in ["lease", "drainers"] {
        let left: Vec<String> = redis.ask(&["KEYS", &format!("{tenant}/*.{kind}*")]).await;
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Another drainer goes on at once, and everything is there once.
async fn another_finishes(pair: &Pair, rows: usize) {
    pair.sql("DROP TRIGGER dawdle ON accounts").await;
    let drainer = spawn(pair);
    flush(&drainer).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), rows);
    let counts = "SELECT count(*) || ' ' || count(DISTINCT id) AS value FROM inserted";
    assert_eq!(pair.texts(counts).await, [Some(format!("{rows} {rows}"))]);
}

async fn stops_within_a_batch(seconds: f32) {
    let pair = pair_with_long_leases().await;
    dawdle(&pair, seconds).await;
    let drainer = spawn(&pair);
    create_accounts(&pair, 0..200).await;
    is_in_a_batch(&pair).await;
    let started = Instant::now();
    drainer.stop().await;
    assert!(started.elapsed() < STOP_MAX, "{:?}", started.elapsed());
    assert_nothing_is_claimed(&pair).await;
    another_finishes(&pair, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_finished_before_a_stop() {
    stops_within_a_batch(0.2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_too_long_is_rolled_back_by_a_stop() {
    stops_within_a_batch(8.0).await;
}

/// Nothing is heard of PostgreSQL any more, and the connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_the_leases_back_though_postgresql_hangs() {
    let pair = pair_with_long_leases().await;
    dawdle(&pair, 0.2).await;
    let proxy = Proxy::to(pair.settings.postgres.url.expose()).await.expect("a proxy");
    let mut settings = pair.settings.clone();
    settings.postgres.url = proxy.url().into();
    let proxied = kv_runtime::Kv::connect(settings).await.expect("the servers are up");
    let drainer = proxied.drainer().model::<Account>().spawn();
    create_accounts(&pair, 0..200).await;
    is_in_a_batch(&pair).await;
    proxy.stall();
    let started = Instant::now();
    drainer.stop().await;
    assert!(started.elapsed() < STOP_MAX, "{:?}", started.elapsed());
    assert_nothing_is_claimed(&pair).await;
    // PostgreSQL hears that its client is gone.
    proxy.cut();
    another_finishes(&pair, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_terminated_ends_and_gives_the_leases_back() {
    let pair = pair_with_long_leases().await;
    dawdle(&pair, 0.1).await;
    let settings = &pair.settings;
    let mut process = Command::new(env!("CARGO_BIN_EXE_drain_process"))
        .env("REDIS_URL", settings.redis.url.expose())
        .env("DATABASE_URL", settings.postgres.url.expose())
        .env("KV_TENANT", settings.tenant.as_deref().expect("a tenant"))
        .env("KV_PARTITIONS", settings.partitions.to_string())
        .env("KV_CHECKS_SCHEMA", "warn")
        .env("KV_DRAIN_BATCH_ENTRIES", "40")
        .env("KV_DRAIN_LEASE_MS", LEASE.as_millis().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program is built");
    let output = process.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(output).lines();
    let ready = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.expect("it starts in time");
    assert_eq!(ready.expect("a text").as_deref(), Some("ready"));
    create_accounts(&pair, 0..400).await;
    is_in_a_batch(&pair).await;

    let id = process.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("a program");
    assert!(sent.success());
    let ended = tokio::time::timeout(STOP_MAX, process.wait()).await.expect("it ends in time");
    assert!(ended.expect("it was not waited for").success());
    assert_nothing_is_claimed(&pair).await;
    another_finishes(&pair, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_of_a_drainer_outlives_it() {
    let pair = pair_with_long_leases().await;
    // One connection, whose task stays.
    let pair = pair.with(|settings| settings.postgres.max_connections = 1).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let drain_once = async |id: i64| {
        let drainer = spawn(&pair);
        create_accounts(&pair, id..id + 10).await;
        flush(&drainer).await;
        drainer.stop().await;
    };
    drain_once(0).await;
    let before = tasks();
    for round in 1..=10 {
        drain_once(round * 10).await;
    }
    let started = Instant::now();
    // Those of calls that were on their way end a moment later.
    while tasks() > before {
        assert!(started.elapsed() < WAIT_MAX, "{} tasks, {before} before", tasks());
        tokio::task::yield_now().await;
    }
}
