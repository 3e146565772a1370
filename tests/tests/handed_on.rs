//! Unique values that go from row to row: PostgreSQL, which has the constraint, refuses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_runtime::{Error, Repository};
use kv_tests::contract;
use kv_tests::models::Member;
use kv_tests::outside::{RedisView, stream_beside};
use kv_tests::pair::{After, Pair};
use tokio::task::JoinSet;

contract!(
    under direct schemes:
    values_are_handed_on_within_a_unit,
);

mod queued {
    use super::*;

    contract!(
        two_rows_of_a_unit_cannot_have_one_value,
        values_that_are_handed_on_drain_in_one_batch,
        an_entry_waits_for_the_one_that_frees_its_value,
    );
}

mod racing {
    use super::*;

    contract!(in parallel: values_move_around);
}

async fn create(members: &Repository<Member>, row: &Member) {
    let _ = members.create(row).await.expect("a new row");
}

fn is_badge_taken(error: &Error) -> bool {
    matches!(error, Error::NotUnique { fields: "badge", .. })
}

/// Rows of a unit lie together: here by the one partition.
async fn one_partition(pair: Pair) -> Pair {
    pair.with(|settings| settings.partitions = 1).await
}

async fn values_are_handed_on_within_a_unit(pair: Pair) {
    let pair = one_partition(pair).await;
    let members = pair.kv.repository::<Member>();
    for (at, after) in After::ALL.into_iter().enumerate() {
        let (one, two, three) = (at as i64 * 10, at as i64 * 10 + 1, at as i64 * 10 + 2);
        let (a, b) = (format!("A{at}"), format!("B{at}"));
        create(&members, &Member::with_badge(one, &a)).await;
        create(&members, &Member::with_badge(two, &b)).await;
        pair.bring(&members, &[one, two], after).await;
        // They swap.
        let unit = pair.kv.transaction(async |unit| {
            let members = unit.repository::<Member>();
            members.update(&one, Member::patch().badge(Some(b.clone()))).await?;
            members.update(&two, Member::patch().badge(Some(a.clone()))).await
        });
        unit.await.expect("a swap");
        let found = members.find_by_badge(&a).await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(two), "{after:?}");
        pair.bring(&members, &[one, two], after).await;
        // One is deleted, and another one has its value.
        let unit = pair.kv.transaction(async |unit| {
            let members = unit.repository::<Member>();
            members.create(&Member::with_badge(three, &b)).await?;
            members.delete(&one).await
        });
        unit.await.expect("handed on");
        let found = members.find_by_badge(&b).await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(three), "{after:?}");
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("the rows").len(), 6);
}

async fn two_rows_of_a_unit_cannot_have_one_value(pair: Pair) {
    let pair = one_partition(pair).await;
    let unit = pair.kv.transaction(async |unit| {
        let members = unit.repository::<Member>();
        members.create(&Member::with_badge(1, "A")).await?;
        members.create(&Member::with_badge(2, "A")).await
    });
    let error = unit.await.expect_err("one of them has it");
    assert!(is_badge_taken(&error), "{error:?}");
    assert_eq!(pair.kv.repository::<Member>().find_by_id(&1).await.expect("an answer"), None);
}

/// In whatever partitions the rows are, and whoever is drained first.
async fn values_that_are_handed_on_drain_in_one_batch(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    for id in 0..8 {
        create(&members, &Member::with_badge(id, &format!("B{id}"))).await;
    }
    pair.drain().await;
    // Around a circle, by way of a spare value; then one by deletion.
    let badge = |text: &str| Member::patch().badge(Some(text.to_owned()));
    let _ = members.update(&0, badge("spare")).await.expect("a row");
    for id in 1..8 {
        let _ = members.update(&id, badge(&format!("B{}", id - 1))).await.expect("a row");
    }
    let _ = members.update(&0, badge("B7")).await.expect("a row");
    let _ = members.delete(&3).await.expect("a row");
    create(&members, &Member::with_badge(20, "B2")).await;
    let status = pair.drain().await;
    assert_eq!((status.dead_letters, status.undrained), (0, 0));
    let mut rows = pair.kv.durable_rows::<Member>().await.expect("the rows");
    rows.sort_by_key(|row| row.id);
    let badges: Vec<&str> = rows.iter().filter_map(|row| row.badge.as_deref()).collect();
    assert_eq!(badges, ["B7", "B0", "B1", "B3", "B4", "B5", "B6", "B2"]);
}

/// Each partition is drained by itself, in batches of a few entries, and the entry that takes a value
/// mostly stands further ahead in its partition than the one that gives it up does in its own.
async fn an_entry_waits_for_the_one_that_frees_its_value(pair: Pair) {
    const ROWS: i64 = 40;
    let pair = pair.with(|settings| settings.drain.batch_entries = 3).await;
    let members = pair.kv.repository::<Member>();
    let badge = |of: i64| Some(format!("B{of}"));
    for id in 0..ROWS {
        create(&members, &Member { badge: badge(id), ..Member::sample(id) }).await;
    }
    for id in (0..ROWS).step_by(2) {
        for team in ["red", "blue", "green"] {
            let patch = Member::patch().team(Some(team.to_owned()));
            let _ = members.update(&id, patch).await.expect("a row");
        }
        let _ = match id % 4 {
            0 => members.update(&id, Member::patch().badge(None)).await.expect("a row"),
            _ => members.delete(&id).await.expect("a row"),
        };
        // To a row that is there, and from that to a new one.
        let _ = members.update(&(id + 1), Member::patch().badge(badge(id))).await.expect("a row");
        create(&members, &Member { badge: badge(id + 1), ..Member::sample(100 + id) }).await;
    }
    let status = pair.drain().await;
    assert_eq!((status.dead_letters, status.undrained), (0, 0));
    let rows = pair.kv.durable_rows::<Member>().await.expect("the rows");
    let with_badge = rows.iter().filter(|row| row.badge.is_some());
    assert_eq!(with_badge.count() as i64, ROWS);
}

/// Rows take each other's values while a drainer is at work and rows are evicted: PostgreSQL, which
/// has the constraint, refuses nothing.
async fn values_move_around(pair: Pair) {
    const ROWS: i64 = 6;
    let members = pair.kv.repository::<Member>();
    for id in 0..ROWS {
        create(&members, &Member::sample(id)).await;
    }
    let drainer = pair.spawn_drainer();
    let mut tasks = JoinSet::new();
    for id in 0..ROWS {
        let members = members.clone();
        tasks.spawn(async move {
            let mut taken = 0;
            for _ in 0..150 {
                let badge = fastrand::bool().then(|| format!("B{}", fastrand::u8(..4)));
                match members.update(&id, Member::patch().badge(badge)).await {
                    Ok(_) => taken += 1,
                    Err(error) if is_badge_taken(&error) => {}
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                // It may be dirty.
                let _ = members.invalidate(&id).await;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..3))).await;
            }
            taken
        });
    }
    let taken: Vec<u32> = tasks.join_all().await;
    assert!(taken.iter().all(|taken| *taken > 20), "{taken:?}");
    drainer.flush().await.expect("it drains");
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.dead_letters, status.undrained), (0, 0));
    for id in 0..ROWS {
        let row = members.get_by_id(&id).await.expect("a row");
        let durable = pair.kv.durable_rows::<Member>().await.expect("the rows");
        assert!(durable.contains(&row), "{row:?}");
        if let Some(badge) = &row.badge {
            let found = members.find_by_badge(badge).await.expect("an answer");
            assert_eq!(found.as_ref(), Some(&row));
        }
    }
}

/// Settling lets a row's values expire with it; nothing is left for ever.
#[tokio::test]
async fn no_value_is_pinned_once_all_is_drained() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let members = pair.kv.repository::<Member>();
    for id in 0..20 {
        create(&members, &Member::with_badge(id, &format!("B{id}"))).await;
    }
    for id in 0..20 {
        let keys = redis.keys("string").await;
        let key = keys.iter().find(|key| key.contains(&format!("member.badge:B{id}{{")));
        let ttl = redis.ttl_ms(key.expect("the value's key")).await;
        assert_eq!(ttl, -1, "it is pinned while its row is dirty");
    }
    for id in 0..5 {
        let _ = members.delete(&id).await.expect("a row");
        let patch = Member::patch().badge(Some(format!("C{id}")));
        let _ = members.update(&(id + 5), patch).await.expect("a row");
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
    let mut keys = redis.keys("string").await;
    keys.retain(|key| key.contains("member."));
    assert!(keys.len() >= 30, "{keys:?}");
    for key in keys {
        assert!(redis.ttl_ms(&key).await > 0, "{key} is pinned");
    }
}

/// A value goes from row to row, each in another partition and all within a millisecond: which entry
/// was first, their ids do not say, and the numbers of their partitions say the opposite.
#[tokio::test]
async fn entries_of_one_millisecond_are_not_refused_for_each_other() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let members = pair.kv.repository::<Member>();
    let mut by_partition = BTreeMap::new();
    for id in 0..40 {
        let key = members.key(&id).expect("an id");
        by_partition.entry(stream_beside(&key, "member_queue")).or_insert(id);
    }
    for id in by_partition.values() {
        create(&members, &Member::with_badge(*id, &format!("B{id}"))).await;
    }
    pair.drain().await;
    let [seconds, _]: [u64; 2] = redis.ask(&["TIME"]).await;
    let entry = format!("{}-0", (seconds + 2) * 1_000);
    let mut badge = "spare".to_owned();
    for (stream, id) in by_partition.iter().rev() {
        let change = format!("patch member {id} 00000000000000{id:02} 0");
        let values = format!("{{\"badge\":\"{badge}\"}}");
        let words = ["XADD", stream, &entry, "change", &change, "values", &values];
        redis.ask::<String>(&words).await;
        badge = format!("B{id}");
    }
    let status = pair.drain().await;
    assert_eq!((status.dead_letters, status.undrained), (0, 0), "{status:?}");
    let rows = pair.kv.durable_rows::<Member>().await.expect("the rows");
    let moved = rows.iter().filter(|row| row.badge != Some(format!("B{}", row.id))).count();
    assert_eq!(moved, by_partition.len());
}
