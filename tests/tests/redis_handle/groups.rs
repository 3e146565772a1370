//! Consumer groups.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_runtime::EntryId;
use kv_runtime::redis::{EntryPosition, Error, Redis};
use kv_tests::waiting::until;

use super::common::{handle, soon};
use super::streams::{append, numbers};

const UNDELIVERED: [(&str, EntryPosition); 1] = [("events", EntryPosition::Undelivered)];

/// A stream with entries, and a group from its beginning on.
async fn group_of(entries: u32) -> Redis {
    let redis = handle().await;
    append(&redis, "events", 0..entries).await;
    let is_new = redis.group_create("events", "workers", EntryPosition::START).await;
    assert!(is_new.expect("created"));
    redis
}

async fn read(redis: &Redis, consumer: &str, count: usize) -> Vec<(EntryId, u32)> {
    let entries = redis.group_read("workers", consumer, &UNDELIVERED, Some(count)).await;
    let entries = entries.expect("read").remove("events").unwrap_or_default();
    entries.iter().map(|entry| entry.id).zip(numbers(&entries)).collect()
}

#[tokio::test]
async fn a_group_is_created_once_and_destroyed() {
    let redis = handle().await;
    let create = async |from| redis.group_create("new", "workers", from).await;
    assert!(create(EntryPosition::AfterLast).await.expect("created, and the stream too"));
    assert!(!create(EntryPosition::START).await.expect("it is there"));
    assert_eq!(redis.xlen("new").await.expect("an answer"), 0);
    assert!(redis.group_destroy("new", "workers").await.expect("destroyed"));
    assert!(!redis.group_destroy("new", "workers").await.expect("it is gone"));
    let streams = [("new", EntryPosition::Undelivered)];
    let error = redis.group_read("workers", "a", &streams, None).await.expect_err("no group");
    assert!(matches!(error, Error::Group { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_undelivered_goes_to_one_consumer_alone() {
    let redis = group_of(1_000).await;
    let work = async |consumer| {
        let mut taken = BTreeSet::new();
        loop {
            let entries = read(&redis, consumer, 7).await;
            if entries.is_empty() {
                return taken;
            }
            taken.extend(entries.into_iter().map(|(_, number)| number));
        }
    };
    let (one, two) = tokio::join!(work("one"), work("two"));
    assert!(one.is_disjoint(&two) && !one.is_empty() && !two.is_empty());
    assert_eq!(one.union(&two).copied().collect::<Vec<_>>(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_acknowledged_is_pending_no_more() {
    let redis = group_of(5).await;
    let entries = read(&redis, "a", 3).await;
    read(&redis, "b", 1).await;
    let pending = redis.group_pending("events", "workers").await.expect("an answer");
    assert_eq!(pending.count, 4);
    assert_eq!(pending.consumers, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    let oldest = redis.group_pending_entries("events", "workers", 2).await.expect("an answer");
    assert_eq!(
        oldest.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        [entries[0].0, entries[1].0]
    );
    assert_eq!((oldest[0].consumer.as_str(), oldest[0].deliveries), ("a", 1));

    let ids: Vec<EntryId> = entries.iter().map(|(id, _)| *id).collect();
    assert_eq!(redis.group_ack("events", "workers", &ids[..2]).await.expect("acknowledged"), 2);
    // What a consumer has not acknowledged, it reads again.
    let own = [("events", EntryPosition::START)];
    let again = redis.group_read("workers", "a", &own, None).await.expect("read");
    assert_eq!(numbers(&again["events"]), [2]);
    assert_eq!(redis.group_ack("events", "workers", &ids).await.expect("acknowledged"), 1);
    let rest = redis.group_pending_entries("events", "workers", 9).await.expect("an answer");
    let ids: Vec<EntryId> = rest.iter().map(|entry| entry.id).collect();
    redis.group_ack("events", "workers", &ids).await.expect("acknowledged");
    let pending = redis.group_pending("events", "workers").await.expect("an answer");
    assert_eq!((pending.count, pending.consumers.len()), (0, 0));
}

#[tokio::test]
async fn a_dead_consumers_entries_are_claimed_when_they_are_idle_for_long() {
    let redis = group_of(5).await;
    read(&redis, "dead", 5).await;
    let claim = async |idle, start, count| {
        let claimed = redis.group_claim("events", "workers", "heir", idle, start, count).await;
        claimed.expect("an answer")
    };
    let hour = Duration::from_secs(3_600);
    let none = claim(hour, EntryId::ZERO, 9).await;
    assert!(none.entries.is_empty(), "they are not idle for that long");
    let idle = Duration::from_millis(30);
    until("all are idle for long enough", async || {
        let pending = redis.group_pending_entries("events", "workers", 9).await;
        pending.expect("an answer").iter().all(|entry| entry.idle >= idle)
    })
    .await;
    let first = claim(idle, EntryId::ZERO, 2).await;
    assert_eq!(numbers(&first.entries), [0, 1]);
    let rest = claim(idle, first.next, 9).await;
    assert_eq!(numbers(&rest.entries), [2, 3, 4]);
    assert_eq!(rest.next, EntryId::ZERO, "all were looked at");
    let ids: Vec<EntryId> =
        first.entries.iter().chain(&rest.entries).map(|entry| entry.id).collect();
    redis.group_ack("events", "workers", &ids).await.expect("acknowledged");
    let pending = redis.group_pending("events", "workers").await.expect("an answer");
    assert_eq!(pending.count, 0);
}

#[tokio::test]
async fn a_group_goes_on_where_it_is_told_to() {
    let redis = group_of(5).await;
    let entries = read(&redis, "a", 5).await;
    let position = EntryPosition::At(entries[2].0);
    redis.group_set_id("events", "workers", position).await.expect("set");
    let again: Vec<u32> =
        read(&redis, "b", 9).await.into_iter().map(|(_, number)| number).collect();
    assert_eq!(again, [3, 4]);
}

#[tokio::test]
async fn a_consumer_waits_for_entries() {
    let redis = group_of(0).await;
    let wait = Duration::from_millis(20);
    let none = redis.group_read_blocking("workers", "a", &UNDELIVERED, None, wait).await;
    assert!(none.expect("no error").is_empty());
    let long = Duration::from_secs(60);
    let waiting = redis.group_read_blocking("workers", "a", &UNDELIVERED, None, long);
    let (entries, ()) =
        soon("it comes", async { tokio::join!(waiting, append(&redis, "events", 0..1)) }).await;
    assert_eq!(numbers(&entries.expect("read")["events"]), [0]);
}
