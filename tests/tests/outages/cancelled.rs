//! A call that is cancelled leaves its connection as it should be: nobody gets its answer, and what
//! it has sent is done once or not at all.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use kv_runtime::testing::Proxy;
use kv_runtime::{Error, Repository, Settings};
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::waiting::until;
use tokio::task::JoinSet;

use super::course::account;

/// Rows that are read by everyone, and changed by those who are cancelled.
const ROWS: i64 = 100;
const CANCELLERS: i64 = 6;
const CANCELLED: i64 = 400;
const CHECKERS: i64 = 4;
const CHECKED: i64 = 200;

/// Far longer than a write takes, and less than a test may.
const LONG: Duration = Duration::from_secs(10);

/// Callers that have sent a write, and then do something else for long.
#[tokio::test]
async fn callers_that_do_not_go_on_hold_up_nobody() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.redis.connections = 1).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(0)).await.expect("a new row");
    let rows = [account(1), account(2), account(3)];
    let mut resting = rows.each_ref().map(|row| Box::pin(accounts.create(row)));
    for write in &mut resting {
        assert!(futures_util::poll!(write).is_pending());
    }
    for id in 4..10 {
        let created = tokio::time::timeout(LONG, accounts.create(&account(id))).await;
        let _ = created.expect("nobody is waited for").expect("a new row");
    }
    for write in resting {
        let _ = write.await.expect("it was sent");
    }
}

/// A Redis that neither answers nor ends the connection.
#[tokio::test]
async fn who_waits_behind_a_redis_that_hangs_is_told_in_time() {
    let pair = Pair::servers().await;
    let proxy = Proxy::to(pair.settings.redis.url.expose()).await.expect("a proxy");
    let change = |settings: &mut Settings| {
        settings.redis.url = proxy.url().into();
        settings.redis.connections = 1;
        settings.redis.command_timeout = Duration::from_millis(500);
    };
    let pair = pair.with(change).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(0)).await.expect("a new row");
    proxy.stall();
    let rows: Vec<Account> = (1..3_000).map(account).collect();
    let created = join_all(rows.iter().map(|row| accounts.create(row)));
    let created = tokio::time::timeout(LONG, created).await.expect("all of them are told");
    let is_unsent = |it: &Result<_, Error>| matches!(it, Err(Error::Unavailable { .. }));
    assert!(created.iter().all(Result::is_err));
    assert!(created.iter().filter(|it| is_unsent(it)).count() > 1_000);
    proxy.resume();
    // It first has to get through what was sent meanwhile.
    until("Redis answers", async || accounts.exists(&0).await.is_ok()).await;
    // What was not sent is not there.
    for (row, created) in rows.iter().zip(&created).filter(|(_, created)| is_unsent(created)) {
        assert!(!accounts.exists(&row.id).await.expect("Redis is up"), "{created:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_hands_its_answer_to_nobody() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.redis.connections = 1).await;
    let accounts = pair.kv.repository::<Account>();
    let rows: Vec<Account> = (0..ROWS).map(account).collect();
    assert!(accounts.create_many(&rows).await.iter().all(Result::is_ok));
    let drainer = pair.spawn_drainer();
    let mut tasks = JoinSet::new();
    for number in 1..=CANCELLERS {
        tasks.spawn(cancel(accounts.clone(), number * 10_000));
    }
    for number in 1..=CHECKERS {
        tasks.spawn(check(accounts.clone(), -number * 10_000));
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("every answer is one's own");
    }
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));

    // Both sides have the same rows, and each of them once.
    let durable = pair.kv.durable_rows::<Account>().await.expect("the rows");
    let mut durable: BTreeMap<i64, Account> =
        durable.into_iter().map(|row| (row.id, row)).collect();
    for key in RedisView::of(&pair).await.row_keys().await {
        let id = accounts.parse_key(&key).expect("the key of an account");
        assert_eq!(accounts.find_by_id(&id).await.expect("an answer"), durable.remove(&id), "{id}");
    }
    assert!(durable.is_empty(), "only in PostgreSQL: {durable:?}");
}

/// Makes calls, and drops most of them on their way.
async fn cancel(accounts: Repository<Account>, first: i64) {
    for id in first..first + CANCELLED {
        let patience = fastrand::u32(0..6);
        let shared = fastrand::i64(0..ROWS);
        match fastrand::u8(0..5) {
            0 => drop_after(patience, accounts.get_by_id(&shared)).await,
            1 => drop_after(patience, accounts.find_by_id(&(-shared - 1))).await,
            2 => drop_after(patience, accounts.get_many(&[shared, -1, (shared + 1) % ROWS])).await,
            3 => {
                drop_after(patience, accounts.update(&shared, Account::patch().revision(id))).await
            }
            _ => drop_after(patience, accounts.create(&account(id))).await,
        }
    }
}

/// Polls a call a few times and drops it, wherever it is.
async fn drop_after<T>(patience: u32, call: impl Future<Output = T>) {
    let mut call = pin!(call);
    for _ in 0..=patience {
        tokio::select! {
            biased;
            _ = &mut call => return,
            () = tokio::task::yield_now() => {}
        }
    }
}

/// Makes calls of every kind whose answers can be of no other call.
async fn check(accounts: Repository<Account>, own: i64) {
    let _ = accounts.create(&account(own)).await.expect("a new row");
    let mut version = 0;
    for revision in 2..2 + CHECKED {
        let shared = fastrand::i64(0..ROWS);
        let row = accounts.get_by_id(&shared).await.expect("a row");
        assert_eq!((row.id, row.note), (shared, Some(shared.to_string())));
        let several = accounts.get_many(&[shared, own, own + 1]).await.expect("an answer");
        let ids: Vec<Option<i64>> =
            several.iter().map(|row| row.as_ref().map(|row| row.id)).collect();
        assert_eq!(ids, [Some(shared), Some(own), None]);

        let receipt = accounts.update(&own, Account::patch().revision(revision)).await;
        let receipt = receipt.expect("a row");
        assert!(receipt.version > version, "{receipt:?}");
        version = receipt.version;
        assert_eq!(accounts.get_by_id(&own).await.expect("a row").revision, revision);
        let error = accounts.create(&account(shared)).await.expect_err("it is there");
        assert!(
            matches!(&error, Error::Duplicate { id, .. } if *id == shared.to_string()),
            "{error}"
        );
        let fresh = account(own + revision);
        let _ = accounts.create(&fresh).await.expect("a new row");
        let _ = accounts.delete(&fresh.id).await.expect("a row");
        assert_eq!(accounts.find_by_id(&fresh.id).await.expect("an answer"), None);
    }
}
