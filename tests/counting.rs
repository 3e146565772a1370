//! Load that counts: what each writer reads must be what it has written, whatever is changed below.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kv_runtime::Repository;
use tokio::task::JoinHandle;

use crate::models::Counter;
use crate::pair::Pair;
use crate::waiting::go_on;

/// After how many others a row is deleted.
const KEPT: i64 = 10;
/// What the ids of a writer's rows differ by.
const STEP: i64 = 1_000;

/// Tasks that count, each in a row of its own; every second one in another process, where there is
/// one.
#[derive(Debug)]
pub struct Counting {
    stop: Arc<AtomicBool>,
    counted: Arc<AtomicUsize>,
    tasks: Vec<(i64, JoinHandle<i64>)>,
}

impl Counting {
    /// Starts them, with these ids below 1,000 for their rows.
    pub async fn start(pair: &Pair, ids: Range<i64>) -> Self {
        let (stop, counted) = (Arc::default(), Arc::default());
        let counters =
            [pair.kv.clone(), pair.other_process().await].map(|kv| kv.repository::<Counter>());
        let mut tasks = Vec::new();
        for (id, counters) in ids.zip(counters.iter().cycle()) {
            let writer = Writer { id, counters: counters.clone(), counted: Arc::clone(&counted) };
            writer.create(id, 0).await;
            tasks.push((id, tokio::spawn(writer.run(Arc::clone(&stop)))));
        }
        Self { stop, counted, tasks }
    }

    /// Waits until they have gone on for a while.
    pub async fn go_on(&self) {
        let is_well = || !self.tasks.iter().any(|(_, task)| task.is_finished());
        go_on(&self.counted, 40, is_well).await;
    }

    /// Stops them; answers how far each has come, by the id of its row.
    pub async fn stop(self) -> BTreeMap<i64, i64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut totals = BTreeMap::new();
        for (id, task) in self.tasks {
            totals.insert(id, task.await.expect("it sees what it has written"));
        }
        totals
    }
}

/// PostgreSQL must have the writers' rows, and those that they have created last.
pub async fn check_rows(pair: &Pair, totals: &BTreeMap<i64, i64>) {
    let durable = pair.kv.durable_rows::<Counter>().await.expect("PostgreSQL is up");
    let stored: BTreeMap<i64, i64> = durable.iter().map(|row| (row.id, row.total)).collect();
    assert_eq!(stored.len(), durable.len(), "a row is there twice");
    let others = |id: i64, total: i64| {
        (1..=total).rev().take(KEPT as usize).map(move |number| (id + STEP * number, number))
    };
    let expected = totals.iter().flat_map(|(&id, &total)| others(id, total).chain([(id, total)]));
    assert_eq!(stored, expected.collect());
}

struct Writer {
    id: i64,
    counters: Repository<Counter>,
    counted: Arc<AtomicUsize>,
}

impl Writer {
    /// Adds to its row and reads it back until it is told to stop, creates others and deletes them:
    /// how often it did.
    async fn run(self, stop: Arc<AtomicBool>) -> i64 {
        let mut total = 0;
        while !stop.load(Ordering::Relaxed) {
            let counted = self.counters.increment(&self.id, |counter| counter.total, 1).await;
            total += 1;
            assert_eq!(counted.expect("a row").value, total);
            assert_eq!(self.counters.get_by_id(&self.id).await.expect("a row").total, total);
            let other = self.id + STEP * total;
            self.create(other, total).await;
            assert_eq!(self.counters.get_by_id(&other).await.expect("a row").total, total);
            if total > KEPT {
                let old = self.id + STEP * (total - KEPT);
                let _ = self.counters.delete(&old).await.expect("a row");
                assert_eq!(self.counters.find_by_id(&old).await.expect("an answer"), None);
            }
            self.counted.fetch_add(1, Ordering::Relaxed);
            // In memory, nothing else makes it wait.
            tokio::task::yield_now().await;
        }
        total
    }

    async fn create(&self, id: i64, total: i64) {
        let row = Counter { id, total, r#type: "a".to_owned() };
        let _ = self.counters.create(&row).await.expect("a new row");
    }
}
