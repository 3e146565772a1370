//! Writers that go on while Redis fails, and what must be there in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kv_runtime::{Error, Repository};
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use tokio::task::JoinSet;

use super::course::{WAIT_MAX, account, assert_no_letters, flush, spawn};

const WRITERS: i64 = 8;

/// Creates new rows, each once, until it is told to end.
pub(crate) struct Storm {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: JoinSet<Answers>,
}

/// The ids of the rows, by what became of their creation.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) acknowledged: BTreeSet<i64>,
    pub(crate) unknown: BTreeSet<i64>,
    pub(crate) refused: BTreeSet<i64>,
}

impl Storm {
    pub(crate) fn begin(pair: &Pair) -> Self {
        let (is_over, acknowledged) = (Arc::<AtomicBool>::default(), Arc::default());
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let accounts = pair.kv.repository::<Account>();
            let (is_over, acknowledged) = (Arc::clone(&is_over), Arc::clone(&acknowledged));
            writers.spawn(write(accounts, number * 1_000_000, is_over, acknowledged));
        }
        Self { is_over, acknowledged, writers }
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) async fn is_acknowledged(&self, more: usize) {
        let enough = self.acknowledged.load(Ordering::SeqCst) + more;
        let started = Instant::now();
        while self.acknowledged.load(Ordering::SeqCst) < enough {
            assert!(started.elapsed() < WAIT_MAX, "writes do not go on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn end(self) -> Answers {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Answers::default();
        for answers in self.writers.join_all().await {
            all.acknowledged.extend(answers.acknowledged);
            all.unknown.extend(answers.unknown);
            all.refused.extend(answers.refused);
        }
        all
    }
}

async fn write(
    accounts: Repository<Account>,
    first: i64,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Answers {
    let mut answers = Answers::default();
    for id in first.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        match accounts.create(&account(id)).await {
            Ok(_) => {
                answers.acknowledged.insert(id);
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(Error::OutcomeUnknown { .. }) => {
                answers.unknown.insert(id);
            }
            Err(error) => {
                assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                answers.refused.insert(id);
            }
        }
        // Not faster than the test can follow.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    answers
}

impl Answers {
    /// PostgreSQL has every row that was acknowledged and none that was refused, and each was
    /// written once.
    pub(crate) async fn check(&self, pair: &Pair) {
        let drainer = spawn(pair);
        flush(&drainer).await;
        let status = drainer.shutdown().await.expect("everything can be drained");
        assert_eq!((status.undrained, status.dead_letters), (0, 0));
        assert_no_letters(pair).await;
        let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
        assert!(rows.iter().all(|row| *row == account(row.id)));
        let durable: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
        let lost: Vec<_> = self.acknowledged.difference(&durable).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let undead: Vec<_> = self.refused.intersection(&durable).collect();
        assert!(undead.is_empty(), "refused and there: {undead:?}");
        let known: BTreeSet<i64> = self.acknowledged.union(&self.unknown).copied().collect();
        assert!(durable.is_subset(&known), "a row that no one wrote");
        // All entries are retained.
        assert_eq!(RedisView::of(pair).await.entries().await, durable.len(), "one entry a row");
    }
}
