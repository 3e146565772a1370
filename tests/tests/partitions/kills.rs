//! A change of the number of partitions whose process is killed, or sleeps, at each of its steps; and
//! drainers that are killed, or sleep, meanwhile.

use std::time::Duration;

use kv_runtime::StorageScheme;
use kv_tests::audit;
use kv_tests::drain_process::{DrainCommand, DrainProcess};
use kv_tests::models::Account;
use kv_tests::pair::Pair;
use kv_tests::writers::{Ledger, Writers};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drain_process");

/// The steps of a change, and how often each is passed before.
const STEPS: [(&str, usize); 7] = [
    ("after_close", 1),
    ("after_drain", 1),
    ("after_drop_rows", 1),
    ("before_change_layout", 1),
    ("after_change_layout", 1),
    ("after_move_on", 1),
    ("after_open", 3),
];
/// The numbers of partitions, one after the other.
const COUNTS: [u16; 7] = [32, 3, 1, 8, 16, 2, 64];

/// Writers at work and a process that drains, over a pair whose entries are audited.
struct Course {
    pair: Pair,
    drainer: DrainProcess,
    writers: Writers,
}

impl Course {
    async fn start() -> Self {
        let pair = Pair::servers().await;
        // A transaction may rest longer than a drainer's; what a killed one had a claim on is free
        // soon.
        let pair = pair.with(|settings| settings.drain.lease = Duration::from_secs(2)).await;
        pair.sql(audit::TABLES).await;
        let drainer = drain_process(&pair).await;
        let writers = Writers::start(&pair, &mut fastrand::Rng::new()).await;
        Self { pair, drainer, writers }
    }

    /// Nothing may be lost, doubled or out of order.
    async fn end(self) {
        let ledger = self.writers.stop().await;
        self.drainer.ends().await;
        check(&self.pair, &ledger).await;
    }
}

async fn change(pair: &Pair, count: u16) {
    pair.kv.change_partitions::<Account>(count).await.expect("a drainer is at work");
}

async fn drain_process(pair: &Pair) -> DrainProcess {
    let mut process = DrainCommand::new(PROGRAM, pair).spawn();
    process.drains().await;
    process
}

async fn check_reads(pair: &Pair, ledger: &Ledger) {
    let accounts = pair.kv.repository::<Account>();
    for (id, expected) in &ledger.rows {
        assert_eq!(&accounts.find_by_id(id).await.expect("an answer"), expected, "account {id}");
    }
}

/// The ledger of what was acknowledged is what Redis and PostgreSQL have, and every entry took effect
/// once and in order.
async fn check(pair: &Pair, ledger: &Ledger) {
    check_reads(pair, ledger).await;
    pair.drain().await;
    ledger.check_rows(pair).await;
    audit::check(pair, ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_killed_loses_nothing_and_is_finished() {
    let course = Course::start().await;
    let Course { pair, writers, .. } = &course;
    let mut before = 8;
    for (place, ((point, times), count)) in STEPS.into_iter().zip(COUNTS).enumerate() {
        let command = DrainCommand::new(PROGRAM, pair).changes_partitions_to(count);
        command.dies_at(point, times).spawn().dies_by_itself().await;
        // Every second time it is given up first.
        if place % 2 == 1 {
            change(pair, before).await;
            writers.go_on(20).await;
        }
        change(pair, count).await;
        assert_eq!(pair.kv.partitions::<Account>().await.expect("an answer"), count);
        writers.go_on(50).await;
        before = count;
    }
    course.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drainers_that_are_killed_or_sleep_during_a_change_lose_nothing() {
    let course = Course::start().await;
    let Course { pair, drainer: sleeper, writers } = &course;
    let mut other = drain_process(pair).await;
    writers.go_on(50).await;
    sleeper.signal("STOP").await;
    for count in COUNTS {
        let changed = pair.kv.change_partitions::<Account>(count);
        let killed = async {
            // Wherever it is by then.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
            let next = drain_process(pair).await;
            std::mem::replace(&mut other, next).kill().await;
        };
        let (changed, ()) = tokio::join!(changed, killed);
        changed.expect("another drainer goes on");
        writers.go_on(50).await;
    }
    // It has the leases and the offsets of partitions that the queue has no more.
    sleeper.signal("CONT").await;
    writers.go_on(200).await;
    other.ends().await;
    course.end().await;
}

/// What a change has begun and another has overtaken, it does not spoil when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_has_slept_changes_nothing_more() {
    let course = Course::start().await;
    let Course { pair, writers, .. } = &course;
    for (point, count) in
        [("after_close", 32), ("after_drop_rows", 3), ("before_change_layout", 16)]
    {
        writers.go_on(20).await;
        let sleeper = DrainCommand::new(PROGRAM, pair).named("sleeper");
        let mut sleeper = sleeper.changes_partitions_to(count).pauses_at(point, 1).spawn();
        sleeper.reaches_its_point().await;
        // It loses what keeps others from a change; and where it has locked offsets, these.
        let locks = match point {
            "before_change_layout" => "TRUE",
            _ => "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')",
        };
        let sql = format!(
            "SELECT pg_terminate_backend(pid)::text AS value FROM pg_stat_activity \
             WHERE application_name = 'sleeper' AND {locks}"
        );
        assert!(!pair.texts(&sql).await.is_empty(), "it was there");
        change(pair, count + 1).await;
        writers.go_on(20).await;
        sleeper.signal("CONT").await;
        sleeper.fails().await;
        assert_eq!(pair.kv.partitions::<Account>().await.expect("an answer"), count + 1);
        writers.go_on(20).await;
    }
    course.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_redis_alone_has_survive_a_change_that_is_killed() {
    let Course { pair, drainer, writers } = Course::start().await;
    let switched = pair.kv.switch_scheme::<Account>(StorageScheme::RedisOnly).await;
    switched.expect("a drainer is at work");
    let steps = [
        ("after_load_batch", 1),
        ("before_change_layout", 1),
        ("after_change_layout", 1),
        ("after_move_on", 1),
    ];
    for (step, count) in steps.into_iter().zip(COUNTS) {
        writers.go_on(50).await;
        let command = DrainCommand::new(PROGRAM, &pair).changes_partitions_to(count);
        command.dies_at(step.0, step.1).spawn().dies_by_itself().await;
        change(&pair, count + 1).await;
    }
    let ledger = writers.stop().await;
    let switched = pair.kv.switch_scheme::<Account>(StorageScheme::WriteBehind).await;
    switched.expect("a drainer is at work");
    drainer.ends().await;
    check_reads(&pair, &ledger).await;
    ledger.check_rows(&pair).await;
}
