//! The in-memory pair with a unit test's hand on it.

use kv_runtime::{Error, Failure, InsertError, KvModel, Memory, Settings, Verb};
use kv_tests::models::{Booking, Counter, Seat};

fn counter(id: i64) -> Counter {
    Counter { id, total: 1, r#type: String::new() }
}

#[tokio::test]
async fn the_next_call_fails_as_it_was_told_to() {
    let memory = Memory::new();
    let bookings = memory.kv().repository::<Booking>();
    let booking = Booking::sample();
    type IsIt = fn(&Error) -> bool;
    let of_creates: [(Failure, IsIt); 5] = [
        (Failure::Unavailable, |error| matches!(error, Error::Unavailable { .. })),
        (Failure::OutcomeUnknown, |error| matches!(error, Error::OutcomeUnknown { .. })),
        (Failure::Duplicate, Error::is_duplicate),
        (Failure::Full, |error| matches!(error, Error::Full { .. })),
        (Failure::Held, |error| matches!(error, Error::Held { .. })),
    ];
    for (failure, is_it) in of_creates {
        memory.fail_next::<Booking>(Verb::Create, failure);
        let error = bookings.create(&booking).await.expect_err("it fails");
        assert!(is_it(&error), "{failure:?}: {error}");
        assert!(!bookings.exists(&booking.id).await.expect("an answer"), "{failure:?}");
    }
    memory.fail_next::<Booking>(Verb::Create, Failure::AnswerLost);
    let error = bookings.create(&booking).await.expect_err("it fails");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("it is done"), booking);

    memory.fail_next::<Booking>(Verb::Read, Failure::Timeout);
    memory.fail_next::<Booking>(Verb::Read, Failure::NotFound);
    memory.fail_next::<Booking>(Verb::Read, Failure::Unavailable);
    let error = bookings.get_by_id(&booking.id).await.expect_err("the first");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(bookings.find_by_id(&booking.id).await.expect("the second"), None);
    let error = bookings.exists(&booking.id).await.expect_err("the third");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");

    memory.fail_next::<Booking>(Verb::Update, Failure::NotFound);
    let patch = || Booking::patch().seats(9);
    assert!(bookings.update(&booking.id, patch()).await.expect_err("told so").is_not_found());
    let _ = bookings.update(&booking.id, patch()).await.expect("the one after it");
}

/// A call that brings its row in first is one call, and loses one answer.
#[tokio::test]
async fn a_call_is_counted_once_whatever_it_takes() {
    let memory = Memory::new();
    let counters = memory.kv().repository::<Counter>();
    memory.insert(&[counter(1), counter(2)]).await.expect("sample rows");
    memory.fail_next::<Counter>(Verb::Create, Failure::AnswerLost);
    let error = counters.create(&counter(3)).await.expect_err("the answer is lost");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(counters.exists(&3).await.expect("an answer"), "it is done");
    let _ = counters.update(&1, Counter::patch().total(2)).await.expect("a row");
    let missing = counters.update(&9, Counter::patch().total(2)).await;
    assert!(missing.expect_err("no row").is_not_found());
    let _ = counters.delete(&2).await.expect("a row");
    let _ = counters.create_many(&[counter(4), counter(5), counter(1)]).await;
    let _ = counters.upsert(&counter(6)).await.expect("a row");
    let _ = counters.get_many(&[1, 2]).await.expect("the rows");
    let calls = [Verb::Create, Verb::Upsert, Verb::Update, Verb::Delete, Verb::Read]
        .map(|verb| memory.calls::<Counter>(verb));
    assert_eq!(calls, [4, 1, 2, 1, 3]);
    assert_eq!(memory.calls::<Seat>(Verb::Create), 0);
}

#[tokio::test]
async fn a_unit_of_work_fails_for_one_of_its_changes() {
    let mut settings = Settings::in_memory();
    settings.partitions = 1;
    let memory = Memory::with(settings).expect("valid settings");
    let kv = memory.kv();
    let seat = |number| Seat { flight: "AA".to_owned(), number, passenger: None };
    let seats = kv.repository::<Seat>();
    let both = || async {
        kv.transaction(async |unit| {
            let seats = unit.repository::<Seat>();
            seats.create(&seat(1)).await?;
            seats.create(&seat(2)).await
        })
        .await
    };
    for failure in [Failure::Unavailable, Failure::Duplicate, Failure::OutcomeUnknown] {
        memory.fail_next::<Seat>(Verb::Create, failure);
        assert!(both().await.is_err(), "{failure:?}");
        let found = seats.get_many(&[seat(1).row_id(), seat(2).row_id()]).await;
        assert_eq!(found.expect("an answer"), [None, None], "{failure:?}");
    }
    both().await.expect("all of it");
    assert_eq!(memory.calls::<Seat>(Verb::Create), 8);
    assert!(seats.exists(&seat(2).row_id()).await.expect("an answer"));
}

#[tokio::test]
async fn sample_rows_are_there_as_if_they_had_been_drained() {
    let memory = Memory::default();
    let counters = memory.kv().repository::<Counter>();
    assert_eq!(counters.find_by_id(&1).await.expect("an answer"), None);
    memory.insert(&[counter(1)]).await.expect("sample rows");
    assert_eq!(counters.get_by_id(&1).await.expect("the row"), counter(1));
    assert!(counters.create(&counter(1)).await.expect_err("it is there").is_duplicate());
    // All or none.
    let error = memory.insert(&[counter(2), counter(1)]).await.expect_err("a second row");
    assert!(matches!(error, InsertError::Refused(_)), "{error}");
    assert_eq!(memory.kv().durable_rows::<Counter>().await.expect("rows"), [counter(1)]);
}

#[test]
#[should_panic(expected = "`Duplicate` never comes of a `Read`")]
fn what_no_server_would_answer_is_refused() {
    Memory::new().fail_next::<Counter>(Verb::Read, Failure::Duplicate);
}
