//! Masters die under load, and their replicas take over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv_runtime::testing::{RedisCluster, RedisOptions};
use kv_runtime::{CheckMode, Durability, Error, Repository};
use kv_tests::audit;
use kv_tests::models::Account;
use kv_tests::pair::Pair;
use tokio::task::JoinSet;

const WRITERS: i64 = 4;
const ACCOUNTS_EACH: i64 = 25;
/// Longer than anything takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// What is known of an account: writes whose outcome nobody told may have taken effect, or not.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    acknowledged: i64,
    attempted: i64,
}

#[derive(Debug, Default)]
struct Ledger {
    accounts: BTreeMap<i64, Known>,
    writes: usize,
    failures: usize,
    /// When the last one was acknowledged.
    last: Option<Instant>,
}

/// Raises revisions, each of which is used once.
async fn write(
    accounts: Repository<Account>,
    ids: std::ops::Range<i64>,
    stop: Arc<AtomicBool>,
) -> Ledger {
    let mut ledger = Ledger::default();
    while !stop.load(Ordering::Relaxed) {
        let id = fastrand::i64(ids.clone());
        let known = ledger.accounts.entry(id).or_default();
        known.attempted += 1;
        let row = Account { id, revision: known.attempted, note: None, active: true };
        match accounts.upsert(&row).await {
            Ok(_) => {
                known.acknowledged = known.attempted;
                ledger.writes += 1;
                ledger.last = Some(Instant::now());
            }
            Err(
                Error::Unavailable { .. }
                | Error::Timeout { .. }
                | Error::OutcomeUnknown { .. }
                | Error::NotReplicated { .. },
            ) => ledger.failures += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_have_acknowledged_outlives_a_master() {
    let options = RedisOptions::new().setting("cluster-node-timeout", "1500");
    let mut cluster = RedisCluster::start_with(&options).expect("a private cluster");
    let pair = Pair::on_cluster(&cluster).await;
    let pair = pair.with(|settings| {
        let timeout = Duration::from_secs(1);
        settings.durability = Durability::Replicated { replicas: 1, timeout };
        settings.checks.schema = CheckMode::Warn;
        settings.redis.command_timeout = Duration::from_millis(500);
    });
    let pair = pair.await;
    pair.sql(audit::TABLES).await;
    let drainer = pair.spawn_drainer();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let ids = number * ACCOUNTS_EACH..(number + 1) * ACCOUNTS_EACH;
        writers.spawn(write(pair.kv.repository(), ids, Arc::clone(&stop)));
    }

    let mut outages = Vec::new();
    let cluster = tokio::task::spawn_blocking(move || {
        for master in 0..2 {
            cluster.nodes_mut()[master].kill().expect("it is killed");
            let began = Instant::now();
            // Its replica is at the same place in the second half.
            let replica = &cluster.nodes()[master + 3];
            while !replica.ask("ROLE").is_ok_and(|role| role.contains("master")) {
                assert!(began.elapsed() < WAIT_MAX, "no replica takes over");
                std::thread::sleep(Duration::from_millis(20));
            }
            outages.push(began.elapsed());
            cluster.nodes_mut()[master].restart().expect("it comes back, as a replica");
            cluster.await_agreement().expect("the nodes agree");
        }
        println!("replicas took over after {outages:?}");
        cluster
    });
    let cluster = cluster.await.expect("masters are killed");
    let recovered = Instant::now();
    // Every account can be written again.
    let accounts = pair.kv.repository::<Account>();
    for id in 1_000..1_200 {
        let mut row = Account { id, revision: 1, note: None, active: true };
        while let Err(error) = accounts.upsert(&row).await {
            assert!(recovered.elapsed() < WAIT_MAX, "{error:?}");
            row.revision += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let ledgers = writers.join_all().await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));

    let durable = pair.kv.durable_rows::<Account>().await.expect("the rows");
    let durable: BTreeMap<i64, i64> = durable.iter().map(|row| (row.id, row.revision)).collect();
    for ledger in &ledgers {
        assert!(ledger.last.is_some_and(|last| last > recovered), "it writes again");
        for (id, known) in &ledger.accounts {
            let revision = durable.get(id).copied().unwrap_or_default();
            let range = known.acknowledged..=known.attempted;
            assert!(range.contains(&revision), "account {id} is at {revision}: {known:?}");
        }
    }
    let sum = |of: fn(&Ledger) -> usize| ledgers.iter().map(of).sum::<usize>();
    let (writes, failures) = (sum(|ledger| ledger.writes), sum(|ledger| ledger.failures));
    println!("{writes} writes were acknowledged, {failures} were not");
    let sql = "SELECT concat_ws(' ', number, operation, id, before, revision) AS value FROM (SELECT *, \
               lag(revision) OVER (PARTITION BY id ORDER BY number) AS before FROM audit) AS a \
               WHERE revision <= before";
    assert_eq!(pair.texts(sql).await, [], "revisions only grow");
    drop(cluster);
}
