//! The bounds of a cache: how old its rows are, and what they take.

use std::time::{Duration, Instant};

use kv_runtime::{CacheSettings, Kv, StorageScheme};
use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::pair::Pair;

use super::common::{ROOM, account, is_held, note, renamed};

contract!(rows_take_no_more_than_they_may);

async fn rows_take_no_more_than_they_may(pair: Pair) {
    const BYTES_MAX: u64 = 64 << 10;
    let settings = CacheSettings::new(Duration::from_secs(3_600), BYTES_MAX);
    let accounts = pair.kv.cached::<Account>(settings).expect("valid settings");
    let text = "x".repeat(2_000);
    for id in 0..200 {
        accounts.repository().create(&account(id, &text)).await.expect("a new row");
        assert_eq!(note(&accounts, id).await.as_ref(), Some(&text));
    }
    for id in 0..200 {
        assert_eq!(note(&accounts, id).await.as_ref(), Some(&text), "whether it is held or not");
    }
    let stats = accounts.stats();
    assert!(stats.bytes <= BYTES_MAX, "{stats:?}");
    // The rows' own texts are in what they are taken to have.
    assert!(stats.entries > 0 && stats.bytes / stats.entries >= 2_000, "{stats:?}");
    assert!(stats.entries <= 32, "{stats:?}");
}

/// One row that is larger than all may be is read, and not held.
#[tokio::test]
async fn a_row_that_is_too_large_is_not_held() {
    let accounts =
        Kv::memory().cached::<Account>(CacheSettings::new(Duration::from_secs(60), 4_096));
    let accounts = accounts.expect("valid settings");
    accounts.repository().create(&account(1, &"x".repeat(5_000))).await.expect("a new row");
    for _ in 0..3 {
        assert!(note(&accounts, 1).await.is_some());
        assert_eq!(accounts.stats().entries, 0);
    }
}

/// Where rows are in PostgreSQL alone, nobody tells of what others write: the bound alone holds.
#[tokio::test]
async fn what_nobody_tells_of_is_seen_after_the_bound() {
    const STALE_FOR: Duration = Duration::from_millis(300);
    let pair = Pair::servers().await.under(StorageScheme::PostgresOnly).await;
    let accounts =
        pair.kv.cached::<Account>(CacheSettings::new(STALE_FOR, ROOM)).expect("settings");
    accounts.repository().create(&account(1, "0")).await.expect("a new row");
    let others = pair.other_process().await;
    let writer = others.repository::<Account>();
    let mut was_stale = false;
    for round in 1..=5 {
        let text = round.to_string();
        is_held(&accounts, 1).await;
        writer.update(&1, renamed(&text)).await.expect("a row");
        let written = Instant::now();
        loop {
            let asked = Instant::now();
            if note(&accounts, 1).await.as_ref() == Some(&text) {
                break;
            }
            was_stale = true;
            assert!(asked - written <= STALE_FOR, "{:?}", asked - written);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(was_stale, "the rows were held");
}

#[test]
fn bounds_that_allow_nothing_are_refused() {
    for (stale_for, bytes_max, setting) in
        [(Duration::ZERO, ROOM, "cache.stale_for"), (Duration::from_secs(1), 0, "cache.bytes_max")]
    {
        let refused = Kv::memory().cached::<Account>(CacheSettings::new(stale_for, bytes_max));
        let error = refused.expect_err("it allows nothing");
        assert_eq!(error.setting, setting);
        assert!(error.to_string().contains("must be"), "{error}");
    }
    let longest = CacheSettings::new(Duration::MAX, u64::MAX);
    assert!(Kv::memory().cached::<Account>(longest).is_ok());
}
