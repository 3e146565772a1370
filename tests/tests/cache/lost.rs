//! The connections that tell of changes are cut and fall silent.

use std::time::{Duration, Instant};

use kv_runtime::testing::{Proxy, RedisSentinel, RedisServer, servers};
use kv_runtime::{CacheSettings, Kv, Settings};
use kv_tests::models::Account;
use kv_tests::pair::Pair;
use kv_tests::waiting::until;

use super::common::{ROOM, account, has_note, is_held, renamed, told};

/// A pair on a server of its own, and the way by which another pair gets there.
async fn by_proxy() -> (RedisServer, Pair, Proxy, Kv) {
    let server = RedisServer::start().expect("a private server");
    let proxy = Proxy::to(server.url()).await.expect("a proxy");
    let mut settings = Settings::new(server.url(), servers().create_database());
    settings.tenant = Some("private".to_owned());
    let pair = Pair::connect(settings).await;
    let mut settings = pair.settings.clone();
    settings.redis.url = proxy.url().into();
    settings.redis.command_timeout = Duration::from_millis(300);
    let kv = Kv::connect(settings).await.expect("the servers are up");
    (server, pair, proxy, kv)
}

/// The notice is lost with the connection, and the row would be held for an hour.
#[tokio::test]
async fn what_a_cut_connection_has_not_told_is_seen() {
    let (_server, pair, proxy, kv) = by_proxy().await;
    let writer = pair.kv.repository::<Account>();
    writer.create(&account(1, "0")).await.expect("a new row");
    let accounts = told::<Account>(&kv).await;
    for round in ["1", "2", "3"] {
        is_held(&accounts, 1).await;
        let resets = accounts.stats().resets;
        proxy.stall();
        writer.update(&1, renamed(round)).await.expect("a row");
        proxy.cut();
        until("all is forgotten", async || accounts.stats().resets > resets).await;
        proxy.resume();
        until("it goes on", async || accounts.find_by_id(&1).await.is_ok()).await;
        has_note(&accounts, 1, round).await;
        until("changes are told", async || accounts.stats().is_told).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_is_found_out() {
    let (_server, pair, proxy, kv) = by_proxy().await;
    pair.kv.repository::<Account>().create(&account(1, "0")).await.expect("a new row");
    let accounts = told::<Account>(&kv).await;
    is_held(&accounts, 1).await;
    let resets = accounts.stats().resets;
    proxy.stall();
    until("it is known", async || !accounts.stats().is_told).await;
    assert!(accounts.stats().resets > resets, "all is forgotten");
    proxy.resume();
    until("changes are told", async || accounts.stats().is_told).await;
}

/// Sentinels name another server, and what that one changes it has to tell itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_takes_over_tells() {
    let mut redis = RedisSentinel::start().expect("private servers and sentinels");
    let pair = Pair::on_sentinel(&redis).await.replicated().await;
    let writer = pair.other_process().await.repository::<Account>();
    until("a replica has it", async || writer.upsert(&account(1, "0")).await.is_ok()).await;
    let accounts = told::<Account>(&pair.kv).await;
    is_held(&accounts, 1).await;
    let resets = accounts.stats().resets;
    let _redis = tokio::task::spawn_blocking(move || {
        let primary = redis.primary().expect("there is one");
        redis.servers_mut()[primary].kill().expect("it is killed");
        redis.await_other_primary(primary).expect("a replica takes over");
        redis
    })
    .await
    .expect("a primary is killed");
    until("all is forgotten", async || accounts.stats().resets > resets).await;
    until("changes are told", async || accounts.stats().is_told).await;
    until("it goes on", async || accounts.find_by_id(&1).await.is_ok()).await;
    is_held(&accounts, 1).await;
    until("a replica has it", async || writer.upsert(&account(1, "1")).await.is_ok()).await;
    has_note(&accounts, 1, "1").await;
}

/// Whatever happens to the connections, no read answers what was replaced longer ago than the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_older_than_its_bound() {
    const STALE_FOR: Duration = Duration::from_millis(400);
    let (_server, pair, proxy, kv) = by_proxy().await;
    let writer = pair.kv.repository::<Account>();
    writer.create(&account(1, "0")).await.expect("a new row");
    let accounts = kv.cached::<Account>(CacheSettings::new(STALE_FOR, ROOM)).expect("settings");
    // When each number was acknowledged.
    let mut written = vec![Instant::now()];
    let (mut answered, mut was_stale) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) || answered < 1_000 {
        match fastrand::u8(..100) {
            0 => proxy.stall(),
            1 => proxy.stall_answers(),
            2 => proxy.cut(),
            3..10 => proxy.resume(),
            10..20 => {
                writer.update(&1, renamed(&written.len().to_string())).await.expect("a row");
                written.push(Instant::now());
            }
            _ => {}
        }
        let asked = Instant::now();
        let Ok(Ok(row)) = tokio::time::timeout(STALE_FOR / 8, accounts.get_by_id(&1)).await else {
            proxy.resume();
            continue;
        };
        let number: usize = row.note.as_ref().and_then(|note| note.parse().ok()).expect("a number");
        answered += 1;
        if let Some(replaced) = written.get(number + 1) {
            was_stale += 1;
            let age = asked.saturating_duration_since(*replaced);
            assert!(age <= STALE_FOR, "{number} of {} after {age:?}", written.len() - 1);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(was_stale > 0, "nothing was ever behind: the proxy did nothing");
}
