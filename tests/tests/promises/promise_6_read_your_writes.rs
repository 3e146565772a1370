//! Reads see every acknowledged write, drained or not, and never put an old value back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use kv_runtime::{CheckMode, Error, Repository};
use kv_tests::contract;
use kv_tests::models::Counter;
use kv_tests::pair::Pair;
use tokio::task::JoinSet;

contract!(in parallel:
    reads_see_every_acknowledged_write,
    a_slow_reader_never_puts_an_old_value_back,
);

const KEYS: i64 = 4;
const WRITES: i64 = 250;
/// Longer than draining takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Every so many writes, a row is deleted; the next write creates it again.
const DELETED_EVERY: i64 = 7;

/// How far the one writer of a key has come. Its n-th write makes `total` n, or deletes the row.
#[derive(Debug, Default)]
struct Key {
    begun: AtomicI64,
    acknowledged: AtomicI64,
}

#[derive(Clone)]
struct Keys {
    counters: Repository<Counter>,
    keys: Arc<BTreeMap<i64, Key>>,
    deletes: bool,
}

impl Keys {
    async fn new(pair: &Pair, deletes: bool) -> Self {
        let keys = (0..KEYS).map(|id| (id, Key::default())).collect();
        let keys = Self { counters: pair.kv.repository(), keys: Arc::new(keys), deletes };
        for id in 0..KEYS {
            let _ = keys.counters.create(&row(id, 0)).await.expect("a new row");
        }
        keys
    }

    fn is_deletion(&self, number: i64) -> bool {
        self.deletes && number % DELETED_EVERY == DELETED_EVERY - 1
    }

    async fn write(self, id: i64) {
        let key = &self.keys[&id];
        for number in 1..=WRITES {
            key.begun.store(number, Ordering::SeqCst);
            let is_there = !self.is_deletion(number - 1);
            while let Err(error) = self.write_once(id, number, is_there).await {
                // The row was taken away again and again while it was brought in.
                assert!(matches!(error, Error::Conflict { .. }), "{error}");
            }
            key.acknowledged.store(number, Ordering::SeqCst);
            if number % 5 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if number % 25 == 0 {
                // It has the only writer, so it is clean some day, and the next readers miss it.
                let evicted = tokio::time::timeout(WAIT_MAX, self.evict(id)).await;
                evicted.expect("it is drained in time");
            }
        }
    }

    async fn evict(&self, id: i64) {
        while self.counters.invalidate(&id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn write_once(&self, id: i64, number: i64, is_there: bool) -> Result<(), Error> {
        let receipt = if self.is_deletion(number) {
            self.counters.delete(&id).await
        } else if is_there {
            self.counters.update(&id, Counter::patch().total(number)).await
        } else {
            self.counters.create(&row(id, number)).await
        };
        receipt.map(|_| ())
    }

    /// Reads a row in one way or another, and compares it with what its writer has done.
    async fn read(&self, id: i64) {
        let key = &self.keys[&id];
        let before = key.acknowledged.load(Ordering::SeqCst);
        let (seen, what) = match fastrand::u8(0..4) {
            0 => (self.counters.find_by_id(&id).await.expect("an answer"), "find_by_id"),
            1 => match self.counters.get_by_id(&id).await {
                Ok(row) => (Some(row), "get_by_id"),
                Err(error) => {
                    assert!(error.is_not_found(), "{error}");
                    (None, "get_by_id")
                }
            },
            2 => {
                let ids: Vec<i64> = (0..KEYS).collect();
                let rows = self.counters.get_many(&ids).await.expect("the rows");
                (rows.into_iter().flatten().find(|row| row.id == id), "get_many")
            }
            _ => {
                let is_there = self.counters.exists(&id).await.expect("an answer");
                let begun = key.begun.load(Ordering::SeqCst);
                let could_be = (before..=begun).any(|number| self.is_deletion(number) != is_there);
                assert!(could_be, "exists({id}) is {is_there} from write {before} to {begun}");
                return;
            }
        };
        let begun = key.begun.load(Ordering::SeqCst);
        match seen {
            Some(row) => assert!(
                (before..=begun).contains(&row.total),
                "{what}({id}) is {} from write {before} to {begun}",
                row.total
            ),
            None => assert!(
                (before..=begun).any(|number| self.is_deletion(number)),
                "{what}({id}) is nothing from write {before} to {begun}"
            ),
        }
    }

    /// Runs the writers to their end, and readers and evictions as long as they do.
    async fn run(&self, readers: usize, evictors: usize) {
        let mut writers = JoinSet::new();
        for id in 0..KEYS {
            writers.spawn(self.clone().write(id));
        }
        let mut others = JoinSet::new();
        for _ in 0..readers {
            let keys = self.clone();
            others.spawn(async move {
                loop {
                    keys.read(fastrand::i64(0..KEYS)).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        for _ in 0..evictors {
            let keys = self.clone();
            others.spawn(async move {
                loop {
                    // Left alone where it is dirty.
                    let _ = keys.counters.invalidate(&fastrand::i64(0..KEYS)).await;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..3))).await;
                }
            });
        }
        loop {
            tokio::select! {
                Some(ended) = others.join_next() => ended.expect("nothing old was read"),
                writer = writers.join_next() => match writer {
                    Some(ended) => ended.expect("every write was acknowledged"),
                    None => break,
                },
            }
        }
    }

    /// What PostgreSQL has, once everything is drained, is the last write of each key.
    async fn check_the_end(&self, pair: &Pair) {
        let mut rows = pair.kv.durable_rows::<Counter>().await.expect("the rows");
        rows.sort_by_key(|row| row.id);
        let expected: Vec<Counter> =
            (0..KEYS).filter(|_| !self.is_deletion(WRITES)).map(|id| row(id, WRITES)).collect();
        assert_eq!(rows, expected);
        for id in 0..KEYS {
            self.read(id).await;
        }
    }
}

fn row(id: i64, total: i64) -> Counter {
    Counter { id, total, r#type: "x".to_owned() }
}

async fn reads_see_every_acknowledged_write(pair: Pair) {
    let pair = pair.with(|settings| settings.drain.batch_entries = 20).await;
    let drainer = pair.spawn_drainer();
    let keys = Keys::new(&pair, true).await;
    keys.run(4, 1).await;
    drainer.shutdown().await.expect("everything can be drained");
    keys.check_the_end(&pair).await;
}

/// Reads on the table wait after they have begun to see it; the writes of the drainer do not.
///
/// It is no table any more, which the start-up checks would refuse.
const SLOW_READS: &str = "
    ALTER TABLE counters RENAME TO counters_table;
    CREATE FUNCTION dawdle() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        IF current_query() LIKE 'SELECT%' THEN PERFORM pg_sleep(random() * 0.01); END IF;
        RETURN true;
    END $$;
    CREATE VIEW counters AS SELECT * FROM counters_table WHERE dawdle();
";

async fn a_slow_reader_never_puts_an_old_value_back(pair: Pair) {
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Warn).await;
    if pair.has_servers() {
        pair.sql(SLOW_READS).await;
    }
    let drainer = pair.spawn_drainer();
    let keys = Keys::new(&pair, false).await;
    keys.run(6, 2).await;
    drainer.shutdown().await.expect("everything can be drained");
    keys.check_the_end(&pair).await;
}

/// Readers that come faster than PostgreSQL answers still bring the row in, and writers that
/// need it are kept waiting neither by them nor by each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_brought_in_however_many_ask_for_it() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Warn).await;
    let keys = Keys::new(&pair, false).await;
    pair.drain().await;
    pair.sql(SLOW_READS).await;
    for round in 1..=10 {
        keys.evict(0).await;
        let until = Instant::now() + Duration::from_millis(100);
        let mut tasks = JoinSet::new();
        for reader in 0..10 {
            let counters = keys.counters.clone();
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(reader)).await;
                while Instant::now() < until {
                    let _ = counters.get_by_id(&0).await.expect("the row");
                }
            });
        }
        for writer in 0..30 {
            let counters = keys.counters.clone();
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(writer)).await;
                let patch = Counter::patch().total(round);
                let _ = counters.update(&0, patch).await.expect("a row");
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("it is served");
        }
        assert_eq!(keys.counters.get_by_id(&0).await.expect("the row").total, round);
        pair.drain().await;
    }
}
