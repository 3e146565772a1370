//! Tenants that are not written to: what they cost, and how one comes back.

use std::fs;
use std::time::{Duration, Instant};

use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{Drainer, Kv, Settings};
use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::waiting::until;

use super::common::{create, rows};

const RESTING: usize = 1_000;

contract!(a_tenant_that_falls_quiet_rests_until_it_is_written_to);

/// How many partitions have a lease, and so a worker.
async fn partitions(drainer: &Drainer) -> usize {
    drainer.status().await.expect("Redis is up").partitions
}

async fn a_tenant_that_falls_quiet_rests_until_it_is_written_to(pair: Pair) {
    let pair = pair.with(|settings| settings.drain.retention = Duration::ZERO).await;
    let all = usize::from(pair.settings.partitions);
    let (quiet, busy) = (pair.tenant("quiet").await, pair.tenant("busy").await);
    let drainer = pair.kv.drainer().model::<Account>().all_tenants().spawn();
    for round in 0..2 {
        create(&quiet.kv, round).await;
        until("it is drained", async || rows(&quiet.kv).await == round as usize + 1).await;
        assert!(partitions(&drainer).await >= all, "it is at work");
        // The other one is written to meanwhile, and goes on.
        let next = std::cell::Cell::new(round * 1_000_000);
        until("it rests", async || {
            create(&busy.kv, next.get()).await;
            next.set(next.get() + 1);
            partitions(&drainer).await == all
        })
        .await;
    }
    until("both rest", async || partitions(&drainer).await == 0).await;
    if pair.has_servers() && pair.settings.redis.cluster_nodes.is_empty() {
        let view = RedisView::of(&pair).await;
        until("nobody has a lease", async || view.leases().await.is_empty()).await;
    }
    let written = rows(&busy.kv).await + rows(&quiet.kv).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!(usize::try_from(status.entries_drained), Ok(written), "what rests is counted");
}

/// A pair of a Redis of its own, whose tenants have nothing before their names.
async fn pair_of(redis: &RedisServer) -> Pair {
    let mut settings = Settings::new(redis.url(), servers().create_database());
    settings.drain.interval = Duration::from_millis(5);
    settings.partitions = 8;
    settings.checks.persistence = kv_runtime::CheckMode::Off;
    Pair::connect(settings).await
}

/// The process that wrote ended before it could say so.
#[tokio::test]
async fn a_write_that_nobody_has_told_of_is_found() {
    let redis = RedisServer::start().expect("a private server");
    let pair = pair_of(&redis).await;
    let acme = pair.tenant("acme").await;
    let drainer = pair.kv.drainer().model::<Account>().all_tenants().spawn();
    create(&acme.kv, 1).await;
    until("what is told is drained", async || rows(&acme.kv).await == 1).await;
    until("it rests", async || partitions(&drainer).await == 0).await;
    // With the same prefix, by one who knows of no tenants.
    let mut settings = pair.settings.clone();
    settings.tenant = Some("acme".to_owned());
    let silent = Kv::connect(settings).await.expect("the servers are up");
    create(&silent, 2).await;
    assert_eq!(partitions(&drainer).await, 0);
    // The look at all, which there is once a minute besides.
    drainer.flush().await.expect("everything can be drained");
    assert_eq!(rows(&acme.kv).await, 2);
    drainer.shutdown().await.expect("everything can be drained");
}

/// What a server has done so far for others than this test: all commands, and the looks at who was
/// written to, each of which has one of these.
fn commands(redis: &RedisServer) -> (u64, u64) {
    let stats = redis.ask("INFO commandstats").expect("an answer");
    let calls = |name: &str| -> u64 {
        let lines = stats.lines().filter(|line| line.starts_with(name));
        let calls = lines.filter_map(|line| line.split_once(":calls=")?.1.split_once(','));
        calls.filter_map(|(calls, _)| calls.parse::<u64>().ok()).sum()
    };
    (calls("cmdstat_") - calls("cmdstat_info:"), calls("cmdstat_zscore:"))
}

fn memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Prints what they cost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_at_rest_cost_no_commands() {
    const LOOKS: u64 = 200;
    let redis = RedisServer::start().expect("a private server");
    let pair = pair_of(&redis).await;
    // Of resting tenants nobody looks at the tables.
    pair.sql(&format!(
        "INSERT INTO kv_tenants SELECT 'tenant' || n FROM generate_series(1, {RESTING}) AS n"
    ))
    .await;
    let memory_before = memory_kib();
    let drainer = pair.kv.drainer().model::<Account>().all_tenants().spawn();
    // The second look is behind the one at all tenants.
    let looks = async || commands(&redis).1;
    until("all are known", async || looks().await >= 2).await;
    let memory = memory_kib().saturating_sub(memory_before);
    let mut least = f64::INFINITY;
    // A look at all, of which there is one a minute, is in one window at most.
    for _ in 0..2 {
        let (before, started) = (commands(&redis), Instant::now());
        until("it looks often", async || looks().await >= before.1 + LOOKS).await;
        let (after, took) = (commands(&redis), started.elapsed());
        let all = (after.0 - before.0) as f64;
        println!(
            "{RESTING} tenants at rest: {:.0} commands a second at Redis, {memory} KiB here",
            all / took.as_secs_f64()
        );
        least = least.min(all / (after.1 - before.1) as f64);
    }
    println!("{least:.2} commands a look at who was written to");
    assert!(least < 10.0, "{least} commands a look");
    drainer.shutdown().await.expect("everything can be drained");
}
