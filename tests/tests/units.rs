//! Units of work: several changes of rows that lie together, made as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kv_runtime::{DeadLetterFilter, Error, Kv, OnHeld, Settings, Status, Transaction};
use kv_tests::contract;
use kv_tests::models::{Account, Flight, Seat};
use kv_tests::pair::{After, Pair};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

contract!(
    under direct schemes:
    an_error_leaves_nothing,
    a_refused_change_leaves_nothing,
    the_work_sees_its_own_changes,
    rows_that_only_postgresql_has_are_brought_in,
    a_unit_that_only_reads_writes_nothing,
    a_counter_that_overflows_leaves_nothing,
);

mod queued {
    use super::*;

    contract!(
        all_changes_are_made_with_one_entry,
        changes_of_a_row_come_to_one,
        many_rows_are_looked_up_at_once,
        rows_that_lie_apart_are_refused,
        a_handle_that_was_kept_does_nothing,
        a_refused_unit_is_one_dead_letter_of_all_its_rows,
        a_discarded_unit_lets_all_its_rows_go,
        a_unit_queues_behind_a_held_row_with_all_its_rows,
        what_follows_a_unit_that_queues_behind_queues_too,
    );
}

mod racing {
    use super::*;

    contract!(in parallel:
        many_at_once_lose_no_update,
        what_was_read_is_so_in_the_end,
    );
}

fn seat(number: i16) -> Seat {
    Seat { flight: "AA".into(), number, passenger: None }
}

fn id(number: i16) -> (String, i16) {
    ("AA".into(), number)
}

fn flight(taken: i32) -> Flight {
    Flight { flight: "AA".into(), taken }
}

/// Takes a seat: one row is created, another one changed.
async fn take(unit: &Transaction, number: i16) -> Result<i32, Error> {
    let flights = unit.repository::<Flight>();
    let taken = flights.increment(&"AA".to_owned(), |flight| flight.taken, 1).await?;
    unit.repository::<Seat>().create(&seat(number)).await?;
    Ok(taken)
}

async fn with_flight(pair: &Pair) {
    let _ = pair.kv.repository::<Flight>().create(&flight(0)).await.expect("a new row");
    pair.drain().await;
}

async fn undrained(kv: &Kv) -> u64 {
    kv.queues().model::<Seat>().status().await.expect("Redis is up").undrained
}

async fn durable(pair: &Pair) -> (Vec<Flight>, Vec<i16>) {
    let flights = pair.kv.durable_rows::<Flight>().await.expect("the rows");
    let seats = pair.kv.durable_rows::<Seat>().await.expect("the rows");
    let mut numbers: Vec<i16> = seats.iter().map(|seat| seat.number).collect();
    numbers.sort_unstable();
    (flights, numbers)
}

async fn all_changes_are_made_with_one_entry(pair: Pair) {
    with_flight(&pair).await;
    let committed = pair.kv.transaction(async |unit| take(&unit, 1).await).await.expect("a unit");
    assert_eq!(committed.value, 1);
    assert_eq!(undrained(&pair.kv).await, 1);
    let seats = pair.kv.repository::<Seat>();
    assert_eq!(seats.get_by_id(&id(1)).await.expect("a row"), seat(1));
    assert_eq!(seats.status(&id(1)).await.expect("a status"), Status::Dirty);
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (1, 0));
    assert_eq!(durable(&pair).await, (vec![flight(1)], vec![1]));
    let receipt = committed.receipt.expect("it has changed something");
    receipt.await_durable().await.expect("it is drained");
    assert_eq!(seats.status(&id(1)).await.expect("a status"), Status::Clean);
}

async fn an_error_leaves_nothing(pair: Pair) {
    with_flight(&pair).await;
    let failed = pair.kv.transaction(async |unit| {
        take(&unit, 1).await?;
        Err::<(), _>(Box::<dyn std::error::Error + Send + Sync>::from("no"))
    });
    assert_eq!(failed.await.expect_err("its own error").to_string(), "no");
    assert_eq!(undrained(&pair.kv).await, 0);
    assert_eq!(pair.kv.repository::<Seat>().find_by_id(&id(1)).await.expect("an answer"), None);
    pair.drain().await;
    assert_eq!(durable(&pair).await, (vec![flight(0)], vec![]));
}

async fn a_refused_change_leaves_nothing(pair: Pair) {
    with_flight(&pair).await;
    let seats = pair.kv.repository::<Seat>();
    let _ = seats.create(&seat(2)).await.expect("a new row");
    for after in After::ALL {
        if after == After::Eviction {
            seats.invalidate(&id(2)).await.expect("a clean row");
        }
        let refused = pair.kv.transaction(async |unit| {
            take(&unit, 1).await?;
            take(&unit, 2).await
        });
        let error = refused.await.expect_err("it is taken");
        assert!(error.is_duplicate(), "{after:?}: {error}");
        let missing = pair.kv.transaction(async |unit| {
            take(&unit, 1).await?;
            unit.repository::<Seat>().delete(&id(3)).await
        });
        let error = missing.await.expect_err("there is none");
        assert!(error.is_not_found() && error.to_string().contains("`AA:3`"), "{error}");
        assert_eq!(seats.find_by_id(&id(1)).await.expect("an answer"), None, "{after:?}");
        pair.drain().await;
        assert_eq!(durable(&pair).await, (vec![flight(0)], vec![2]), "{after:?}");
    }
}

async fn the_work_sees_its_own_changes(pair: Pair) {
    with_flight(&pair).await;
    let unit = pair.kv.transaction(async |unit| {
        let (seats, flights) = (unit.repository::<Seat>(), unit.repository::<Flight>());
        let key = "AA".to_owned();
        assert_eq!(seats.find_by_id(&id(1)).await?, None);
        seats.create(&seat(1)).await?;
        let patch = Seat::patch().passenger("Ada");
        seats.update(&id(1), patch).await?;
        assert_eq!(seats.get_by_id(&id(1)).await?.passenger.as_deref(), Some("Ada"));
        assert!(seats.create(&seat(1)).await.expect_err("it is there").is_duplicate());
        // Changed before it is read.
        flights.update(&key, Flight::patch().taken(5)).await?;
        assert_eq!(flights.get_by_id(&key).await?, flight(5));
        flights.delete(&key).await?;
        assert_eq!(flights.find_by_id(&key).await?, None);
        assert!(flights.delete(&key).await.expect_err("it is gone").is_not_found());
        Ok::<_, Error>(())
    });
    unit.await.expect("a unit");
    pair.drain().await;
    assert_eq!(durable(&pair).await, (vec![], vec![1]));
}

async fn rows_that_only_postgresql_has_are_brought_in(pair: Pair) {
    with_flight(&pair).await;
    let (seats, flights) = (pair.kv.repository::<Seat>(), pair.kv.repository::<Flight>());
    let _ = seats.create(&seat(1)).await.expect("a new row");
    pair.drain().await;
    flights.invalidate(&"AA".to_owned()).await.expect("a clean row");
    seats.invalidate(&id(1)).await.expect("a clean row");
    let unit = pair.kv.transaction(async |unit| {
        // One is read, the other one changed without a look at it.
        let taken = unit.repository::<Flight>().get_by_id(&"AA".to_owned()).await?.taken;
        let patch = Seat::patch().passenger("Ada");
        unit.repository::<Seat>().update(&id(1), patch).await?;
        unit.repository::<Flight>().upsert(&flight(taken + 1)).await
    });
    unit.await.expect("a unit");
    let found = seats.get_by_id(&id(1)).await.expect("a row");
    assert_eq!(found.passenger.as_deref(), Some("Ada"));
    pair.drain().await;
    assert_eq!(durable(&pair).await, (vec![flight(1)], vec![1]));
}

async fn changes_of_a_row_come_to_one(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    let _ = seats.create(&seat(1)).await.expect("a new row");
    let unit = pair.kv.transaction(async |unit| {
        let seats = unit.repository::<Seat>();
        seats.delete(&id(1)).await?;
        seats.create(&Seat { passenger: Some("Ada".into()), ..seat(1) }).await?;
        seats.create(&seat(2)).await?;
        seats.delete(&id(2)).await
    });
    unit.await.expect("a unit");
    assert_eq!(seats.find_by_id(&id(2)).await.expect("an answer"), None);
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (2, 0));
    let rows = pair.kv.durable_rows::<Seat>().await.expect("the rows");
    assert_eq!(rows, [Seat { passenger: Some("Ada".into()), ..seat(1) }]);
    // What was refused stays refused, whatever comes after it.
    let unit = pair.kv.transaction(async |unit| {
        let seats = unit.repository::<Seat>();
        seats.update(&id(3), Seat::patch().passenger(None)).await?;
        seats.upsert(&seat(3)).await
    });
    assert!(unit.await.expect_err("there was none").is_not_found());
}

async fn a_unit_that_only_reads_writes_nothing(pair: Pair) {
    with_flight(&pair).await;
    let unit = pair.kv.transaction(async |unit| {
        let taken = unit.repository::<Flight>().get_by_id(&"AA".to_owned()).await?.taken;
        let found = unit.repository::<Seat>().find_by_id(&id(1)).await?;
        Ok::<_, Error>((taken, found))
    });
    let committed = unit.await.expect("a unit");
    assert_eq!((committed.value, committed.receipt.is_none()), ((0, None), true));
    assert_eq!(undrained(&pair.kv).await, 0);
    assert!(pair.kv.transaction(async |_| Ok::<_, Error>(())).await.is_ok());
}

/// Each of them has to be asked of PostgreSQL, because their ids are not fresh.
async fn many_rows_are_looked_up_at_once(pair: Pair) {
    let unit = pair.kv.transaction(async |unit| {
        for number in 0..50 {
            unit.repository::<Seat>().create(&seat(number)).await?;
        }
        Ok::<_, Error>(())
    });
    unit.await.expect("a unit");
    assert_eq!(pair.drain().await.entries_drained, 1);
    let seats = pair.kv.repository::<Seat>();
    for number in 0..50 {
        seats.invalidate(&id(number)).await.expect("a clean row");
    }
    let unit = pair.kv.transaction(async |unit| {
        for number in 0..50 {
            let patch = Seat::patch().passenger("Ada");
            unit.repository::<Seat>().update(&id(number), patch).await?;
        }
        Ok::<_, Error>(())
    });
    unit.await.expect("a unit");
    pair.drain().await;
    let rows = pair.kv.durable_rows::<Seat>().await.expect("the rows");
    assert!(rows.len() == 50 && rows.iter().all(|row| row.passenger.is_some()));
}

async fn rows_that_lie_apart_are_refused(pair: Pair) {
    let row = Account { id: 1, revision: 1, note: None, active: true };
    let unit = pair.kv.transaction(async |unit| {
        unit.repository::<Seat>().create(&seat(1)).await?;
        unit.repository::<Account>().create(&row).await
    });
    let error = unit.await.expect_err("other queues").to_string();
    assert!(error.contains("`Account` is on queue `account_queue`"), "{error}");
    assert!(error.contains("declare the same `queue`"), "{error}");
    let unit = pair.kv.transaction(async |unit| {
        for flight in ["AA", "BB", "CC", "DD", "EE", "FF", "GG", "HH"] {
            let row = Seat { flight: flight.into(), ..seat(1) };
            unit.repository::<Seat>().create(&row).await?;
        }
        Ok::<_, Error>(())
    });
    let error = unit.await.expect_err("other partitions").to_string();
    assert!(error.contains("declare `partition_by`"), "{error}");
    assert_eq!(undrained(&pair.kv).await, 0);
}

async fn a_handle_that_was_kept_does_nothing(pair: Pair) {
    let unit = pair.kv.transaction(async |unit| Ok::<_, Error>(unit)).await.expect("a unit").value;
    let error = unit.repository::<Seat>().create(&seat(1)).await.expect_err("it has ended");
    assert!(error.to_string().contains("has ended already"), "{error}");
}

/// No seat 1, whatever is in it: what is folded into its creation does not mend it.
const NO_SEAT_1: &str = "ALTER TABLE seats ADD CONSTRAINT no_seat_1 CHECK (number <> 1)";
const ANY_SEAT: &str = "ALTER TABLE seats DROP CONSTRAINT no_seat_1";

/// A unit that PostgreSQL will refuse, with changes of both of its rows behind it.
async fn refused_unit(pair: &Pair) {
    with_flight(pair).await;
    let seats = pair.kv.repository::<Seat>();
    pair.sql(NO_SEAT_1).await;
    let unit = pair.kv.transaction(async |unit| take(&unit, 1).await);
    unit.await.expect("a unit");
    // Behind it, by either of its rows.
    let _ = seats.update(&id(1), Seat::patch().passenger(None)).await.expect("a row");
    let patch = Flight::patch().taken(7);
    let flights = pair.kv.repository::<Flight>();
    let _ = flights.update(&"AA".to_owned(), patch).await.expect("a row");
    let _ = seats.create(&seat(2)).await.expect("a new row");
}

async fn a_refused_unit_is_one_dead_letter_of_all_its_rows(pair: Pair) {
    if !pair.has_servers() {
        // Nothing in memory refuses it.
        return;
    }
    refused_unit(&pair).await;
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (4, 3));
    assert_eq!(durable(&pair).await, (vec![flight(0)], vec![2]));
    let letters = pair.kv.dead_letters();
    let all = letters.list(&DeadLetterFilter::new()).await.expect("the letters");
    let rows = [("flight".to_owned(), "AA".to_owned()), ("seat".to_owned(), "AA:1".to_owned())];
    assert_eq!(all[0].rows(), rows);
    assert_eq!((all[1].behind, all[2].behind), (Some(all[0].entry), Some(all[0].entry)));
    // Any of its rows finds it.
    for filter in [
        DeadLetterFilter::new().row::<Flight>(&"AA".into()).expect("an id"),
        DeadLetterFilter::new().row::<Seat>(&id(1)).expect("an id"),
    ] {
        assert_eq!(letters.list(&filter).await.expect("the letters").len(), 2);
    }
    let (seats, flights) = (pair.kv.repository::<Seat>(), pair.kv.repository::<Flight>());
    assert_eq!(seats.status(&id(1)).await.expect("a status"), Status::Held);
    assert_eq!(flights.status(&"AA".to_owned()).await.expect("a status"), Status::Held);

    let of_seat = DeadLetterFilter::new().row::<Seat>(&id(1)).expect("an id");
    let replayed = letters.replay(&of_seat).await.expect("it is tried");
    assert_eq!((replayed.applied, replayed.still_held), (0, 3));
    pair.sql(ANY_SEAT).await;
    // By one row, all that is tied to it: once.
    let replayed = letters.replay(&of_seat).await.expect("it is taken");
    assert_eq!((replayed.applied, replayed.still_held), (3, 0));
    assert_eq!(durable(&pair).await, (vec![flight(7)], vec![1, 2]));
    assert_eq!(seats.get_by_id(&id(1)).await.expect("a row").passenger, None);
    assert_eq!(flights.status(&"AA".to_owned()).await.expect("a status"), Status::Clean);
    assert_eq!(pair.drain().await.dead_letters, 0);
}

async fn a_discarded_unit_lets_all_its_rows_go(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    refused_unit(&pair).await;
    pair.drain().await;
    let letters = pair.kv.dead_letters();
    assert_eq!(letters.discard(&DeadLetterFilter::new()).await.expect("three letters"), 3);
    let (seats, flights) = (pair.kv.repository::<Seat>(), pair.kv.repository::<Flight>());
    assert_eq!(seats.find_by_id(&id(1)).await.expect("an answer"), None);
    assert_eq!(flights.get_by_id(&"AA".to_owned()).await.expect("a row"), flight(0));
    let held = pair.texts("SELECT sum(held)::text AS value FROM kv_offsets").await;
    assert_eq!(held, [Some("0".to_owned())]);
    let left = pair.texts("SELECT letter::text AS value FROM kv_dead_letter_rows").await;
    assert!(left.is_empty(), "{left:?}");
}

/// By a process that knows one of its models: the other row is let go all the same.
#[tokio::test]
async fn a_row_of_an_unknown_model_is_let_go_too() {
    let pair = Pair::servers().await;
    refused_unit(&pair).await;
    pair.drain().await;
    let other = pair.other_process().await;
    let _ = other.repository::<Flight>();
    assert_eq!(other.dead_letters().discard(&DeadLetterFilter::new()).await.expect("letters"), 3);
    let seats = pair.kv.repository::<Seat>();
    assert_eq!(seats.status(&id(1)).await.expect("a status"), Status::Absent);
    let _ = seats.create(&Seat { number: 3, ..seat(1) }).await.expect("a new row");
}

/// The first row is held before the unit comes; with the unit, its other rows are too.
async fn a_unit_queues_behind_a_held_row_with_all_its_rows(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let pair = pair.with(|settings| settings.on_held = OnHeld::Queue).await;
    with_flight(&pair).await;
    pair.sql(NO_SEAT_1).await;
    let seats = pair.kv.repository::<Seat>();
    let _ = seats.create(&seat(1)).await.expect("a new row");
    for is_drained_before in [false, true] {
        if is_drained_before {
            pair.drain().await;
        }
        let unit = pair.kv.transaction(async |unit| {
            unit.repository::<Seat>().update(&id(1), Seat::patch().passenger(None)).await?;
            let patch = Flight::patch().taken(9);
            unit.repository::<Flight>().update(&"AA".to_owned(), patch).await
        });
        unit.await.expect("it queues behind");
    }
    let patch = Flight::patch().taken(10);
    let flights = pair.kv.repository::<Flight>();
    let _ = flights.update(&"AA".to_owned(), patch).await.expect("it queues behind");
    pair.drain().await;
    assert_eq!(durable(&pair).await, (vec![flight(0)], vec![]));
    pair.sql(ANY_SEAT).await;
    let replayed = pair.kv.dead_letters().replay(&DeadLetterFilter::new()).await;
    let replayed = replayed.expect("they are taken");
    assert_eq!((replayed.applied, replayed.still_held), (4, 0));
    assert_eq!(durable(&pair).await, (vec![flight(10)], vec![1]));
}

/// Also where the next batch is planned before that one is committed.
async fn what_follows_a_unit_that_queues_behind_queues_too(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let one_by_one = |settings: &mut Settings| {
        settings.on_held = OnHeld::Queue;
        settings.drain.batch_entries = 1;
    };
    let pair = pair.with(one_by_one).await;
    with_flight(&pair).await;
    pair.sql(NO_SEAT_1).await;
    let _ = pair.kv.repository::<Seat>().create(&seat(1)).await.expect("a new row");
    let unit = pair.kv.transaction(async |unit| {
        unit.repository::<Seat>().update(&id(1), Seat::patch().passenger(None)).await?;
        unit.repository::<Flight>().update(&"AA".to_owned(), Flight::patch().taken(9)).await
    });
    unit.await.expect("it queues behind");
    let flights = pair.kv.repository::<Flight>();
    for taken in 10..20 {
        let patch = Flight::patch().taken(taken);
        let _ = flights.update(&"AA".to_owned(), patch).await.expect("it queues behind");
    }
    assert_eq!(pair.drain().await.dead_letters, 12);
    assert_eq!(durable(&pair).await, (vec![flight(0)], vec![]));
}

async fn many_at_once_lose_no_update(pair: Pair) {
    const TASKS: u16 = 100;
    with_flight(&pair).await;
    let drainer = pair.spawn_drainer();
    let (tries, all_have_read) =
        (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(TASKS.into())));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (kv, tries) = (pair.kv.clone(), Arc::clone(&tries));
        let all_have_read = Arc::clone(&all_have_read);
        tasks.spawn(async move {
            loop {
                let unit = kv.transaction(async |unit| {
                    let is_first = tries.fetch_add(1, Ordering::Relaxed) < u32::from(TASKS);
                    let taken = take(&unit, number.cast_signed()).await;
                    if is_first {
                        all_have_read.wait().await;
                    }
                    taken
                });
                match unit.await {
                    Err(Error::Conflict { .. }) => {}
                    other => return other.map(|committed| committed.value),
                }
            }
        });
    }
    let mut seen: Vec<i32> =
        tasks.join_all().await.into_iter().map(|taken| taken.expect("a unit")).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=i32::from(TASKS)).collect::<Vec<_>>(), "each has seen another number");
    drainer.shutdown().await.expect("everything can be drained");
    assert_eq!(
        durable(&pair).await,
        (vec![flight(TASKS.into())], (0..TASKS.cast_signed()).collect())
    );
}

/// Two rows always add up to the same for whoever reads both in one unit.
async fn what_was_read_is_so_in_the_end(pair: Pair) {
    let kv = pair.kv.clone();
    let _ = kv.repository::<Flight>().create(&flight(0)).await.expect("a new row");
    let _ = kv.repository::<Seat>().create(&seat(1)).await.expect("a new row");
    let writer = kv.clone();
    let writes = tokio::spawn(async move {
        for taken in 1..300 {
            let written = writer.transaction(async |unit| {
                let flights = unit.repository::<Flight>();
                flights.update(&"AA".to_owned(), Flight::patch().taken(taken)).await?;
                let patch = Seat::patch().passenger(Some(taken.to_string()));
                unit.repository::<Seat>().update(&id(1), patch).await
            });
            written.await.expect("a unit");
        }
    });
    let mut read = 0;
    while !writes.is_finished() {
        let both = kv.transaction(async |unit| {
            let taken = unit.repository::<Flight>().get_by_id(&"AA".to_owned()).await?.taken;
            let seat = unit.repository::<Seat>().get_by_id(&id(1)).await?;
            Ok::<_, Error>((taken, seat.passenger))
        });
        match both.await {
            Ok(both) => {
                let (taken, passenger) = both.value;
                let expected = (taken > 0).then(|| taken.to_string());
                assert_eq!(passenger, expected, "half of a unit was seen");
                read += 1;
            }
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    writes.await.expect("no panic");
    assert!(read > 0);
}

async fn a_counter_that_overflows_leaves_nothing(pair: Pair) {
    with_flight(&pair).await;
    let id = "AA".to_owned();
    let counted = pair.kv.transaction(async |unit| {
        let flights = unit.repository::<Flight>();
        flights.increment(&id, |flight| flight.taken, -3).await?;
        unit.repository::<Seat>().create(&seat(1)).await?;
        flights.increment(&id, |flight| flight.taken, i64::from(i32::MIN)).await
    });
    let error = counted.await.expect_err("it is full");
    assert!(matches!(error, Error::Overflow { field: "taken", .. }), "{error}");
    let absent = pair.kv.transaction(async |unit| {
        unit.repository::<Flight>().increment(&"BB".to_owned(), |flight| flight.taken, 1).await
    });
    assert!(absent.await.expect_err("there is none").is_not_found());
    pair.drain().await;
    assert_eq!(durable(&pair).await, (vec![flight(0)], vec![]));
}
