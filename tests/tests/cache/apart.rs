//! The rows of different tenants do not meet.

use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::pair::Pair;

use super::common::{account, cached, is_held, note, renamed};

contract!(rows_of_tenants_stay_apart);

async fn rows_of_tenants_stay_apart(pair: Pair) {
    let tenants = [pair.tenant("acme").await, pair.tenant("globex").await];
    let caches = tenants.each_ref().map(|tenant| cached::<Account>(&tenant.kv));
    for (accounts, text) in caches.iter().zip(["of acme", "of globex"]) {
        assert_eq!(note(accounts, 1).await, None, "the row of another one");
        accounts.repository().create(&account(1, text)).await.expect("a new row");
        is_held(accounts, 1).await;
    }
    let [acme, globex] = &caches;
    let before = globex.stats();
    acme.repository().update(&1, renamed("changed")).await.expect("a row");
    assert_eq!(note(acme, 1).await.as_deref(), Some("changed"));
    assert_eq!(note(globex, 1).await.as_deref(), Some("of globex"));
    let after = globex.stats();
    assert_eq!((after.hits, after.invalidations), (before.hits + 1, before.invalidations));
}
