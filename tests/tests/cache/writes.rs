//! What this process writes itself, by whatever handle, a read that begins later sees.

use std::sync::Arc;

use kv_tests::contract;
use kv_tests::models::{Account, Member};
use kv_tests::pair::Pair;

use super::common::{account, cached, is_held, note, renamed};

contract!(
    under each scheme:
    a_row_is_answered_without_redis,
    own_writes_are_seen,
    own_units_of_work_are_seen,
    an_absent_row_is_not_held,
);

async fn a_row_is_answered_without_redis(pair: Pair) {
    let accounts = cached::<Account>(&pair.kv);
    accounts.repository().create(&account(1, "a")).await.expect("a new row");
    is_held(&accounts, 1).await;
    let before = accounts.stats();
    let first = accounts.get_by_id(&1).await.expect("a row");
    assert_eq!(*first, accounts.repository().get_by_id(&1).await.expect("a row"));
    let second = accounts.clone().get_by_id(&1).await.expect("a row");
    let many = accounts.get_many(&[1, 1]).await.expect("rows");
    let stats = accounts.stats();
    if stats.resets == before.resets && stats.invalidations == before.invalidations {
        assert!(Arc::ptr_eq(&first, &second), "it was not decoded again");
        assert!(many.iter().flatten().all(|row| Arc::ptr_eq(row, &first)));
        assert_eq!((stats.hits, stats.loads), (before.hits + 4, before.loads));
        assert_eq!(stats.entries, 1);
    }
}

async fn own_writes_are_seen(pair: Pair) {
    let accounts = cached::<Account>(&pair.kv);
    let writer = pair.kv.repository::<Account>();
    for round in 0..20 {
        assert_eq!(note(&accounts, 1).await, None);
        writer.create(&account(1, "new")).await.expect("a new row");
        assert_eq!(note(&accounts, 1).await.as_deref(), Some("new"));
        let text = format!("changed {round}");
        writer.update(&1, renamed(&text)).await.expect("a row");
        assert_eq!(note(&accounts, 1).await, Some(text));
        let answers = writer.update_many(&[(1, renamed("one of many"))]).await;
        assert!(answers[0].is_ok(), "{answers:?}");
        assert_eq!(note(&accounts, 1).await.as_deref(), Some("one of many"));
        writer.upsert(&account(1, "replaced")).await.expect("written");
        assert_eq!(note(&accounts, 1).await.as_deref(), Some("replaced"));
        writer.delete(&1).await.expect("a row");
    }
    assert_eq!(note(&accounts, 1).await, None);
}

async fn own_units_of_work_are_seen(pair: Pair) {
    let (accounts, members) = (cached::<Account>(&pair.kv), cached::<Member>(&pair.kv));
    // A write about unique values is a unit of work, too.
    members.repository().create(&Member::with_badge(1, "A")).await.expect("a new row");
    accounts.repository().create(&account(1, "0")).await.expect("a new row");
    for round in 1..20 {
        let (text, badge) = (round.to_string(), Some(format!("B{round}")));
        let made = pair.kv.transaction(async |unit| {
            unit.repository::<Account>().update(&1, renamed(&text)).await
        });
        made.await.expect("a row");
        assert_eq!(note(&accounts, 1).await, Some(text));
        let patch = Member::patch().badge(badge.clone());
        members.repository().update(&1, patch).await.expect("a row");
        assert_eq!(members.get_by_id(&1).await.expect("a row").badge, badge);
    }
}

async fn an_absent_row_is_not_held(pair: Pair) {
    let accounts = cached::<Account>(&pair.kv);
    for _ in 0..3 {
        assert_eq!(accounts.find_by_id(&1).await.expect("an answer"), None);
        let missing = accounts.get_by_id(&1).await.expect_err("no row");
        assert!(missing.is_not_found(), "{missing}");
    }
    let stats = accounts.stats();
    assert_eq!((stats.hits, stats.loads, stats.entries), (0, 6, 0));
}
