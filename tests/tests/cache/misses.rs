//! A row that is not held is read once for all who ask for it, and its errors are told to each.

use futures_util::future::join_all;
use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{Error, Failure, Memory, Settings, Verb};
use kv_tests::contract;
use kv_tests::models::{Account, Counter};
use kv_tests::outside::RedisView;
use kv_tests::pair::{After, Pair};

use super::common::{account, cached, told};

contract!(in parallel: a_thousand_misses_are_one_load, rows_are_read_in_the_order_of_their_ids);

/// How many ask at once.
const CALLERS: usize = 1_000;

/// Of a row that is brought into Redis by it, which is told as a change of the row.
async fn a_thousand_misses_are_one_load(pair: Pair) {
    let rows = pair.kv.repository::<Counter>();
    let counter = Counter { id: 1, total: 7, r#type: "rides".to_owned() };
    let _ = rows.create(&counter).await.expect("a new row");
    pair.bring(&rows, &[1], After::Eviction).await;
    // Only now, and once it is told of changes: what is told during a load has it made anew.
    let counters = match pair.has_servers() {
        true => told::<Counter>(&pair.kv).await,
        false => cached::<Counter>(&pair.kv),
    };
    let before = counters.stats();
    // On one task, so that nobody asks when the row has come.
    let rows = join_all((0..CALLERS).map(|_| counters.get_by_id(&1))).await;
    assert!(rows.iter().all(|row| row.as_ref().is_ok_and(|row| **row == counter)));
    let stats = counters.stats();
    assert_eq!(stats.loads, before.loads + 1);
    assert_eq!(stats.misses + stats.hits, before.misses + before.hits + CALLERS as u64);
}

async fn rows_are_read_in_the_order_of_their_ids(pair: Pair) {
    let accounts = cached::<Account>(&pair.kv);
    for id in [1, 2, 4] {
        let new = account(id, &id.to_string());
        accounts.repository().create(&new).await.expect("a new row");
    }
    accounts.get_by_id(&2).await.expect("a row");
    let rows = accounts.get_many(&[4, 3, 2, 1, 4]).await.expect("rows");
    let ids: Vec<Option<i64>> = rows.iter().map(|row| row.as_ref().map(|row| row.id)).collect();
    assert_eq!(ids, [Some(4), None, Some(2), Some(1), Some(4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_asked_once_by_a_thousand() {
    let server = RedisServer::start().expect("a private server");
    let mut settings = Settings::new(server.url(), servers().create_database());
    settings.tenant = Some("private".to_owned());
    let pair = Pair::connect(settings).await;
    let redis = RedisView::of(&pair).await;
    let accounts = told::<Account>(&pair.kv).await;
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    let () = redis.ask(&["CONFIG", "RESETSTAT"]).await;
    let callers = (0..CALLERS).map(|_| {
        let accounts = accounts.clone();
        tokio::spawn(async move { accounts.get_by_id(&1).await.expect("a row") })
    });
    for row in join_all(callers).await {
        assert_eq!(*row.expect("no panic"), account(1, "a"));
    }
    let commands: String = redis.ask(&["INFO", "commandstats"]).await;
    let reads = commands.lines().find(|line| line.starts_with("cmdstat_hmget:"));
    let reads = reads.expect("it was read");
    assert!(reads.starts_with("cmdstat_hmget:calls=1,"), "{reads}");
}

#[tokio::test]
async fn an_error_is_told_to_all_who_wait_and_forgotten() {
    let memory = Memory::new();
    let accounts = cached::<Account>(&memory.kv());
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    for failure in [Failure::Unavailable, Failure::Timeout] {
        let before = (accounts.stats(), memory.calls::<Account>(Verb::Read));
        memory.fail_next::<Account>(Verb::Read, failure);
        let answers = join_all((0..10).map(|_| accounts.get_by_id(&1))).await;
        for answer in answers {
            let error = answer.expect_err("it was told to fail");
            let is_it = match failure {
                Failure::Timeout => matches!(error, Error::Timeout { .. }),
                _ => matches!(error, Error::Unavailable { .. }),
            };
            assert!(is_it && error.is_transient(), "{error:?}");
            assert_eq!(error.to_string().split(':').next(), Some("Account.get_by_id"));
        }
        let stats = accounts.stats();
        assert_eq!(stats.load_failures, before.0.load_failures + 1);
        assert_eq!(memory.calls::<Account>(Verb::Read), before.1 + 1);
        assert_eq!(*accounts.get_by_id(&1).await.expect("a row"), account(1, "a"));
        accounts.repository().invalidate(&1).await.expect_err("it is dirty");
    }
}

/// The caller who came first goes away.
#[tokio::test]
async fn who_waits_does_not_lose_the_read_with_another() {
    let memory = Memory::new();
    let accounts = cached::<Account>(&memory.kv());
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    let mut first = Box::pin(accounts.get_by_id(&1));
    let second = accounts.get_by_id(&1);
    assert!(futures_util::poll!(&mut first).is_pending(), "it is read by a task");
    let mut second = Box::pin(second);
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(*second.await.expect("a row"), account(1, "a"));
    assert_eq!(accounts.stats().loads, 1);
}
