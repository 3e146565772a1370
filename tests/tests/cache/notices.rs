//! What others write is told: by Redis, to every process that holds the row.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{RedisCluster, RedisServer, servers};
use kv_runtime::{Cached, Settings};
use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::{After, Pair};
use kv_tests::waiting::until;
use tokio::task::JoinSet;

use super::common::{account, cached, has_note, is_held, note, renamed, told};

/// How many rows there are, so that each master of a cluster has some.
const ROWS: i64 = 20;

contract!(
    on servers:
    writes_of_others_are_told,
    own_writes_are_seen_in_a_storm,
    a_read_on_its_way_is_done_again,
    tenants_are_told_of_their_own,
    a_cache_that_comes_later_is_told,
);

async fn hold_all(accounts: &Cached<Account>) {
    for id in 0..ROWS {
        accounts.repository().create(&account(id, "0")).await.expect("a new row");
        is_held(accounts, id).await;
    }
}

async fn writes_of_others_are_told(pair: Pair) {
    let accounts = told::<Account>(&pair.kv).await;
    hold_all(&accounts).await;
    let others = pair.other_process().await;
    let writer = others.repository::<Account>();
    for round in ["1", "2"] {
        for id in 0..ROWS {
            writer.update(&id, renamed(round)).await.expect("a row");
            has_note(&accounts, id, round).await;
        }
        pair.drain().await;
    }
    writer.delete(&1).await.expect("a row");
    until("it is gone", async || note(&accounts, 1).await.is_none()).await;
    assert!(accounts.stats().invalidations >= 2 * ROWS.unsigned_abs());
}

/// Others change the row all the time, and many read it: so reads are told of changes again and again,
/// and some end without having been undisturbed.
async fn own_writes_are_seen_in_a_storm(pair: Pair) {
    let accounts = told::<Account>(&pair.kv).await;
    accounts.repository().create(&account(1, "0")).await.expect("a new row");
    let others = pair.other_process().await;
    let mut storm = JoinSet::new();
    for _ in 0..3 {
        let writer = others.repository::<Account>();
        storm.spawn(async move {
            for round in 0.. {
                let patch = Account::patch().active(round % 2 == 0);
                writer.update(&1, patch).await.expect("a row");
            }
        });
        let reader = accounts.clone();
        storm.spawn(async move {
            loop {
                note(&reader, 1).await;
                tokio::task::yield_now().await;
            }
        });
    }
    for round in 1..=300 {
        let text = round.to_string();
        accounts.repository().update(&1, renamed(&text)).await.expect("a row");
        assert_eq!(note(&accounts, 1).await, Some(text));
    }
    storm.shutdown().await;
}

/// PostgreSQL has the row as it was and is slow to tell, while Redis is given another one.
async fn a_read_on_its_way_is_done_again(pair: Pair) {
    let accounts = told::<Account>(&pair.kv).await;
    accounts.repository().create(&account(1, "old")).await.expect("a new row");
    pair.bring(accounts.repository(), &[1], After::Eviction).await;
    let others = pair.other_process().await;
    let url = pair.database_url.as_deref().expect("there are servers");
    let mut lock = AsyncPgConnection::establish(url).await.expect("the server is up");
    let begun = "BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE";
    lock.batch_execute(begun).await.expect("nobody has it locked");

    let before = accounts.stats();
    let reader = accounts.clone();
    let reading = tokio::spawn(async move { note(&reader, 1).await });
    until("it is being read", async || accounts.stats().loads > before.loads).await;
    others.repository::<Account>().upsert(&account(1, "new")).await.expect("written");
    until("it is told", async || accounts.stats().invalidations > before.invalidations).await;
    // One that has come later waits for the same read.
    let later = accounts.clone();
    let later = tokio::spawn(async move { note(&later, 1).await });
    until("it waits", async || accounts.stats().misses >= before.misses + 2).await;
    lock.batch_execute("COMMIT").await.expect("it is open");

    assert_eq!(later.await.expect("no panic").as_deref(), Some("new"));
    assert_eq!(reading.await.expect("no panic").as_deref(), Some("new"));
    assert_eq!(note(&accounts, 1).await.as_deref(), Some("new"));
    assert_eq!(accounts.stats().loads, before.loads + 1, "others wait for it");
}

async fn tenants_are_told_of_their_own(pair: Pair) {
    let (acme, globex) = (pair.tenant("acme").await, pair.tenant("globex").await);
    let caches = [told::<Account>(&acme.kv).await, told::<Account>(&globex.kv).await];
    for accounts in &caches {
        accounts.repository().create(&account(1, "0")).await.expect("a new row");
        is_held(accounts, 1).await;
    }
    let [of_acme, of_globex] = &caches;
    let before = of_globex.stats();
    let others = pair.other_process().await.tenant("acme").expect("a name");
    others.repository::<Account>().update(&1, renamed("1")).await.expect("a row");
    has_note(of_acme, 1, "1").await;
    assert_eq!(note(of_globex, 1).await.as_deref(), Some("0"));
    assert_eq!(of_globex.stats().invalidations, before.invalidations);
}

async fn a_cache_that_comes_later_is_told(pair: Pair) {
    let others = pair.other_process().await;
    let first = told::<Account>(&pair.kv).await;
    first.repository().create(&account(1, "0")).await.expect("a new row");
    let second = told::<Account>(&pair.kv).await;
    let of_tenant = pair.tenant("acme").await;
    let third = told::<Account>(&of_tenant.kv).await;
    third.repository().create(&account(1, "0")).await.expect("a new row");
    for accounts in [&first, &second, &third] {
        is_held(accounts, 1).await;
    }
    others.repository::<Account>().update(&1, renamed("1")).await.expect("a row");
    has_note(&first, 1, "1").await;
    has_note(&second, 1, "1").await;
    let of_acme = others.tenant("acme").expect("a name").repository::<Account>();
    of_acme.update(&1, renamed("1")).await.expect("a row");
    has_note(&third, 1, "1").await;
    drop((first, second));
    let again = told::<Account>(&pair.kv).await;
    is_held(&again, 1).await;
    others.repository::<Account>().update(&1, renamed("2")).await.expect("a row");
    has_note(&again, 1, "2").await;
    assert_eq!(note(&third, 1).await.as_deref(), Some("1"));
}

/// A pair on this server alone.
async fn pair_on(server: &RedisServer) -> Pair {
    let mut settings = Settings::new(server.url(), servers().create_database());
    settings.tenant = Some("private".to_owned());
    Pair::connect(settings).await
}

#[tokio::test]
async fn a_row_that_goes_from_redis_goes_from_here() {
    let server = RedisServer::start().expect("a private server");
    let pair = pair_on(&server).await;
    let redis = RedisView::of(&pair).await;
    let accounts = told::<Account>(&pair.kv).await;
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    pair.drain().await;
    let key = accounts.repository().key(&1).expect("an id");
    for command in [&["DEL", key.as_str()][..], &["PEXPIRE", &key, "1"], &["FLUSHALL"]] {
        is_held(&accounts, 1).await;
        let before = accounts.stats();
        let _: redis::Value = redis.ask(command).await;
        until("it is told", async || {
            let stats = accounts.stats();
            (stats.invalidations, stats.resets) > (before.invalidations, before.resets)
        })
        .await;
        pair.sql("UPDATE accounts SET note = note || '!'").await;
    }
    has_note(&accounts, 1, "a!!!").await;
}

/// Of a right that the user does not have.
#[tokio::test]
async fn without_being_told_rows_are_held_within_their_bound() {
    let server = RedisServer::start().expect("a private server");
    let pair = pair_on(&server).await;
    let redis = RedisView::of(&pair).await;
    let () = redis.ask(&["ACL", "SETUSER", "default", "-client|tracking"]).await;
    let accounts = cached::<Account>(&pair.kv);
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    is_held(&accounts, 1).await;
    assert!(!accounts.stats().is_told);
    let () = redis.ask(&["ACL", "SETUSER", "default", "+client|tracking"]).await;
    until("changes are told", async || accounts.stats().is_told).await;
    pair.other_process()
        .await
        .repository::<Account>()
        .update(&1, renamed("b"))
        .await
        .expect("a row");
    has_note(&accounts, 1, "b").await;
}

/// Its rows go to a master that has told of others so far.
#[tokio::test]
async fn a_slot_that_moves_is_told_of_where_it_is() {
    let cluster = RedisCluster::start().expect("a private cluster");
    let pair = Pair::on_cluster(&cluster).await;
    let accounts = told::<Account>(&pair.kv).await;
    hold_all(&accounts).await;
    let others = pair.other_process().await;
    let writer = others.repository::<Account>();
    let key = accounts.repository().key(&1).expect("an id");
    let slot: u16 = cluster.nodes()[0]
        .ask(&format!("CLUSTER KEYSLOT \"{key}\""))
        .expect("a slot")
        .trim_matches([':', '\r', '\n'])
        .parse()
        .expect("a number");
    let from = usize::from(slot) * 3 / 16_384;
    for (from, to) in [(from, (from + 1) % 3), ((from + 1) % 3, (from + 2) % 3)] {
        cluster.move_slot(slot, from, to).expect("the slot moves");
        is_held(&accounts, 1).await;
        let text = format!("on node {to}");
        writer.update(&1, renamed(&text)).await.expect("a row");
        has_note(&accounts, 1, &text).await;
    }
}

#[tokio::test]
async fn a_master_that_takes_over_is_told_of() {
    let mut cluster = RedisCluster::start().expect("a private cluster");
    let pair = Pair::on_cluster(&cluster).await;
    let accounts = told::<Account>(&pair.kv).await;
    hold_all(&accounts).await;
    let resets = accounts.stats().resets;
    cluster.nodes_mut()[0].kill().expect("it is there");
    cluster.await_agreement().expect("a replica takes over");
    until("all is forgotten", async || accounts.stats().resets > resets).await;
    until("changes are told", async || accounts.stats().is_told).await;
    for id in 0..ROWS {
        // Each connection finds out by itself who has which slots.
        until("it is read", async || accounts.repository().get_by_id(&id).await.is_ok()).await;
    }
    let others = pair.other_process().await;
    for id in 0..ROWS {
        let _ = others.repository::<Account>().upsert(&account(id, "0")).await.expect("written");
        is_held(&accounts, id).await;
        others.repository::<Account>().update(&id, renamed("1")).await.expect("a row");
        has_note(&accounts, id, "1").await;
    }
}
