//! A switch whose process is killed, or sleeps, at each of its steps.

use std::time::Duration;

use kv_runtime::{Drainer, StorageScheme};
use kv_tests::drain_process::DrainCommand;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::writers::Writers;

use super::switches::account;

const PROGRAM: &str = env!("CARGO_BIN_EXE_drain_process");

/// The steps of the way to Redis alone, from a queue and from past it; and how often each is passed
/// before.
const THERE: [(&str, usize); 7] = [
    ("after_close", 1),
    ("after_drop_rows", 1),
    ("after_load_batch", 1),
    ("after_load", 1),
    ("after_set_scheme", 1),
    ("after_set_scheme", 2),
    ("after_open", 3),
];
/// The steps of the way back.
const BACK: [(&str, usize); 5] = [
    ("after_close", 1),
    ("after_move_out", 1),
    ("after_set_scheme", 1),
    ("after_drop_rows", 1),
    ("after_open", 3),
];
const OTHERS: [StorageScheme; 4] = [
    StorageScheme::WriteBehind,
    StorageScheme::PostgresOnly,
    StorageScheme::CacheAside,
    StorageScheme::WriteThrough,
];

async fn busy_pair() -> (Pair, Drainer) {
    let pair = Pair::servers().await;
    // A transaction that writes many rows may rest longer than a drainer's.
    let pair = pair.with(|settings| settings.drain.lease = Duration::from_secs(10)).await;
    let drainer = pair.spawn_drainer();
    (pair, drainer)
}

async fn switch(pair: &Pair, to: StorageScheme) {
    pair.kv.switch_scheme::<Account>(to).await.expect("a drainer is at work");
}

async fn is_killed(pair: &Pair, to: StorageScheme, (point, times): (&str, usize)) {
    let command = DrainCommand::new(PROGRAM, pair).switches_to(to);
    command.dies_at(point, times).spawn().dies_by_itself().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_is_killed_loses_nothing_and_is_finished() {
    let (pair, drainer) = busy_pair().await;
    let mut random = fastrand::Rng::new();
    let writers = Writers::start(&pair, &mut random).await;
    for (place, step) in THERE.into_iter().enumerate() {
        let from = match step {
            // One who was past the queue sets the scheme twice.
            ("after_set_scheme", 2) => StorageScheme::PostgresOnly,
            _ => OTHERS[place % OTHERS.len()],
        };
        switch(&pair, from).await;
        is_killed(&pair, StorageScheme::RedisOnly, step).await;
        // Every second time it is given up.
        if place % 2 == 1 {
            switch(&pair, from).await;
        }
        switch(&pair, StorageScheme::RedisOnly).await;
        writers.go_on(20).await;
        let to = OTHERS[place % OTHERS.len()];
        is_killed(&pair, to, BACK[place % BACK.len()]).await;
        // Once each is finished as it is; what comes again is given up.
        if place >= BACK.len() {
            switch(&pair, StorageScheme::RedisOnly).await;
        }
        switch(&pair, to).await;
        writers.go_on(20).await;
    }
    switch(&pair, StorageScheme::WriteBehind).await;
    let ledger = writers.stop().await;
    let accounts = pair.kv.repository::<Account>();
    for (id, expected) in &ledger.rows {
        assert_eq!(&accounts.find_by_id(id).await.expect("an answer"), expected, "account {id}");
    }
    drainer.shutdown().await.expect("everything is drained");
    ledger.check_rows(&pair).await;
    let view = RedisView::of(&pair).await;
    for key in view.row_keys().await {
        assert!(view.ttl_ms(&key).await > 0, "{key} is left without a time to live");
    }
}

/// What a switch has begun and another has finished, it does not spoil when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_has_slept_puts_no_old_row_into_redis() {
    let (pair, drainer) = busy_pair().await;
    let accounts = pair.kv.repository::<Account>();
    let rows: Vec<Account> = (0..1_200).map(account).collect();
    for created in accounts.create_many(&rows).await {
        let _ = created.expect("a new row");
    }
    let sleeper = DrainCommand::new(PROGRAM, &pair).named("sleeper");
    let sleeper = sleeper.switches_to(StorageScheme::RedisOnly);
    let mut sleeper = sleeper.pauses_at("after_load_batch", 1).spawn();
    sleeper.reaches_its_point().await;
    let sql = "SELECT pg_terminate_backend(pid)::text AS value FROM pg_stat_activity \
               WHERE application_name = 'sleeper'";
    assert!(!pair.texts(sql).await.is_empty(), "it was there");
    switch(&pair, StorageScheme::RedisOnly).await;
    for id in 0..1_200 {
        let patch = Account::patch().active(false);
        let _ = accounts.update(&id, patch).await.expect("a row");
    }
    sleeper.signal("CONT").await;
    sleeper.fails().await;
    assert_eq!(
        pair.kv.scheme::<Account>().await.expect("PostgreSQL is up"),
        StorageScheme::RedisOnly
    );
    for id in 0..1_200 {
        let row = accounts.get_by_id(&id).await.expect("the row");
        assert!(!row.active, "account {id} is as it was before");
    }
    let _ = accounts.create(&account(2_000)).await.expect("the queue is open");
    drainer.shutdown().await.expect("everything is drained");
}
