//! The rows of a batch and the queue's new offset commit in one transaction; a drainer that was
//! taken over from cannot commit. What crashes leave is the topic of `kill.rs`.

use std::time::{Duration, Instant};

use kv_runtime::testing::Proxy;
use kv_runtime::{CheckMode, Drainer, Settings};
use kv_tests::contract;
use kv_tests::models::{Account, Booking, Seat};
use kv_tests::pair::Pair;

contract!(drainers_share_the_partitions_evenly, draining_again_repeats_nothing);

fn account(id: i64) -> Account {
    Account { id, revision: 1, note: None, active: true }
}

async fn drainers_share_the_partitions_evenly(pair: Pair) {
    let mut drainers = vec![pair.spawn_drainer()];
    until(&drainers, |shares| shares == [64]).await;
    drainers.extend([pair.spawn_drainer(), pair.spawn_drainer()]);
    // Eight queues of eight partitions: 3, 3 and 2 of each.
    let is_even = |shares: &[usize]| {
        shares.iter().sum::<usize>() == 64 && shares.iter().all(|share| (16..=24).contains(share))
    };
    until(&drainers, is_even).await;
    let accounts = pair.kv.repository::<Account>();
    for id in 0..100 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    drainers[0].flush().await.expect("all of them drain");
    let mut drained = Vec::new();
    for drainer in &drainers {
        drained.push(drainer.status().await.expect("a status").entries_drained);
    }
    assert_eq!(drained.iter().sum::<u64>(), 100, "{drained:?}");
    assert!(drained.iter().all(|share| *share > 0), "{drained:?}");
    // One that stops gives its leases back at once, one that is dropped soon.
    drainers.remove(0).stop().await;
    drop(drainers.remove(0));
    until(&drainers, |shares| shares == [64]).await;
}

async fn until(drainers: &[Drainer], holds: impl Fn(&[usize]) -> bool) {
    let started = Instant::now();
    loop {
        let mut shares = Vec::new();
        for drainer in drainers {
            shares.push(drainer.status().await.expect("a status").partitions);
        }
        if holds(&shares) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{shares:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn draining_again_repeats_nothing(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    for id in 0..50 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    assert_eq!(pair.drain().await.entries_drained, 50);
    if pair.has_servers() {
        // The entries are still on the queue: to apply one again would undo this.
        pair.sql("UPDATE accounts SET revision = 7; DELETE FROM accounts WHERE id = 0").await;
    }
    for _ in 0..3 {
        let status = pair.drain().await;
        assert_eq!((status.entries_drained, status.batches), (0, 0));
    }
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    if pair.has_servers() {
        assert!(rows.len() == 49 && rows.iter().all(|row| row.revision == 7), "{rows:?}");
    } else {
        assert_eq!(rows.len(), 50);
    }
}

/// Another drainer has raised the epoch: what this one has read it cannot commit.
#[tokio::test]
async fn a_drainer_that_was_taken_over_from_commits_nothing() {
    let pair = Pair::servers().await;
    // It looks when it is told to, and hardly by itself.
    let pair = pair.with(|settings| settings.drain.interval = Duration::from_secs(600)).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("it drains");
    let others = "SELECT count(*)::text AS value FROM kv_offsets WHERE epoch <> 1";
    assert_eq!(pair.texts(others).await, [Some("0".to_owned())]);

    pair.sql("UPDATE kv_offsets SET epoch = epoch + 1").await;
    let _ = accounts.update(&1, Account::patch().revision(2)).await.expect("a row");
    drainer.flush().await.expect("it takes its partitions anew, and drains");
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    assert_eq!(rows, [Account { revision: 2, ..account(1) }]);
    // Those that it found out about were taken over again: a third epoch for them.
    let raised = "SELECT count(*)::text AS value FROM kv_offsets WHERE epoch = 3";
    assert_ne!(pair.texts(raised).await, [Some("0".to_owned())]);
    drainer.shutdown().await.expect("everything is drained");
}

/// The last statement of a batch fails, and nothing of the batch is there.
#[tokio::test]
async fn rows_and_offset_commit_together() {
    let pair = Pair::servers().await;
    let change = |settings: &mut Settings| {
        // One worker: everything is one batch.
        settings.drain.workers = 1;
        // The missing table is to be found by that batch.
        settings.checks.schema = CheckMode::Warn;
    };
    let pair = pair.with(change).await;
    pair.sql("ALTER TABLE seats RENAME TO not_there_yet").await;
    let bookings = pair.kv.repository::<Booking>();
    let rows: Vec<Booking> = (0..20).map(|_| Booking::sample()).collect();
    assert!(bookings.create_many(&rows).await.iter().all(Result::is_ok));
    let seat = Seat { flight: "AA".to_owned(), number: 1, passenger: None };
    // An upsert: PostgreSQL is not asked for the row before.
    let _ = pair.kv.repository::<Seat>().upsert(&seat).await.expect("a row");

    let drainer = pair.spawn_drainer();
    let status = loop {
        let status = drainer.status().await.expect("a status");
        if status.last_error.is_some() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(status.last_error.is_some_and(|error| error.contains("seats")));
    assert_eq!((status.entries_drained, status.undrained), (0, 21));
    assert!(pair.kv.durable_rows::<Booking>().await.expect("the rows").is_empty());
    assert_eq!(moved_offsets(&pair).await, 0);

    pair.sql("ALTER TABLE not_there_yet RENAME TO seats").await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.entries_drained, status.undrained), (21, 0));
    assert_eq!(status.last_error, None);
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows").len(), 20);
    assert_eq!(pair.kv.durable_rows::<Seat>().await.expect("the rows"), [seat]);
    assert!(moved_offsets(&pair).await > 0);
}

async fn moved_offsets(pair: &Pair) -> usize {
    let sql = "SELECT position AS value FROM kv_offsets WHERE position <> '0-0'";
    pair.texts(sql).await.len()
}

/// Makes commits that inserted accounts take a while.
const SLOW_COMMITS: &str = "
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
";

/// The connection is lost while PostgreSQL commits. The drainer finds out what became of it, and
/// goes on, without taking its own commit for another drainer's.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated() {
    let pair = Pair::servers().await;
    pair.sql(SLOW_COMMITS).await;
    let proxy = Proxy::to(pair.settings.postgres.url.expose()).await.expect("a proxy");
    let proxied = proxy.url().to_owned();
    let change = |settings: &mut Settings| {
        settings.postgres.url = proxied.into();
        // Of the trigger.
        settings.checks.schema = CheckMode::Warn;
    };
    let pair = pair.with(change).await;

    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    let drainer = pair.spawn_drainer();
    let commits = "SELECT query AS value FROM pg_stat_activity \
                   WHERE datname = current_database() AND state = 'active' AND query = 'COMMIT'";
    while pair.texts(commits).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.cut();
    drainer.flush().await.expect("it finds out, and goes on");
    let _ = accounts.update(&1, Account::patch().revision(2)).await.expect("a row");
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.last_error), (0, None));
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    assert_eq!(rows, [Account { revision: 2, ..account(1) }]);
}
