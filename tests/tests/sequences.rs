//! Random sequences of operations do to a pair what they do to a map.
//!
//! `PROPTEST_CASES` is the number of sequences, 256 by default, and an eighth of it on servers.
//! `PROPTEST_RNG_SEED` repeats those that ended in a failure.

mod sequences {
    pub(crate) mod model;
    pub(crate) mod samples;
    pub(crate) mod system;
}

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_tests::pair::Pair;
use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestError, TestRunner};
use sequences::model::{Operation, State, operations};
use sequences::system::System;
use tokio::runtime::Runtime;

#[test]
fn any_sequence_does_in_memory_what_it_does_to_a_map() {
    check(Config::default(), 80, Pair::memory);
}

#[test]
fn any_sequence_does_on_servers_what_it_does_to_a_map() {
    let config = Config::default();
    check(Config { cases: config.cases.div_ceil(8), ..config }, 40, Pair::servers);
}

fn check(mut config: Config, operations_max: usize, open: impl AsyncFnOnce() -> Pair) {
    config.failure_persistence = None;
    // A drain that comes to no end takes seconds, each time that it is tried with less.
    config.max_shrink_time = 60_000;
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let runtime = Runtime::new().expect("a runtime");
    let pair = RefCell::new(Some(runtime.block_on(open())));
    // Large batches fold, and small ones cut the sequence anywhere.
    let sequences = (select(vec![5_000, 7, 2]), vec(operations(), 1..operations_max));
    let run = TestRunner::new(config).run(&sequences, |(batch_entries, operations)| {
        runtime.block_on(async {
            let last = pair.take().expect("the last sequence gave it back");
            let system = System { pair: emptied(last, batch_entries).await };
            let outcome = run_sequence(&system, &operations).await;
            pair.replace(Some(system.pair));
            outcome
        })
    });
    match run {
        Ok(()) => {}
        Err(TestError::Fail(reason, (batch_entries, operations))) => panic!(
            "{reason}\nin batches of {batch_entries}:\n{}PROPTEST_RNG_SEED={seed} repeats it",
            shown(&operations)
        ),
        Err(TestError::Abort(reason)) => panic!("the sequences are not made: {reason}"),
    }
}

async fn run_sequence(system: &System, operations: &[Operation]) -> TestCaseResult {
    let mut state = State::default();
    for operation in operations {
        if state.may_take(operation) {
            system.take(&mut state, operation).await?;
        }
    }
    system.check_end(&state).await
}

/// The pair without rows, entries and offsets, as a database for each sequence would take long.
async fn emptied(pair: Pair, batch_entries: usize) -> Pair {
    static TENANTS: AtomicU64 = AtomicU64::new(0);

    pair.sql(
        "TRUNCATE counters, accounts, seats, flights, kv_offsets, \
              kv_dead_letters CASCADE",
    )
    .await;
    pair.with(|settings| {
        let number = TENANTS.fetch_add(1, Ordering::Relaxed);
        settings.tenant = Some(format!("sequence{}-{number}", std::process::id()));
        settings.drain.batch_entries = batch_entries;
        // So little is drained at once or never.
        settings.drain.shutdown_timeout = Duration::from_secs(5);
    })
    .await
}

/// An operation a line.
fn shown(operations: &[Operation]) -> String {
    operations.iter().map(|operation| format!("    {operation:?}\n")).collect()
}
