//! Writers who go on while Redis fails over, and what their ledgers say in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv_runtime::{Drainer, Error, Repository};
use tokio::task::JoinSet;

use crate::models::Account;
use crate::pair::Pair;

const WRITERS: i64 = 4;
const ACCOUNTS_EACH: i64 = 25;
/// Longer than anything takes on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(90);

/// Writers of accounts that are nobody else's.
#[derive(Debug)]
pub struct RevisionWriters {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Ledger>,
}

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

impl RevisionWriters {
    /// Sets them to work.
    pub fn start(pair: &Pair) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let ids = number * ACCOUNTS_EACH..(number + 1) * ACCOUNTS_EACH;
            tasks.spawn(write(pair.kv.repository(), ids, Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    /// Stops them when all accounts can be written again, of theirs and of others, and drains; what
    /// was acknowledged then has to be in PostgreSQL, once and in order.
    pub async fn finish(self, pair: &Pair, drainer: Drainer) {
        let recovered = Instant::now();
        let accounts = pair.kv.repository::<Account>();
        for id in 1_000..1_200 {
            let mut row = Account { id, revision: 1, note: None, active: true };
            while let Err(error) = accounts.upsert(&row).await {
                assert!(recovered.elapsed() < WAIT_MAX, "{error:?}");
                row.revision += 1;
            }
        }
        self.stop.store(true, Ordering::Relaxed);
        let ledgers = self.tasks.join_all().await;
        let status = drainer.shutdown().await.expect("everything can be drained");
        assert_eq!((status.undrained, status.dead_letters), (0, 0));
        check(pair, &ledgers, recovered).await;
    }
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

async fn check(pair: &Pair, ledgers: &[Ledger], recovered: Instant) {
    let durable = pair.kv.durable_rows::<Account>().await.expect("the rows");
    let durable: BTreeMap<i64, i64> = durable.iter().map(|row| (row.id, row.revision)).collect();
    for ledger in ledgers {
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
}
