//! Streams.

use std::time::{Duration, Instant};

use kv_runtime::EntryId;
use kv_runtime::redis::{EntryPosition, Error, Redis, StreamEntry};
use serde::{Deserialize, Serialize};

use super::common::{handle, handle_with, settings, soon};

/// Appends entries with the numbers in their field `number`.
pub(crate) async fn append(redis: &Redis, stream: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let fields = [("number", number)];
        redis.xadd(stream, EntryPosition::Auto, &fields).await.expect("appended");
    }
}

pub(crate) fn numbers(entries: &[StreamEntry]) -> Vec<u32> {
    entries.iter().map(|entry| entry.get("number").expect("a number")).collect()
}

async fn all(redis: &Redis, stream: &str) -> Vec<u32> {
    let entries = redis.xread(&[(stream, EntryPosition::START)], None).await.expect("read");
    entries.get(stream).map_or(Vec::new(), |entries| numbers(entries))
}

#[tokio::test]
async fn entries_are_appended_read_deleted_and_trimmed() {
    let redis = handle().await;
    append(&redis, "events", 0..10).await;
    assert_eq!(redis.xlen("events").await.expect("an answer"), 10);
    assert_eq!(all(&redis, "events").await, (0..10).collect::<Vec<_>>());
    assert_eq!(redis.xtrim("events", 5).await.expect("trimmed"), 5);
    assert_eq!(redis.xlen("events").await.expect("an answer"), 5);

    let entries = redis.xread(&[("events", EntryPosition::START)], None).await.expect("read");
    let ids: Vec<EntryId> = entries["events"].iter().map(|entry| entry.id).collect();
    assert_eq!(redis.xdel("events", &ids[..1]).await.expect("deleted"), 1);
    assert_eq!(redis.xdel("events", &ids[..1]).await.expect("it is gone"), 0);
    assert_eq!(all(&redis, "events").await, [6, 7, 8, 9]);
    assert_eq!(redis.xtrim_before("events", ids[3]).await.expect("trimmed"), 2);
    assert_eq!(all(&redis, "events").await, [8, 9]);
}

#[tokio::test]
async fn as_many_are_read_as_are_asked_for_or_set() {
    let mut settings = settings();
    settings.stream_read_count = 3;
    let redis = handle_with(&settings).await;
    append(&redis, "events", 0..10).await;
    let read = async |count| {
        let entries = redis.xread(&[("events", EntryPosition::START)], count).await;
        numbers(&entries.expect("read")["events"])
    };
    assert_eq!(read(None).await, [0, 1, 2]);
    assert_eq!(read(Some(5)).await, [0, 1, 2, 3, 4]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fare {
    cents: i64,
}

#[tokio::test]
async fn fields_of_an_entry_are_typed() {
    let redis = handle().await;
    let fare = serde_json::to_string(&Fare { cents: 1_250 }).expect("valid JSON");
    let fields = [("kind", "paid"), ("fare", &fare)];
    let id = redis.xadd("events", EntryPosition::Auto, &fields).await.expect("appended");
    let streams = [("events", EntryPosition::START), ("none", EntryPosition::START)];
    let entries = redis.xread(&streams, None).await.expect("read");
    assert_eq!(entries.len(), 1, "a stream without entries is left out");
    let entry = &entries["events"][0];
    assert_eq!((entry.id, entry.fields().count()), (id, 2));
    assert_eq!(entry.get::<String>("kind").expect("it is there"), "paid");
    assert_eq!(entry.json::<Fare>("fare").expect("it is there"), Fare { cents: 1_250 });
    assert!(entry.get::<String>("none").expect_err("there is none").is_not_found());
    let error = entry.json::<Fare>("kind").expect_err("it is no JSON");
    assert!(matches!(error, Error::Parsing { type_name, .. } if type_name.ends_with("Fare")));
}

#[tokio::test]
async fn an_id_is_given_by_redis() {
    let redis = handle().await;
    let add = async || redis.xadd("events", EntryPosition::Auto, &[("a", 1)]).await.expect("added");
    let (first, second) = (add().await, add().await);
    assert!(EntryId::ZERO < first && first < second);
}

#[tokio::test]
async fn an_id_is_given_by_the_caller() {
    let redis = handle().await;
    let position = |milliseconds| EntryPosition::At(EntryId { milliseconds, sequence: 7 });
    let id = redis.xadd("events", position(5), &[("a", 1)]).await.expect("added");
    assert_eq!(id, EntryId { milliseconds: 5, sequence: 7 });
    let error = redis.xadd("events", position(4), &[("a", 1)]).await.expect_err("it is behind");
    assert!(matches!(error, Error::Stream { .. }), "{error:?}");
    redis.xadd("events", position(6), &[("a", 1)]).await.expect("added");
    let behind = redis.xread(&[("events", position(5))], None).await.expect("read");
    assert_eq!(behind["events"].len(), 1, "the entry itself is not behind itself");
}

#[tokio::test]
async fn a_read_behind_the_last_entry_waits_for_the_next() {
    let redis = handle().await;
    append(&redis, "events", 0..3).await;
    let reader = redis.clone();
    let reading = tokio::spawn(async move {
        let streams = [("events", EntryPosition::AfterLast)];
        reader.xread_blocking(&streams, None, Duration::from_secs(60)).await
    });
    // It may begin to wait after any of these.
    let appending = async {
        let mut number = 3;
        while !reading.is_finished() {
            append(&redis, "events", number..number + 1).await;
            number += 1;
        }
    };
    soon("an entry comes", appending).await;
    let entries = reading.await.expect("no panic").expect("read");
    assert!(numbers(&entries["events"])[0] >= 3, "those before are not read");
}

/// It waits at the server, and others who use the handle do not wait with it.
#[tokio::test]
async fn a_blocking_read_of_nothing_ends_after_its_time_without_an_error() {
    let redis = handle().await;
    let streams = [("events", EntryPosition::START)];
    let began = Instant::now();
    let wait = Duration::from_secs(2);
    let mut reading = std::pin::pin!(redis.xread_blocking(&streams, Some(1), wait));
    let meanwhile = async {
        for number in 0..20 {
            redis.set("number", number).await.expect("set");
        }
    };
    tokio::select! {
        biased;
        _ = &mut reading => panic!("nobody else could use the handle"),
        () = meanwhile => {}
    }
    let entries = reading.await.expect("no error");
    assert!(entries.is_empty() && began.elapsed() >= wait);

    append(&redis, "events", 0..5).await;
    let entries = redis.xread_blocking(&streams, Some(2), wait).await.expect("read");
    assert_eq!(numbers(&entries["events"]), [0, 1]);
}
