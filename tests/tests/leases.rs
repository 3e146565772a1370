//! Leases, by force: drainer processes are paused, killed and stopped, and what they had a claim
//! on passes to the others in time, while nothing takes effect twice or by a wrong hand.

mod leases {
    pub(crate) mod moves;
}

use std::time::{Duration, Instant};

use kv_runtime::{CheckMode, Settings};
use kv_tests::audit;
use kv_tests::drain_process::DrainCommand;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::writers::Writers;
use leases::moves;

const PROGRAM: &str = env!("CARGO_BIN_EXE_drain_process");
const LEASE: Duration = Duration::from_millis(800);
/// A lease, and what a busy machine adds.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(4);
/// What a drainer needs to stop, two seconds, and what a busy machine adds.
const STOPPED_MAX: Duration = Duration::from_secs(3);
/// For what is not measured here.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A pair with the logs of what is done to it, and drainers with these settings.
async fn pair_with(change: impl FnOnce(&mut Settings)) -> Pair {
    let pair = Pair::servers().await.with(change).await;
    pair.sql(audit::TABLES).await;
    pair.sql(moves::TABLES).await;
    pair
}

fn drainer(pair: &Pair, name: &str) -> DrainCommand {
    DrainCommand::new(PROGRAM, pair).named(name)
}

/// Waits until as many drainers have leases, of as many partitions each.
async fn until_shares_are(redis: &RedisView, expected: &[usize]) {
    let started = Instant::now();
    loop {
        let shares: Vec<usize> = redis.leases().await.into_values().collect();
        if shares == expected {
            return;
        }
        assert!(started.elapsed() < WAIT_MAX, "{shares:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_drained(pair: &Pair) {
    let queues = pair.kv.queues().model::<Account>();
    let drained = tokio::time::timeout(WAIT_MAX, queues.wait_until_drained()).await;
    drained.expect("it is drained in time").expect("Redis answers");
}

async fn write_accounts(pair: &Pair, ids: std::ops::Range<i64>) {
    let accounts = pair.kv.repository::<Account>();
    let rows: Vec<Account> =
        ids.map(|id| Account { id, revision: 1, note: None, active: true }).collect();
    assert!(accounts.create_many(&rows).await.iter().all(Result::is_ok));
}

async fn count_accounts(pair: &Pair) -> usize {
    pair.kv.durable_rows::<Account>().await.expect("the rows").len()
}

/// What befalls a drainer under load.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Paused,
    PausedAt(&'static str),
    Killed,
    KilledAt(&'static str),
}

/// Two drainers share the load; whatever befalls one of them, the other carries everything after
/// a lease, and a paused one that comes back has its share again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_paused_or_killed_drainer_held_is_taken_over_within_a_lease() {
    let pair = pair_with(|settings| {
        settings.drain.lease = LEASE;
        settings.drain.batch_entries = 40;
    });
    let pair = pair.await;
    let redis = RedisView::of(&pair).await;
    let mut random = fastrand::Rng::new();
    let writers = Writers::start(&pair, &mut random).await;
    let other = drainer(&pair, "other").spawn();
    until_shares_are(&redis, &[8]).await;

    for fate in [
        Fate::PausedAt("after_move_offsets"),
        Fate::PausedAt("before_commit"),
        Fate::KilledAt("before_commit"),
        Fate::Paused,
        Fate::Killed,
        Fate::Paused,
    ] {
        let command = drainer(&pair, "victim");
        let victim = match fate {
            Fate::PausedAt(point) | Fate::KilledAt(point) => {
                let command = match fate {
                    Fate::PausedAt(_) => command.pauses_at(point, random.usize(1..20)),
                    _ => command.dies_at(point, random.usize(1..20)),
                };
                let mut victim = command.spawn();
                victim.reaches_its_point().await;
                victim
            }
            Fate::Paused | Fate::Killed => {
                let victim = command.spawn();
                until_shares_are(&redis, &[4, 4]).await;
                tokio::time::sleep(Duration::from_micros(random.u64(0..50_000))).await;
                victim.signal(if matches!(fate, Fate::Paused) { "STOP" } else { "KILL" }).await;
                victim
            }
        };
        let started = Instant::now();
        until_shares_are(&redis, &[8]).await;
        until_drained(&pair).await;
        let taken_over = started.elapsed();
        println!("{fate:?}: taken over within {taken_over:.2?}");
        assert!(taken_over < TAKEN_OVER_MAX, "{fate:?}: only after {taken_over:.2?}");
        if matches!(fate, Fate::Paused | Fate::PausedAt(_)) {
            victim.signal("CONT").await;
            until_shares_are(&redis, &[4, 4]).await;
            victim.terminate().await;
        }
    }

    let ledger = writers.stop().await;
    other.ends().await;
    audit::check(&pair, &ledger).await;
    ledger.check_rows(&pair).await;
    moves::check(&pair).await;
}

/// Two drainers are paused one after the other, each with a batch in its hands that begins at the
/// same offset: the first one has it no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_drainer_commits_nothing_that_was_taken_over() {
    let pair = pair_with(|settings| {
        settings.drain.lease = LEASE;
        settings.drain.workers = 1;
    });
    let pair = pair.await;
    let redis = RedisView::of(&pair).await;
    write_accounts(&pair, 0..200).await;
    let mut first = drainer(&pair, "first").pauses_at("after_read", 1).spawn();
    first.reaches_its_point().await;
    let mut second = drainer(&pair, "second").pauses_at("after_read", 1).spawn();
    second.reaches_its_point().await;
    assert_eq!(count_accounts(&pair).await, 0);

    // It finds out, waits for the second one's leases to end, and takes everything over.
    first.signal("CONT").await;
    until_shares_are(&redis, &[8]).await;
    until_drained(&pair).await;
    assert_eq!(count_accounts(&pair).await, 200);
    moves::check(&pair).await;

    let before = moves::count(&pair, "second").await;
    second.signal("CONT").await;
    until_shares_are(&redis, &[4, 4]).await;
    assert_eq!(moves::count(&pair, "second").await, before, "there was nothing left for it");
    write_accounts(&pair, 200..400).await;
    until_drained(&pair).await;
    assert!(moves::count(&pair, "second").await > before, "it has its share of the work");
    first.terminate().await;
    second.terminate().await;
    assert_eq!(count_accounts(&pair).await, 400);
    moves::check(&pair).await;
}

/// The entry that it was at is drained past and trimmed when it comes back, as if Redis had lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drainer_that_slept_while_others_went_on_leaves_no_row_behind() {
    let pair = pair_with(|settings| {
        settings.drain.lease = LEASE;
        settings.drain.retention = Duration::ZERO;
        // The trigger that notes the moves of rows is not to refuse the drainer of this process.
        settings.checks.schema = CheckMode::Warn;
    });
    let pair = pair.await;
    let redis = RedisView::of(&pair).await;
    let sleeper = drainer(&pair, "sleeper").spawn();
    until_shares_are(&redis, &[8]).await;
    write_accounts(&pair, 0..50).await;
    until_drained(&pair).await;
    sleeper.signal("STOP").await;
    let other = pair.kv.drainer().model::<Account>().spawn();
    until_shares_are(&redis, &[8]).await;
    write_accounts(&pair, 50..100).await;
    other.flush().await.expect("everything is drained");

    sleeper.signal("CONT").await;
    until_shares_are(&redis, &[4, 4]).await;
    sleeper.terminate().await;
    for key in redis.row_keys().await {
        assert_ne!(redis.ttl_ms(&key).await, -1, "{key} is left for ever");
    }
    assert_eq!(other.shutdown().await.expect("all is drained").setbacks, 0);
    assert_eq!(count_accounts(&pair).await, 100);
    moves::check(&pair).await;
}

#[tokio::test]
async fn sigterm_gives_the_leases_back_at_once() {
    let pair = pair_with(|settings| settings.drain.lease = Duration::from_secs(20)).await;
    let redis = RedisView::of(&pair).await;
    let drainer = drainer(&pair, "stopped").spawn();
    until_shares_are(&redis, &[8]).await;
    write_accounts(&pair, 0..100).await;
    let started = Instant::now();
    drainer.terminate().await;
    let stopped = started.elapsed();
    assert_eq!(redis.leases().await.len(), 0);
    println!("stopped within {stopped:.2?}");
    assert!(stopped < STOPPED_MAX, "only after {stopped:.2?}");
}

/// What others have drained is seen while this drainer has no quiet moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_ends_although_writes_go_on() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let drainers = [0, 1].map(|_| pair.kv.drainer().model::<Account>().spawn());
    until_shares_are(&redis, &[4, 4]).await;
    let writers = Writers::start(&pair, &mut fastrand::Rng::new()).await;
    for _ in 0..3 {
        let flushed = tokio::time::timeout(WAIT_MAX, drainers[0].flush()).await;
        flushed.expect("it ends in time").expect("Redis answers");
    }
    let ledger = writers.stop().await;
    for drainer in drainers {
        drainer.shutdown().await.expect("everything is drained");
    }
    ledger.check_rows(&pair).await;
}

/// Makes the inserts of accounts as slow as one likes.
const SLOWNESS: &str = "
    CREATE TABLE slowness AS SELECT 0::float AS seconds;
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(seconds) FROM slowness; RETURN NULL; END $$;
    CREATE TRIGGER dawdle BEFORE INSERT ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
";

async fn slow_inserts(pair: &Pair, seconds: u8) {
    pair.sql(&format!("UPDATE slowness SET seconds = {seconds}")).await;
}

async fn until_inserting(pair: &Pair, drainer: &str) {
    let inserting = format!(
        "SELECT query AS value FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = '{drainer}' \
         AND state = 'active' AND query LIKE 'INSERT INTO \"accounts\"%'"
    );
    let started = Instant::now();
    while pair.texts(&inserting).await.is_empty() {
        assert!(started.elapsed() < WAIT_MAX, "nothing is inserted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A batch that is over soon is finished; for another one the drainer does not wait, and
/// PostgreSQL rolls it back.
#[tokio::test]
async fn sigterm_in_the_middle_of_a_long_batch_loses_nothing() {
    for (seconds, finishes) in [(1, true), (4, false)] {
        let pair = pair_with(|settings| settings.drain.lease = LEASE).await;
        pair.sql(SLOWNESS).await;
        slow_inserts(&pair, seconds).await;
        write_accounts(&pair, 0..100).await;
        let stopped = drainer(&pair, "stopped").spawn();
        until_inserting(&pair, "stopped").await;
        let started = Instant::now();
        stopped.terminate().await;
        let took = started.elapsed();
        println!("{seconds} s: stopped within {took:.2?}");
        assert!(took < STOPPED_MAX, "only after {took:.2?}");
        if finishes {
            assert_eq!(RedisView::of(&pair).await.leases().await.len(), 0);
            assert!(count_accounts(&pair).await > 0);
        } else {
            assert_eq!(count_accounts(&pair).await, 0);
        }
        slow_inserts(&pair, 0).await;
        drainer(&pair, "next").spawn().ends().await;
        assert_eq!(count_accounts(&pair).await, 100);
        let inserts = "SELECT operation AS value FROM audit";
        assert_eq!(pair.texts(inserts).await.len(), 100);
        moves::check(&pair).await;
    }
}

/// PostgreSQL is at work for it when it is killed, and would not notice for long.
#[tokio::test]
async fn the_statement_of_a_killed_drainer_blocks_no_one_for_longer_than_a_lease() {
    let pair = pair_with(|settings| settings.drain.lease = LEASE).await;
    pair.sql(SLOWNESS).await;
    slow_inserts(&pair, 20).await;
    write_accounts(&pair, 0..100).await;
    let killed = drainer(&pair, "killed").spawn();
    until_inserting(&pair, "killed").await;
    slow_inserts(&pair, 0).await;
    killed.kill().await;
    let started = Instant::now();
    let next = drainer(&pair, "next").spawn();
    until_drained(&pair).await;
    let taken_over = started.elapsed();
    println!("taken over within {taken_over:.2?}");
    assert!(taken_over < TAKEN_OVER_MAX, "only after {taken_over:.2?}");
    next.terminate().await;
    assert_eq!(count_accounts(&pair).await, 100);
    moves::check(&pair).await;
}
