//! A row whose change PostgreSQL has refused is another one when that is discarded.

use kv_runtime::DeadLetterFilter;
use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::pair::{After, Pair};

use super::common::{account, cached, has_note, is_held};

contract!(a_discarded_row_is_as_postgresql_has_it);

async fn a_discarded_row_is_as_postgresql_has_it(pair: Pair) {
    let accounts = cached::<Account>(&pair.kv);
    accounts.repository().create(&account(1, "first")).await.expect("a new row");
    pair.bring(accounts.repository(), &[1], After::Eviction).await;
    let second = account(1, "second");
    accounts.repository().create(&second).await.expect("Redis does not know of the first");
    assert_eq!(pair.drain().await.dead_letters, 1);
    has_note(&accounts, 1, "second").await;
    is_held(&accounts, 1).await;
    let discarded = pair.kv.dead_letters().discard(&DeadLetterFilter::new()).await;
    assert_eq!(discarded.expect("one is there"), 1);
    has_note(&accounts, 1, "first").await;
}
