//! Entries of one key take effect in queue order, whatever is batched, folded or retried.

use std::collections::BTreeMap;

use kv_runtime::{DeadLetterFilter, Error, Repository};
use kv_tests::contract;
use kv_tests::models::{Account, Counter, Seat};
use kv_tests::pair::Pair;

contract!(any_sequence_ends_in_its_last_state, deleting_and_creating_again_ends_created);

/// Batches of one entry fold nothing; the others cut the sequences anywhere.
const BATCH_ENTRIES: [usize; 4] = [1, 2, 13, 5_000];
const KEYS: i64 = 6;

/// What a sequence should have come to.
type Expected = BTreeMap<i64, Counter>;

async fn any_sequence_ends_in_its_last_state(mut pair: Pair) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for (round, batch_entries) in (0..).zip(BATCH_ENTRIES) {
        pair = pair.with(|settings| settings.drain.batch_entries = batch_entries).await;
        for is_drained_meanwhile in [false, true] {
            let first_id = round * 1_000 + i64::from(is_drained_meanwhile) * 100;
            let drainer = is_drained_meanwhile.then(|| pair.spawn_drainer());
            let counters = pair.kv.repository::<Counter>();
            let mut expected = Expected::new();
            for total in 0..150 {
                let id = first_id + random.i64(0..KEYS);
                step(&counters, &mut expected, id, total, &mut random).await;
                if let (Some(drainer), 0) = (&drainer, random.u8(0..20)) {
                    drainer.flush().await.expect("it drains");
                    // An answer either way: a row that is clean by now is evicted.
                    let _ = counters.invalidate(&id).await;
                }
            }
            match drainer {
                Some(drainer) => drainer.shutdown().await.expect("everything can be drained"),
                None => pair.drain().await,
            };
            let rows = pair.kv.durable_rows::<Counter>().await.expect("the rows");
            let rows: Expected = rows
                .into_iter()
                .filter(|row| (first_id..first_id + KEYS).contains(&row.id))
                .map(|row| (row.id, row))
                .collect();
            assert_eq!(rows, expected, "batches of {batch_entries}, {is_drained_meanwhile}");
        }
    }
}

/// Makes one change, which must be refused where there is, or is not, a row for it.
async fn step(
    counters: &Repository<Counter>,
    expected: &mut Expected,
    id: i64,
    total: i64,
    random: &mut fastrand::Rng,
) {
    let row = Counter { id, total, r#type: format!("type {total}") };
    let before = expected.get_mut(&id);
    match random.u8(0..8) {
        0..=1 => match (counters.create(&row).await, before) {
            (Ok(_), None) => drop(expected.insert(id, row)),
            (Err(Error::Duplicate { .. }), Some(_)) => {}
            (outcome, before) => panic!("create: {outcome:?} of {before:?}"),
        },
        2 => {
            let _ = counters.upsert(&row).await.expect("a row");
            expected.insert(id, row);
        }
        3 => match (counters.delete(&id).await, before) {
            (Ok(_), Some(_)) => drop(expected.remove(&id)),
            (Err(Error::NotFound { .. }), None) => {}
            (outcome, before) => panic!("delete: {outcome:?} of {before:?}"),
        },
        choice => {
            let patch = match choice {
                4..=5 => Counter::patch().total(total),
                6 => Counter::patch().r#type(row.r#type.clone()),
                _ => Counter::patch().total(total).r#type(row.r#type.clone()),
            };
            match (counters.update(&id, patch).await, before) {
                (Ok(_), Some(before)) => {
                    if choice != 6 {
                        before.total = total;
                    }
                    if choice >= 6 {
                        before.r#type = row.r#type;
                    }
                }
                (Err(Error::NotFound { .. }), None) => {}
                (outcome, before) => panic!("update: {outcome:?} of {before:?}"),
            }
        }
    }
    let read = counters.find_by_id(&id).await.expect("an answer");
    assert_eq!(read.as_ref(), expected.get(&id));
}

async fn deleting_and_creating_again_ends_created(mut pair: Pair) {
    for (round, batch_entries) in (0..).zip(BATCH_ENTRIES) {
        pair = pair.with(|settings| settings.drain.batch_entries = batch_entries).await;
        let counters = pair.kv.repository::<Counter>();
        let row = |total| Counter { id: round, total, r#type: String::new() };
        let _ = counters.create(&row(0)).await.expect("a new row");
        for (total, is_drained) in [(1, false), (2, true), (3, false), (4, true)] {
            if is_drained {
                pair.drain().await;
            }
            let _ = counters.delete(&round).await.expect("a row");
            let _ = counters.create(&row(total)).await.expect("a new row");
        }
        pair.drain().await;
        let rows = pair.kv.durable_rows::<Counter>().await.expect("the rows");
        let rows: Vec<Counter> = rows.into_iter().filter(|row| row.id == round).collect();
        assert_eq!(rows, [row(4)], "batches of {batch_entries}");
    }
}

/// Grouped by kind, none of these can be applied: each fails until it is tried in queue order.
#[tokio::test]
async fn unique_values_are_swapped_and_handed_on_in_one_batch() {
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE seats ADD UNIQUE (flight, passenger)").await;
    let seats = pair.kv.repository::<Seat>();
    let id = |number: i16| ("AA".to_owned(), number);
    let seat = |number, passenger: &str| {
        let passenger = (!passenger.is_empty()).then(|| passenger.to_owned());
        Seat { flight: "AA".to_owned(), number, passenger }
    };
    let names = ["", "Ada", "Ben", "Cy", "Di", "Eve"];
    for number in 1..=5_i16 {
        let row = seat(number, names[usize::from(number.unsigned_abs())]);
        let _ = seats.create(&row).await.expect("a new row");
    }
    pair.drain().await;
    let put = async |number: i16, name: &str| {
        let passenger = (!name.is_empty()).then(|| name.to_owned());
        let patch = Seat::patch().passenger(passenger);
        let _ = seats.update(&id(number), patch).await.expect("a row");
    };

    // 1 and 2 swap.
    put(1, "").await;
    put(2, "Ada").await;
    put(1, "Ben").await;
    // 3 hands on to a row that is patched before the one it takes from, in the table's order.
    put(3, "").await;
    put(5, "Cy").await;
    put(3, "Eve").await;
    // 4 is deleted, its passenger goes to a new row, and a new 4 comes.
    let _ = seats.delete(&id(4)).await.expect("a row");
    let _ = seats.create(&seat(6, "Di")).await.expect("a new row");
    let _ = seats.create(&seat(4, "Flo")).await.expect("a new row");
    // A name goes through three rows, and one of them is not there any more in the end.
    put(6, "").await;
    let _ = seats.create(&seat(7, "Di")).await.expect("a new row");
    let _ = seats.delete(&id(7)).await.expect("a row");
    put(6, "Di").await;

    let status = pair.drain().await;
    assert_eq!((status.batches, status.entries_drained, status.undrained), (1, 13, 0));
    let mut rows = pair.kv.durable_rows::<Seat>().await.expect("the rows");
    rows.sort_by_key(|row| row.number);
    let expected = [(1, "Ben"), (2, "Ada"), (3, "Eve"), (4, "Flo"), (5, "Cy"), (6, "Di")];
    assert_eq!(rows, expected.map(|(number, name)| seat(number, name)));
}

/// Children in other partitions than their parents, and on another queue.
const CHILDREN: &str = "ALTER TABLE counters ADD CONSTRAINT of_account \
                        FOREIGN KEY (total_count) REFERENCES accounts (id)";

fn child(id: i64, parent: i64) -> Counter {
    Counter { id, total: parent, r#type: "child".to_owned() }
}

#[tokio::test]
async fn a_child_waits_for_its_parent_in_another_partition() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.batch_entries = 10).await;
    pair.sql(CHILDREN).await;
    let (accounts, counters) = (pair.kv.repository::<Account>(), pair.kv.repository::<Counter>());
    for id in 0..200 {
        let account = Account { id, revision: 1, note: None, active: true };
        let _ = accounts.create(&account).await.expect("a new row");
        let _ = counters.create(&child(id, id)).await.expect("a new row");
    }
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (400, 0));
    // And the other way round: parents go after their children.
    for id in 0..200 {
        let _ = counters.delete(&id).await.expect("a row");
        let _ = accounts.delete(&id).await.expect("a row");
    }
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (400, 0));
    assert!(pair.kv.durable_rows::<Account>().await.expect("the rows").is_empty());
}

/// Orphans in several partitions wait for each other, and yet come to an end.
#[tokio::test]
async fn a_child_without_a_parent_is_refused_in_the_end() {
    let pair = Pair::servers().await;
    pair.sql(CHILDREN).await;
    let counters = pair.kv.repository::<Counter>();
    for id in 0..20 {
        let _ = counters.create(&child(id, 1_000 + id)).await.expect("a new row");
    }
    let account = Account { id: 7, revision: 1, note: None, active: true };
    let _ = pair.kv.repository::<Account>().create(&account).await.expect("a new row");
    let _ = counters.create(&child(20, 7)).await.expect("a new row");
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (22, 20));
    let filter = DeadLetterFilter::new().error("23503");
    assert_eq!(pair.kv.dead_letters().list(&filter).await.expect("letters").len(), 20);
    let rows = pair.kv.durable_rows::<Counter>().await.expect("the rows");
    assert_eq!(rows, [child(20, 7)]);
    let waits = "SELECT waits_at AS value FROM kv_offsets WHERE waits_at IS NOT NULL";
    assert!(pair.texts(waits).await.is_empty());
}
