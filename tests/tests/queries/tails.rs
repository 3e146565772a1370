//! Which rows are laid over: all that are dirty, whatever Redis has counted.

use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

fn account(id: i64, revision: i64) -> Account {
    Account { id, revision, note: None, active: true }
}

/// As after a failover to a replica that had more of one key than of the other.
#[tokio::test]
async fn entries_that_are_not_counted_are_laid_over() {
    let pair = Pair::servers().await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1, 1)).await.expect("a new row");
    pair.drain().await;
    for revision in 2..=4 {
        let patch = Account::patch().revision(revision);
        let _ = accounts.update(&1, patch).await.expect("a row");
    }
    let redis = RedisView::of(&pair).await;
    for key in redis.keys("hash").await.iter().filter(|key| key.contains(".state")) {
        let _: i64 = redis.ask(&["HINCRBY", key, "retained", "100"]).await;
    }
    let found = accounts.query().load().await.expect("rows");
    assert_eq!(found, [account(1, 4)]);
}
