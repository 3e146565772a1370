//! Every type of field comes back bit for bit, from the Redis hash, from the entry by way of the
//! table, and from the table by way of a read.
//!
//! `ROUND_TRIP_CASES` is the number of random batches of each test, 6 by default.

mod round_trip {
    pub(crate) mod rows;
    pub(crate) mod strategies;
}

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use kv_runtime::{KvModel, Repository};
use kv_tests::models::{Everything, Wide};
use kv_tests::pair::Pair;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestError, TestRunner};
use round_trip::rows::{edge_cases, normal, patch_of, written_by_hand};
use round_trip::strategies::{everything, wide};
use tokio::runtime::Runtime;

/// Rows of a random batch; some of them are created, the others patched.
const ROWS: usize = 40;

macro_rules! over_both_pairs {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(
                #[test]
                fn $test() {
                    super::$test(kv_tests::pair::Pair::memory);
                }
            )*
        }

        mod servers {
            $(
                #[test]
                fn $test() {
                    super::$test(kv_tests::pair::Pair::servers);
                }
            )*
        }
    };
}

over_both_pairs!(random_rows_of_every_type, edge_cases_of_every_type, random_rows_of_128_columns);

/// Two rows are the same if their fields are, bit for bit: this shows `-0.0`, the scale of a
/// decimal and the type of a JSON number, and takes one NaN for another.
#[track_caller]
fn assert_same<M: Debug>(found: &M, expected: &M, place: &str) {
    let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
    if found != expected {
        let lines = found.lines().zip(expected.lines());
        let differing = lines.filter(|(found, expected)| found != expected);
        let differing: Vec<String> = differing
            .take(5)
            .map(|(found, expected)| format!("{} is not {}", found.trim(), expected.trim()))
            .collect();
        panic!("from {place}: {}", differing.join("; "));
    }
}

/// Takes rows by way of hash, entry and table, created and as patches of other rows.
async fn check<M, P>(pair: &Pair, rows: &[M], patch_of: P)
where
    M: KvModel<Id: Hash + Eq> + Clone + Debug,
    P: Fn(&M) -> (M, M::Patch),
{
    let repository: Repository<M> = pair.kv.repository();
    for result in repository.create_many(rows).await {
        let _ = result.expect("a new row");
    }
    check_places(pair, &repository, rows).await;

    // Each row becomes like the one behind it, in all fields but the id.
    let mut patched = Vec::with_capacity(rows.len());
    for (row, other) in rows.iter().zip(rows.iter().cycle().skip(1)) {
        let (_, patch) = patch_of(other);
        let _ = repository.update(&row.row_id(), patch).await.expect("a row");
        patched.push((row.row_id(), other.row_id()));
    }
    pair.drain().await;
    let contents: HashMap<M::Id, &M> = rows.iter().map(|row| (row.row_id(), row)).collect();
    for (id, other) in patched {
        let found = repository.get_by_id(&id).await.expect("the row");
        let (found, _) = patch_of(&found);
        let (expected, _) = patch_of(contents[&other]);
        assert_same(&found, &expected, "a patched hash");
        repository.invalidate(&id).await.expect("a clean row");
        let (found, _) = patch_of(&repository.get_by_id(&id).await.expect("the row"));
        assert_same(&found, &expected, "a patched row of the table");
    }
}

async fn check_places<M>(pair: &Pair, repository: &Repository<M>, rows: &[M])
where
    M: KvModel<Id: Hash + Eq> + Clone + Debug,
{
    let ids: Vec<M::Id> = rows.iter().map(KvModel::row_id).collect();
    let compare = |found: Vec<Option<M>>, place| {
        for (found, expected) in found.iter().zip(rows) {
            assert_same(found.as_ref().expect("the row"), expected, place);
        }
    };
    compare(repository.get_many(&ids).await.expect("the rows"), "the hash");
    pair.drain().await;
    let table = pair.kv.durable_rows::<M>().await.expect("the rows");
    let mut table: HashMap<M::Id, M> = table.into_iter().map(|row| (row.row_id(), row)).collect();
    compare(ids.iter().map(|id| table.remove(id)).collect(), "the table");
    for id in &ids {
        repository.invalidate(id).await.expect("a clean row");
    }
    compare(repository.get_many(&ids).await.expect("the rows"), "the table by way of a read");
    compare(repository.get_many(&ids).await.expect("the rows"), "where that read has put them");
}

/// A row without its id, so that rows with other ids can be compared; and the patch to it.
fn without_id(row: &Everything) -> (Everything, <Everything as KvModel>::Patch) {
    (Everything { id: uuid::Uuid::nil(), ..row.clone() }, patch_of(row))
}

fn run<S>(strategy: S, test: impl Fn(S::Value))
where
    S: Strategy<Value: Debug>,
{
    let cases = std::env::var("ROUND_TRIP_CASES").ok().map(|cases| cases.parse());
    let config = Config {
        cases: cases.map_or(6, |cases| cases.expect("`ROUND_TRIP_CASES` is a number")),
        failure_persistence: None,
        // The reason names the field and its value; there is nothing smaller to find.
        max_shrink_iters: 0,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    match run {
        Ok(()) => {}
        // Without the rows: they fill pages, and the reason names the fields.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(error) => panic!("{error}"),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn random_rows_of_every_type<F: Future<Output = Pair>>(pair: fn() -> F) {
    let runtime = runtime();
    let pair = runtime.block_on(pair());
    run(proptest::collection::vec(everything(), 2..=ROWS), |rows| {
        let rows: Vec<Everything> = rows.into_iter().map(normal).collect();
        runtime.block_on(check(&pair, &rows, without_id));
    });
}

fn edge_cases_of_every_type<F: Future<Output = Pair>>(pair: fn() -> F) {
    runtime().block_on(async {
        let rows: Vec<Everything> = edge_cases().into_iter().map(normal).collect();
        check(&pair().await, &rows, without_id).await;
    });
}

fn random_rows_of_128_columns<F: Future<Output = Pair>>(pair: fn() -> F) {
    let runtime = runtime();
    let pair = runtime.block_on(pair());
    let next_id = std::cell::Cell::new(0);
    run(proptest::collection::vec(wide(), 2..=ROWS), |mut rows: Vec<Wide>| {
        for row in &mut rows {
            row.id = next_id.replace(next_id.get() + 1);
        }
        let without_id = |row: &Wide| (Wide { id: 0, ..row.clone() }, row.to_patch());
        runtime.block_on(check(&pair, &rows, without_id));
    });
}

/// What others have put into the table is read as it is.
#[tokio::test]
async fn rows_that_were_written_by_hand_are_read() {
    let pair = Pair::servers().await;
    let (sql, expected) = written_by_hand();
    pair.sql(sql).await;
    let repository = pair.kv.repository::<Everything>();
    for row in &expected {
        let found = repository.get_by_id(&row.id).await.expect("the row");
        assert_same(&found, row, "the table");
        let found = repository.get_by_id(&row.id).await.expect("the row");
        assert_same(&found, row, "where the first read has put it");
        // And written back as they were read.
        let _ = repository.update(&row.id, patch_of(&found)).await.expect("a row");
    }
    pair.drain().await;
    for row in &expected {
        repository.invalidate(&row.id).await.expect("a clean row");
        let found = repository.get_by_id(&row.id).await.expect("the row");
        assert_same(&found, row, "the table, once more");
    }
}
