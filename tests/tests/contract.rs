//! The contract suite: what every pair of stores must do, verb by verb, whether the rows are
//! on the hot side, on both, or on the durable side alone.

use kv_runtime::{Error, KvModel, QueueStatus, Repository, StorageScheme};
use kv_tests::contract;
use kv_tests::models::{Booking, Counter, Seat, Status};
use kv_tests::pair::{After, Pair};
use kv_tests::waiting::until;
use uuid::Uuid;

contract!(
    under each scheme:
    created_rows_are_read,
    an_absent_row_is_not_found_and_not_remembered,
    creating_twice_is_a_duplicate,
    creating_an_id_that_only_postgresql_knows_is_a_duplicate,
    many_rows_are_created_or_refused_one_by_one,
    many_rows_are_read_in_order,
    updates_change_the_fields_that_were_set,
    null_and_leave_alone_are_different,
    an_empty_patch_changes_nothing,
    updating_an_absent_row_is_not_found,
    deleted_rows_are_gone,
    deleting_and_creating_again_ends_created,
    upserts_write_whole_rows,
    existence_is_told,
    composite_ids_are_told_apart,
    keys_are_read_back,
    invalidated_rows_are_read_from_the_durable_side,
    values_that_postgresql_cannot_hold_are_refused_at_the_write,
    two_models_share_a_repository_type,
);

// What only a queue does that nobody waits for.
mod queued {
    use super::*;

    contract!(
        a_dirty_row_is_not_invalidated,
        a_full_queue_refuses,
        how_far_a_queue_is_behind_is_told,
        many_changes_of_a_row_fold_into_one,
        an_empty_id_is_found_in_its_entry,
    );
}

/// The rows in PostgreSQL; `None` where there are none to look at.
async fn durable<M: KvModel>(pair: &Pair) -> Option<Vec<M>> {
    match pair.kv.durable_rows::<M>().await {
        Err(Error::RedisOnly { .. }) if pair.settings.scheme == StorageScheme::RedisOnly => None,
        rows => Some(rows.expect("the rows")),
    }
}

/// Brings a row to a state.
async fn bring<M: KvModel>(pair: &Pair, rows: &Repository<M>, id: &M::Id, after: After) {
    if after != After::Write {
        pair.drain().await;
    }
    if after == After::Eviction {
        rows.invalidate(id).await.expect("a clean row");
    }
}

/// Where sentinels say which server it is, the connections are others, and all else is the same: what
/// goes over each of them is tried.
mod sentinel {
    kv_tests::contract!(@ sentinel #[tokio::test]
        created_rows_are_read
        creating_twice_is_a_duplicate
        many_rows_are_created_or_refused_one_by_one
        many_rows_are_read_in_order
        updates_change_the_fields_that_were_set
        deleted_rows_are_gone
        deleting_and_creating_again_ends_created
        invalidated_rows_are_read_from_the_durable_side
    );
}

async fn created_rows_are_read(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        let receipt = bookings.create(&booking).await.expect("a new row");
        assert!(receipt.version > 0);
        bring(&pair, &bookings, &booking.id, after).await;
        assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking, "{after:?}");
        // The second read is from where the first one put it.
        assert_eq!(bookings.find_by_id(&booking.id).await.expect("the row"), Some(booking));
    }
}

async fn an_absent_row_is_not_found_and_not_remembered(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let error = bookings.get_by_id(&booking.id).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
    let message = error.to_string();
    assert!(message.contains("Booking.get_by_id"), "{message}");
    assert!(message.contains(&booking.id.to_string()), "{message}");
    assert_eq!(bookings.find_by_id(&booking.id).await.expect("an answer"), None);
    let _ = bookings.create(&booking).await.expect("a new row");
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
}

async fn creating_twice_is_a_duplicate(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in [After::Write, After::Drain] {
        let booking = Booking::sample();
        let _ = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        let other = Booking { seats: 9, ..booking.clone() };
        let error = bookings.create(&other).await.expect_err("a second row");
        assert!(error.is_duplicate(), "{error}");
        assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
    }
}

async fn creating_an_id_that_only_postgresql_knows_is_a_duplicate(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    let counter = Counter { id: 1, total: 5, r#type: "a".to_owned() };
    let _ = counters.create(&counter).await.expect("a new row");
    bring(&pair, &counters, &1, After::Eviction).await;
    let error = counters.create(&counter).await.expect_err("a second row");
    assert!(error.is_duplicate(), "{error}");
    let results = counters.create_many(&[counter.clone(), Counter { id: 2, ..counter }]).await;
    assert!(results[0].as_ref().is_err_and(Error::is_duplicate), "{results:?}");
    assert!(results[1].is_ok(), "{results:?}");
}

async fn many_rows_are_created_or_refused_one_by_one(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let taken = Booking::sample();
    let _ = bookings.create(&taken).await.expect("a new row");
    let mut rows: Vec<Booking> = (0..100).map(|_| Booking::sample()).collect();
    rows[50] = taken;
    rows[70] = rows[60].clone();
    let results = bookings.create_many(&rows).await;
    assert_eq!(results.len(), rows.len());
    for (index, result) in results.iter().enumerate() {
        match index {
            50 | 70 => assert!(result.as_ref().is_err_and(Error::is_duplicate), "{result:?}"),
            _ => assert!(result.is_ok(), "{result:?}"),
        }
    }
    pair.drain().await;
    assert!(durable::<Booking>(&pair).await.is_none_or(|rows| rows.len() == 99));
    assert!(bookings.create_many(&[]).await.is_empty());
}

async fn many_rows_are_read_in_order(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let rows: Vec<Booking> = (0..50).map(|_| Booking::sample()).collect();
    for result in bookings.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    pair.drain().await;
    for row in &rows[..25] {
        bookings.invalidate(&row.id).await.expect("a clean row");
    }
    let mut ids: Vec<Uuid> = rows.iter().rev().map(|row| row.id).collect();
    ids.insert(10, Uuid::from_u128(0));
    let mut expected: Vec<Option<Booking>> = rows.into_iter().rev().map(Some).collect();
    expected.insert(10, None);
    assert_eq!(bookings.get_many(&ids).await.expect("the rows"), expected);
    assert!(bookings.get_many(&[]).await.expect("no rows").is_empty());
}

async fn updates_change_the_fields_that_were_set(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        let created = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        let patch = Booking::patch().status(Status::Completed).seats(4);
        let updated = bookings.update(&booking.id, patch).await.expect("a row");
        assert!(updated.version > created.version, "{after:?}");
        let expected = Booking { status: Status::Completed, seats: 4, ..booking };
        assert_eq!(bookings.get_by_id(&expected.id).await.expect("the row"), expected);
        bring(&pair, &bookings, &expected.id, After::Eviction).await;
        assert_eq!(bookings.get_by_id(&expected.id).await.expect("the row"), expected);
    }
}

async fn null_and_leave_alone_are_different(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        let _ = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        let _ = bookings.update(&booking.id, Booking::patch().seats(1)).await.expect("a row");
        let row = bookings.get_by_id(&booking.id).await.expect("the row");
        assert_eq!(row.driver_id, booking.driver_id, "left alone");
        bring(&pair, &bookings, &booking.id, after).await;
        let _ =
            bookings.update(&booking.id, Booking::patch().driver_id(None)).await.expect("a row");
        for last in [After::Write, After::Eviction] {
            bring(&pair, &bookings, &booking.id, last).await;
            let row = bookings.get_by_id(&booking.id).await.expect("the row");
            assert_eq!((row.driver_id, row.seats), (None, 1), "{after:?}, {last:?}");
        }
    }
}

async fn an_empty_patch_changes_nothing(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let error = bookings.update(&booking.id, Booking::patch()).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
    let _ = bookings.create(&booking).await.expect("a new row");
    for after in After::ALL {
        bring(&pair, &bookings, &booking.id, after).await;
        let _ = bookings.update(&booking.id, Booking::patch()).await.expect("a row");
        assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
    }
    pair.drain().await;
    assert!(durable::<Booking>(&pair).await.is_none_or(|rows| rows == [booking]));
}

async fn updating_an_absent_row_is_not_found(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let id = Uuid::from_u128(1);
    let error = bookings.update(&id, Booking::patch().seats(1)).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
    let error = bookings.delete(&id).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
}

async fn deleted_rows_are_gone(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        let _ = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        let _ = bookings.delete(&booking.id).await.expect("a row");
        // The tombstone hides what PostgreSQL still has.
        for drained in [false, true] {
            if drained {
                pair.drain().await;
            }
            assert_eq!(bookings.find_by_id(&booking.id).await.expect("an answer"), None);
            assert!(!bookings.exists(&booking.id).await.expect("an answer"));
            let patch = Booking::patch().seats(1);
            let error = bookings.update(&booking.id, patch).await.expect_err("no row");
            assert!(error.is_not_found(), "{error}");
            let error = bookings.delete(&booking.id).await.expect_err("no row");
            assert!(error.is_not_found(), "{error}");
        }
    }
    assert!(durable::<Booking>(&pair).await.is_none_or(|rows| rows.is_empty()));
}

async fn deleting_and_creating_again_ends_created(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        let first = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        let _ = bookings.delete(&booking.id).await.expect("a row");
        let again = Booking { seats: 7, driver_id: None, ..booking };
        let second = bookings.create(&again).await.expect("a new row");
        assert!(second.version > first.version);
        assert_eq!(bookings.get_by_id(&again.id).await.expect("the row"), again);
        bring(&pair, &bookings, &again.id, After::Eviction).await;
        assert_eq!(bookings.get_by_id(&again.id).await.expect("the row"), again, "{after:?}");
    }
}

async fn upserts_write_whole_rows(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    for (id, after) in (1..).zip(After::ALL) {
        let first = Counter { id, total: 1, r#type: "a".to_owned() };
        let _ = counters.upsert(&first).await.expect("a row");
        bring(&pair, &counters, &id, after).await;
        assert_eq!(counters.get_by_id(&id).await.expect("the row"), first);
        let second = Counter { id, total: 2, r#type: "b".to_owned() };
        let _ = counters.upsert(&second).await.expect("a row");
        assert_eq!(counters.get_by_id(&id).await.expect("the row"), second);
        bring(&pair, &counters, &id, After::Eviction).await;
        assert_eq!(counters.get_by_id(&id).await.expect("the row"), second, "{after:?}");
    }
    assert!(durable::<Counter>(&pair).await.is_none_or(|rows| rows.len() == 3));
}

async fn existence_is_told(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for after in After::ALL {
        let booking = Booking::sample();
        assert!(!bookings.exists(&booking.id).await.expect("an answer"));
        let _ = bookings.create(&booking).await.expect("a new row");
        bring(&pair, &bookings, &booking.id, after).await;
        assert!(bookings.exists(&booking.id).await.expect("an answer"), "{after:?}");
    }
}

async fn composite_ids_are_told_apart(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    let flights = ["AA:1", "AA", "AA{1}", "AA%3A1", "", "é 漢 *?[]\\"];
    let rows: Vec<Seat> = flights
        .iter()
        .enumerate()
        .flat_map(|(index, flight)| {
            [1_i16, 11].map(|number| Seat {
                flight: (*flight).to_owned(),
                number,
                passenger: Some(format!("{index}/{number}")),
            })
        })
        .collect();
    for result in seats.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    for after in After::ALL {
        for row in &rows {
            bring(&pair, &seats, &row.row_id(), after).await;
            assert_eq!(&seats.get_by_id(&row.row_id()).await.expect("the row"), row, "{after:?}");
        }
    }
    for row in &rows {
        let _ = seats.delete(&row.row_id()).await.expect("a row");
    }
    pair.drain().await;
    assert!(durable::<Seat>(&pair).await.is_none_or(|rows| rows.is_empty()));
}

async fn keys_are_read_back(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    let id = ("AA:{1}".to_owned(), 3);
    let key = seats.key(&id).expect("a key");
    assert!(key.contains("seat:AA%3A%7B1%7D:3{"), "{key}");
    assert_eq!(seats.parse_key(&key), Some(id.clone()));
    let counters = pair.kv.repository::<Counter>();
    assert_eq!(counters.parse_key(&key), None);
    for foreign in ["", "seat", "seat:", "seat:AA", "seat:AA:3", "seat:AA:3{999}", "x/seat:AA:3{1}"]
    {
        assert_eq!(seats.parse_key(foreign), None, "{foreign}");
    }
}

async fn invalidated_rows_are_read_from_the_durable_side(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    let counter = Counter { id: 1, total: 1, r#type: "a".to_owned() };
    let _ = counters.create(&counter).await.expect("a new row");
    pair.drain().await;
    if pair.has_servers() && pair.settings.scheme != StorageScheme::RedisOnly {
        // Under cache-aside it is a read that puts the row into Redis.
        assert!(counters.exists(&1).await.expect("an answer"));
        pair.sql("UPDATE counters SET total_count = 77").await;
        if pair.settings.scheme != StorageScheme::PostgresOnly {
            let row = counters.get_by_id(&1).await.expect("the row");
            assert_eq!(row.total, 1, "still in Redis");
        }
        counters.invalidate(&1).await.expect("a clean row");
        assert_eq!(counters.get_by_id(&1).await.expect("the row").total, 77);
    }
    counters.invalidate(&1).await.expect("a clean row");
    counters.invalidate(&1).await.expect("no row at all");
    counters.invalidate(&2).await.expect("no row at all");
    assert!(counters.exists(&1).await.expect("an answer"));
}

async fn a_dirty_row_is_not_invalidated(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    let error = bookings.invalidate(&booking.id).await.expect_err("a dirty row");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
}

async fn a_full_queue_refuses(pair: Pair) {
    let mut settings = pair.settings.clone();
    settings.partitions = 1;
    settings.queue_capacity = 3;
    settings.tenant = settings.tenant.map(|tenant| format!("{tenant}-full"));
    let pair = match pair.database_url {
        None => Pair {
            kv: kv_runtime::Kv::memory_with(settings.clone()).expect("valid"),
            settings,
            ..pair
        },
        Some(url) => {
            let kv = kv_runtime::Kv::connect(settings.clone()).await.expect("the servers are up");
            Pair { kv, settings, database_url: Some(url), background: None }
        }
    };
    let bookings = pair.kv.repository::<Booking>();
    for _ in 0..3 {
        let _ = bookings.create(&Booking::sample()).await.expect("room for it");
    }
    let late = Booking::sample();
    let error = bookings.create(&late).await.expect_err("a full queue");
    assert!(matches!(error, Error::Full { .. }) && error.is_transient(), "{error}");
    assert!(!bookings.exists(&late.id).await.expect("an answer"), "refused as a whole");
    pair.drain().await;
    let _ = bookings.create(&late).await.expect("room again");
}

async fn values_that_postgresql_cannot_hold_are_refused_at_the_write(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking { reference: "a\0b".to_owned(), ..Booking::sample() };
    let error = bookings.create(&booking).await.expect_err("a NUL character");
    let Error::Encoding { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.field, "reference");
    assert!(!bookings.exists(&booking.id).await.expect("an answer"));
    let good = Booking::sample();
    let results = bookings.create_many(&[booking, good]).await;
    assert!(matches!(results[0], Err(Error::Encoding { .. })) && results[1].is_ok(), "{results:?}");
}

async fn how_far_a_queue_is_behind_is_told(pair: Pair) {
    let queues = pair.kv.queues().model::<Booking>();
    let status = async || queues.status().await.expect("Redis is up");
    assert_eq!(status().await, QueueStatus::default());
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    let before = status().await;
    until("what waits grows older", async || status().await.lag > before.lag).await;
    assert_eq!(status().await.undrained, 1);
    pair.drain().await;
    assert_eq!(status().await, QueueStatus::default());
}

async fn many_changes_of_a_row_fold_into_one(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    for seats in 0..99 {
        let _ = bookings.update(&booking.id, Booking::patch().seats(seats)).await.expect("a row");
    }
    let status = pair.drain().await;
    assert_eq!(status.entries_drained, 100);
    assert_eq!(status.rows_written, 1);
    assert_eq!(status.entries_folded, 99);
    assert_eq!(status.undrained, 0);
    let rows = pair.kv.durable_rows::<Booking>().await.expect("the rows");
    assert_eq!(rows, [Booking { seats: 98, ..booking }]);
}

/// Business code is generic over the model: a second model needs nothing new.
async fn two_models_share_a_repository_type(pair: Pair) {
    async fn round_trip<M: KvModel + Clone + PartialEq + std::fmt::Debug>(pair: &Pair, row: M) {
        let rows: Repository<M> = pair.kv.repository();
        let _ = rows.create(&row).await.expect("a new row");
        bring(pair, &rows, &row.row_id(), After::Eviction).await;
        assert_eq!(rows.get_by_id(&row.row_id()).await.expect("the row"), row);
    }
    round_trip(&pair, Booking::sample()).await;
    round_trip(&pair, Seat { flight: "AA".to_owned(), number: 1, passenger: None }).await;
    round_trip(&pair, Counter { id: -1, total: i64::MIN, r#type: String::new() }).await;
}

/// A model whose id may be any text.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "notes")]
struct Note {
    #[kv(id)]
    name: String,
    text: String,
}

async fn an_empty_id_is_found_in_its_entry(pair: Pair) {
    pair.sql("CREATE TABLE notes (name text PRIMARY KEY, text text NOT NULL)").await;
    let notes = pair.kv.repository::<Note>();
    let note = Note { name: String::new(), text: "first".to_owned() };
    let created = notes.create(&note).await.expect("a new row");
    let drainer = pair.kv.drainer().model::<Note>().spawn();
    created.await_durable().await.expect("it is drained");
    let changed = notes.update(&String::new(), Note::patch().text("second")).await.expect("a row");
    changed.await_durable().await.expect("it is drained");
    let second = Note { text: "second".to_owned(), ..note };
    assert_eq!(pair.kv.durable_rows::<Note>().await.expect("the rows"), [second]);
    drainer.shutdown().await.expect("everything is drained");
}
