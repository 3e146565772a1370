//! Load, with a ledger of what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kv_runtime::Repository;
use tokio::task::JoinHandle;

use crate::models::Account;
use crate::pair::Pair;
use crate::waiting::go_on;

const WRITERS: i64 = 4;
const ACCOUNTS_EACH: i64 = 30;

/// Tasks that write; each has accounts of its own, so that "last" has a meaning.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    /// How many writes were acknowledged.
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Ledger>>,
}

/// The last acknowledged state of each account, `None` for a deleted one.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By their ids.
    pub rows: BTreeMap<i64, Option<Account>>,
    /// How many were acknowledged.
    pub writes: usize,
}

impl Writers {
    /// Starts them.
    pub async fn start(pair: &Pair, random: &mut fastrand::Rng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let tasks = (0..WRITERS).map(|number| {
            let writer = Writer {
                accounts: pair.kv.repository(),
                ids: number * ACCOUNTS_EACH..(number + 1) * ACCOUNTS_EACH,
                random: random.fork(),
                ledger: Ledger::default(),
                acknowledged: Arc::clone(&acknowledged),
                revision: 0,
            };
            tokio::spawn(writer.run(Arc::clone(&stop)))
        });
        Self { tasks: tasks.collect(), acknowledged, stop }
    }

    /// Waits until so many more of their writes were acknowledged.
    pub async fn go_on(&self, writes: usize) {
        let is_well = || !self.tasks.iter().any(JoinHandle::is_finished);
        go_on(&self.acknowledged, writes, is_well).await;
    }

    /// Stops them, and puts their ledgers together.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger::default();
        for task in self.tasks {
            let ledger = task.await.expect("every write was acknowledged");
            all.rows.extend(ledger.rows);
            all.writes += ledger.writes;
        }
        all
    }
}

impl Ledger {
    /// Every row must be in its last state, and no other row be there.
    pub async fn check_rows(&self, pair: &Pair) {
        let durable = pair.kv.durable_rows::<Account>().await.expect("the rows");
        let count = durable.len();
        let durable: BTreeMap<i64, Account> =
            durable.into_iter().map(|row| (row.id, row)).collect();
        assert_eq!(durable.len(), count, "a row is there twice");
        for (id, expected) in &self.rows {
            assert_eq!(durable.get(id), expected.as_ref(), "account {id}");
        }
        assert!(durable.keys().all(|id| self.rows.contains_key(id)), "a row that no one wrote");
    }
}

struct Writer {
    accounts: Repository<Account>,
    ids: std::ops::Range<i64>,
    random: fastrand::Rng,
    ledger: Ledger,
    acknowledged: Arc<AtomicUsize>,
    revision: i64,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Ledger {
        while !stop.load(Ordering::Relaxed) {
            let id = self.random.i64(self.ids.clone());
            match self.ledger.rows.get(&id).cloned().flatten() {
                None => self.create_or_upsert(id).await,
                Some(row) => self.change(row).await,
            }
            if self.random.u8(0..4) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.ledger
    }

    fn next_row(&mut self, id: i64) -> Account {
        self.revision += 1;
        let note = self.random.bool().then(|| format!("note {}", self.revision));
        Account { id, revision: self.revision, note, active: self.random.bool() }
    }

    async fn create_or_upsert(&mut self, id: i64) {
        let row = self.next_row(id);
        let written = match self.random.u8(0..4) {
            0 => self.accounts.upsert(&row).await,
            _ => self.accounts.create(&row).await,
        };
        let _ = written.expect("a new row");
        self.acknowledged(id, Some(row));
    }

    async fn change(&mut self, before: Account) {
        let id = before.id;
        let mut row = self.next_row(id);
        let patch = Account::patch().revision(row.revision);
        match self.random.u8(0..20) {
            0 => self.delete(id).await,
            1..=2 => {
                self.delete(id).await;
                self.create_or_upsert(id).await;
            }
            3..=6 => {
                let _ = self.accounts.upsert(&row).await.expect("a row");
                self.acknowledged(id, Some(row));
            }
            7..=12 => {
                let patch = patch.note(row.note.clone());
                let _ = self.accounts.update(&id, patch).await.expect("a row");
                row.active = before.active;
                self.acknowledged(id, Some(row));
            }
            13..=16 => {
                let patch = patch.active(row.active);
                let _ = self.accounts.update(&id, patch).await.expect("a row");
                row.note = before.note;
                self.acknowledged(id, Some(row));
            }
            _ => {
                let _ = self.accounts.update(&id, patch).await.expect("a row");
                row.note = before.note;
                row.active = before.active;
                self.acknowledged(id, Some(row));
            }
        }
    }

    async fn delete(&mut self, id: i64) {
        let _ = self.accounts.delete(&id).await.expect("a row");
        self.acknowledged(id, None);
    }

    fn acknowledged(&mut self, id: i64, row: Option<Account>) {
        self.ledger.rows.insert(id, row);
        self.ledger.writes += 1;
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
