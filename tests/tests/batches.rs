//! `update_many` and `delete_many`: each row by itself, and in few calls.

use std::time::Duration;

use kv_runtime::{Error, KvModel, OnFull, Receipt, Repository};
use kv_tests::contract;
use kv_tests::models::{Counter, Place};
use kv_tests::pair::{After, Pair};

contract!(
    under direct schemes:
    many_rows_are_updated_or_refused_one_by_one,
    many_rows_are_deleted_or_refused_one_by_one,
    patches_of_a_row_have_their_order,
    a_value_that_cannot_be_stored_is_the_error_of_its_row,
    nothing_is_written_for_nothing,
);

const ROWS: i64 = 100;

fn counter(id: i64) -> Counter {
    Counter { id, total: 0, r#type: "a".to_owned() }
}

/// Creates counters, a third of which are then where `after` says, a third in PostgreSQL alone and
/// a third in both.
async fn create(pair: &Pair) -> Repository<Counter> {
    let counters = pair.kv.repository::<Counter>();
    let rows: Vec<Counter> = (0..ROWS).map(counter).collect();
    for (id, state) in (0..ROWS).zip(After::ALL.into_iter().cycle()) {
        if state != After::Write {
            let _ = counters.create(&rows[id as usize]).await.expect("a new row");
        }
    }
    pair.drain().await;
    for (id, state) in (0..ROWS).zip(After::ALL.into_iter().cycle()) {
        match state {
            After::Write => drop(counters.create(&rows[id as usize]).await.expect("a new row")),
            After::Drain => {}
            After::Eviction => counters.invalidate(&id).await.expect("a clean row"),
        }
    }
    counters
}

/// The ids to change: all that are there, with two that are not.
fn ids() -> Vec<i64> {
    let mut ids: Vec<i64> = (0..ROWS).rev().collect();
    ids.insert(10, 1_000);
    ids.push(2_000);
    ids
}

fn check(ids: &[i64], answers: &[Result<Receipt, Error>]) {
    assert_eq!(answers.len(), ids.len());
    for (id, answer) in ids.iter().zip(answers) {
        match answer {
            Ok(receipt) => assert!(*id < ROWS && receipt.version > 0, "{id}"),
            Err(Error::NotFound { id: absent, .. }) => {
                assert_eq!(*absent, id.to_string());
                assert!(*id >= ROWS, "{id} is not found");
            }
            Err(error) => panic!("{id}: {error}"),
        }
    }
}

async fn many_rows_are_updated_or_refused_one_by_one(pair: Pair) {
    let counters = create(&pair).await;
    let ids = ids();
    let patches: Vec<_> = ids.iter().map(|&id| (id, Counter::patch().total(id * 2))).collect();
    check(&ids, &counters.update_many(&patches).await);
    for drained in [false, true] {
        if drained {
            pair.drain().await;
            let rows = pair.kv.durable_rows::<Counter>().await.expect("the rows");
            assert!(rows.iter().all(|row| row.total == row.id * 2), "{rows:?}");
        }
        let rows = counters.get_many(&ids).await.expect("the rows");
        for (id, row) in ids.iter().zip(rows) {
            let expected = (*id < ROWS).then(|| Counter { total: id * 2, ..counter(*id) });
            assert_eq!(row, expected);
        }
    }
}

async fn many_rows_are_deleted_or_refused_one_by_one(pair: Pair) {
    let counters = create(&pair).await;
    let ids = ids();
    check(&ids, &counters.delete_many(&ids).await);
    assert!(counters.get_many(&ids).await.expect("no rows").iter().all(Option::is_none));
    for answer in counters.delete_many(&ids).await {
        assert!(answer.expect_err("no row").is_not_found());
    }
    pair.drain().await;
    assert!(pair.kv.durable_rows::<Counter>().await.expect("the rows").is_empty());
}

/// Also where the queue is full, and each has to wait for room by itself.
async fn patches_of_a_row_have_their_order(pair: Pair) {
    let pair = pair
        .with(|settings| {
            settings.queue_capacity = 16;
            settings.partitions = 1;
            settings.on_full = OnFull::Block { timeout: Duration::from_secs(20) };
        })
        .await;
    let counters = pair.kv.repository::<Counter>();
    for id in [1, 2] {
        let _ = counters.create(&counter(id)).await.expect("a new row");
    }
    pair.drain().await;
    counters.invalidate(&1).await.expect("a clean row");
    let drainer = pair.spawn_drainer();
    let patches: Vec<_> =
        (0..ROWS).map(|number| (1 + number % 2, Counter::patch().total(number))).collect();
    for answer in counters.update_many(&patches).await {
        let _ = answer.expect("a row");
    }
    drainer.shutdown().await.expect("everything can be drained");
    for id in [1, 2] {
        let total = ROWS - 3 + id;
        assert_eq!(counters.get_by_id(&id).await.expect("the row").total, total);
    }
    let answers = counters.delete_many(&[1, 1, 2]).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(answers[1].as_ref().is_err_and(Error::is_not_found), "{answers:?}");
}

async fn a_value_that_cannot_be_stored_is_the_error_of_its_row(pair: Pair) {
    let places = pair.kv.repository::<Place>();
    let place = |name: &str| Place { region: "r".into(), name: name.into(), note: None };
    for name in ["a", "b"] {
        let _ = places.create(&place(name)).await.expect("a new row");
    }
    let patch = |note: &str| Place::patch().note(note);
    let patches = [(place("a").row_id(), patch("x\0")), (place("b").row_id(), patch("y"))];
    let answers = places.update_many(&patches).await;
    assert!(matches!(answers[0], Err(Error::Encoding { .. })), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");
    let rows = places.get_many(&[place("a").row_id(), place("b").row_id()]).await;
    let notes: Vec<_> = rows.expect("the rows").into_iter().flatten().map(|row| row.note).collect();
    assert_eq!(notes, [None, Some("y".to_owned())]);
}

async fn nothing_is_written_for_nothing(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    assert!(counters.update_many(&[]).await.is_empty());
    assert!(counters.delete_many(&[]).await.is_empty());
}
