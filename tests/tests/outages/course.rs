//! Writes before, during and after a fault of PostgreSQL, and what must be there in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kv_runtime::{DeadLetterFilter, DrainStatus, Drainer, Repository};
use kv_tests::models::Account;
use kv_tests::pair::Pair;

/// Longer than anything takes on a busy machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// How many rows are created at a time.
const CREATED: i64 = 10;

/// A drainer, and rows as their last acknowledged writes left them.
pub(crate) struct Course {
    drainer: Drainer,
    ledger: Ledger,
}

/// Accounts, and what they must be.
pub(crate) struct Ledger {
    accounts: Repository<Account>,
    rows: BTreeMap<i64, Account>,
    next_id: i64,
}

impl Course {
    /// Before the fault.
    pub(crate) async fn begin(pair: &Pair) -> Self {
        let mut ledger = Ledger::new(pair);
        let drainer = spawn(pair);
        ledger.write().await;
        flush(&drainer).await;
        Self { drainer, ledger }
    }

    /// During the fault: writes go on, and the drainer tells of what stands in its way.
    pub(crate) async fn is_told(&mut self, error: &str) {
        self.ledger.write().await;
        until(&self.drainer, |status| {
            status.last_error.as_ref().is_some_and(|told| told.contains(error))
        })
        .await;
        self.ledger.write().await;
    }

    pub(crate) async fn write(&mut self) {
        self.ledger.write().await;
    }

    /// After the fault: everything is drained, and no error is left.
    pub(crate) async fn recovers(&mut self, pair: &Pair) -> DrainStatus {
        self.ledger.write().await;
        flush(&self.drainer).await;
        let status = until(&self.drainer, |status| status.last_error.is_none()).await;
        assert_no_letters(pair).await;
        assert_eq!((status.dead_letters, status.panics), (0, 0));
        status
    }

    /// PostgreSQL has what was acknowledged.
    pub(crate) async fn end(mut self, pair: &Pair) -> DrainStatus {
        self.recovers(pair).await;
        let status = self.drainer.shutdown().await.expect("everything can be drained");
        assert_eq!((status.undrained, status.dead_letters), (0, 0));
        self.ledger.check(pair).await;
        status
    }
}

impl Ledger {
    pub(crate) fn new(pair: &Pair) -> Self {
        Self { accounts: pair.kv.repository(), rows: BTreeMap::new(), next_id: 1 }
    }

    /// Writes of every kind whose checks Redis can answer: each of them is acknowledged.
    pub(crate) async fn write(&mut self) {
        let before: Vec<i64> = self.rows.keys().copied().collect();
        for _ in 0..CREATED {
            let row = account(self.next_id);
            let _ = self.accounts.create(&row).await.expect("a new row");
            self.rows.insert(row.id, row);
            self.next_id += 1;
        }
        for &id in before.iter().rev().step_by(3).take(3) {
            let patch = Account::patch().active(false).note(None);
            let _ = self.accounts.update(&id, patch).await.expect("a row");
            self.rows.insert(id, Account { active: false, note: None, ..self.rows[&id].clone() });
        }
        for &id in before.iter().rev().skip(1).step_by(3).take(3) {
            let row = Account { revision: self.next_id, ..account(id) };
            let _ = self.accounts.upsert(&row).await.expect("a row");
            self.rows.insert(id, row);
        }
        if let Some(&id) = before.last() {
            let _ = self.accounts.delete(&id).await.expect("a row");
            self.rows.remove(&id);
        }
    }

    /// PostgreSQL has the rows as they were acknowledged, and has refused none.
    pub(crate) async fn check(&self, pair: &Pair) {
        assert_eq!(durable(pair).await, self.rows);
        assert_no_letters(pair).await;
    }

    pub(crate) async fn is_in_postgresql(&self, pair: &Pair) -> bool {
        durable(pair).await == self.rows
    }
}

async fn durable(pair: &Pair) -> BTreeMap<i64, Account> {
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    rows.into_iter().map(|row| (row.id, row)).collect()
}

pub(crate) fn account(id: i64) -> Account {
    Account { id, revision: 1, note: Some(id.to_string()), active: true }
}

/// A drainer of accounts alone.
pub(crate) fn spawn(pair: &Pair) -> Drainer {
    pair.kv.drainer().model::<Account>().spawn()
}

/// Waits until everything is drained that was written so far.
pub(crate) async fn flush(drainer: &Drainer) {
    if let Ok(flushed) = tokio::time::timeout(WAIT_MAX, drainer.flush()).await {
        return flushed.expect("Redis is up");
    }
    panic!("it does not drain: {:?}", drainer.status().await);
}

/// Waits for a state of the drainer.
pub(crate) async fn until(drainer: &Drainer, holds: impl Fn(&DrainStatus) -> bool) -> DrainStatus {
    let started = Instant::now();
    loop {
        let status = drainer.status().await.expect("Redis is up");
        if holds(&status) {
            return status;
        }
        assert!(started.elapsed() < WAIT_MAX, "it does not come to that: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a query on PostgreSQL finds something.
pub(crate) async fn until_found(pair: &Pair, sql: &str) {
    let started = Instant::now();
    while pair.texts(sql).await.is_empty() {
        assert!(started.elapsed() < WAIT_MAX, "nothing is found: {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn assert_no_letters(pair: &Pair) {
    let letters = pair.kv.dead_letters().list(&DeadLetterFilter::new()).await;
    let letters = letters.expect("PostgreSQL is up");
    assert!(letters.is_empty(), "{letters:?}");
}
