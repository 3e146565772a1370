//! A write whose answer was lost is not done twice by its retry, which gets the first answer.

use std::time::Duration;

use kv_runtime::testing::Proxy;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

/// The retry is sent soon and arrives late: meanwhile the write of the first try is drained and
/// settled, so that only the queue remembers it.
#[tokio::test]
async fn a_retry_that_arrives_late_gets_the_first_answer() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let proxy = Proxy::to(pair.settings.redis.url.expose()).await.expect("a proxy");
    let mut proxied = pair.settings.clone();
    proxied.redis.url = proxy.url().into();
    let proxied = kv_runtime::Kv::connect(proxied).await.expect("the servers are up");
    let accounts = proxied.repository::<Account>();
    let account = Account { id: 1, revision: 1, note: None, active: true };
    let _ = accounts.create(&account).await.expect("a new row");

    proxy.stall_answers();
    let deleted = tokio::spawn(async move { accounts.delete(&1).await });
    while redis.entries().await < 2 {
        tokio::task::yield_now().await;
    }
    pair.drain().await;
    proxy.stall();
    proxy.cut();
    // As long as the network takes: this is what the test is about.
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.resume();
    let receipt = deleted.await.expect("it ends").expect("it is done, and told so");
    assert_eq!(redis.entries().await, 2, "it was done once");
    assert!(receipt.version > 0);
}
