//! Panics between any two steps: a worker is started again, and what a replay has left half done is
//! finished. In a process of its own and one after the other, because failpoints are the process's.

use std::time::{Duration, Instant};

use kv_runtime::{DeadLetterFilter, Status};
use kv_tests::models::{Account, Booking, Flight, Seat};
use kv_tests::pair::Pair;

/// Longer than anything takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_a_panic_leaves_half_done_is_finished() {
    for pair in [Pair::memory().await, Pair::servers().await] {
        a_worker_that_panics_goes_on(&pair).await;
    }
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE accounts ADD CONSTRAINT not_negative CHECK (revision >= 0)").await;
    for (id, point) in ["after_attempt", "before_isolated_commit"].into_iter().enumerate() {
        a_batch_with_a_refusal_is_whole_or_not_there(&pair, id as i64 * 10, point).await;
    }
    for (id, point) in ["after_release", "after_let_go"].into_iter().enumerate() {
        for is_at_work in [false, true] {
            let id = 100 + 10 * id as i64 + i64::from(is_at_work);
            a_replay_is_finished_by_a_drainer(&pair, id, point, is_at_work).await;
        }
    }
    only_the_row_with_a_letter_is_held_where_a_unit_is_settled_again().await;
}

async fn a_worker_that_panics_goes_on(pair: &Pair) {
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    fail::cfg("after_read", "1*panic").expect("a failpoint");
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("another try succeeds");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert_eq!((status.panics, status.undrained, status.entries_drained), (1, 0, 1));
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows").len(), 1);
}

/// With a revision that PostgreSQL will refuse.
fn poison(id: i64) -> Account {
    Account { id, revision: -1, note: None, active: true }
}

async fn a_batch_with_a_refusal_is_whole_or_not_there(pair: &Pair, first: i64, point: &str) {
    let accounts = pair.kv.repository::<Account>();
    for id in first..first + 5 {
        let row = Account { revision: id - first, ..poison(id) };
        let _ = accounts.create(&row).await.expect("a new row");
    }
    let _ = accounts.create(&poison(first + 5)).await.expect("Redis knows of no check");
    fail::cfg(point, "1*panic").expect("a failpoint");
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("another try succeeds");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert_eq!((status.panics, status.undrained), (1, 0), "{point}");
    let filter = DeadLetterFilter::new().row::<Account>(&(first + 5)).expect("an id");
    assert_eq!(pair.kv.dead_letters().list(&filter).await.expect("letters").len(), 1, "{point}");
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    assert_eq!(rows.iter().filter(|row| row.id >= first).count(), 5, "{point}");
}

/// By one that is idle meanwhile, or by the next one.
async fn a_replay_is_finished_by_a_drainer(
    pair: &Pair,
    id: i64,
    point: &'static str,
    is_at_work: bool,
) {
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&poison(id)).await.expect("Redis knows of no check");
    pair.drain().await;
    assert_eq!(accounts.status(&id).await.expect("a status"), Status::Held);
    pair.sql("ALTER TABLE accounts DROP CONSTRAINT not_negative").await;
    let mut drainer = is_at_work.then(|| pair.spawn_drainer());
    if let Some(drainer) = &drainer {
        drainer.flush().await.expect("nothing is left");
    }
    fail::cfg(point, "1*panic").expect("a failpoint");
    let letters = pair.kv.dead_letters();
    let filter = DeadLetterFilter::new().row::<Account>(&id).expect("an id");
    let replay = tokio::spawn({
        let (letters, filter) = (letters.clone(), filter.clone());
        async move { letters.replay(&filter).await }
    });
    assert!(replay.await.is_err_and(|error| error.is_panic()), "{point}");

    // It is committed, and not to be replayed again.
    assert!(letters.list(&filter).await.expect("letters").is_empty(), "{point}");
    // A drainer that has nothing to drain finishes it when it takes the partitions over, or looks
    // at them again.
    let drainer = drainer.take().unwrap_or_else(|| pair.spawn_drainer());
    let started = Instant::now();
    loop {
        let status = accounts.status(&id).await.expect("a status");
        let left = pair.texts("SELECT id::text AS value FROM kv_dead_letters WHERE released").await;
        if status == Status::Clean && left.is_empty() {
            break;
        }
        assert!(started.elapsed() < WAIT_MAX, "{point}: {status:?}, {left:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drainer.shutdown().await.expect("nothing is left");
    let _ = accounts.update(&id, Account::patch().revision(1)).await.expect("it is let go");
    pair.drain().await;
    let add = "ALTER TABLE accounts ADD CONSTRAINT not_negative CHECK (revision >= 0) NOT VALID";
    pair.sql(add).await;
}

/// A unit changes two rows, one of which gets a dead letter later; and between the commit of that
/// and its settling the worker panics.
async fn only_the_row_with_a_letter_is_held_where_a_unit_is_settled_again() {
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE flights ADD CHECK (taken < 5)").await;
    let seat = Seat { flight: "AA".into(), number: 1, passenger: None };
    let unit = pair.kv.transaction(async |unit| {
        let flight = Flight { flight: "AA".into(), taken: 0 };
        unit.repository::<Flight>().create(&flight).await?;
        unit.repository::<Seat>().create(&seat).await
    });
    unit.await.expect("a unit");
    let flights = pair.kv.repository::<Flight>();
    let id = "AA".to_owned();
    let _ = flights.update(&id, Flight::patch().taken(7)).await.expect("Redis knows of no check");
    fail::cfg("after_commit", "1*panic").expect("a failpoint");
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("it is settled again");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert_eq!((status.panics, status.undrained), (1, 0));
    assert_eq!(flights.status(&id).await.expect("a status"), Status::Held);
    let seats = pair.kv.repository::<Seat>();
    let status = seats.status(&("AA".to_owned(), 1)).await.expect("a status");
    assert_eq!(status, Status::Clean);
}
