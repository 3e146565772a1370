//! The workloads A to F of YCSB, as Cooper et al. published them in "Benchmarking Cloud Serving
//! Systems with YCSB" (2010): records of ten fields with 100 bytes each, keys by a Zipf
//! distribution with 0.99 that is scattered over the records, in D by one that prefers the latest.

mod contenders;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use kv_runtime::KvModel;
use rand_distr::{Distribution, Zipf};

use self::contenders::{ByHand, Diesel, Framework, Store};
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::per_second;
use crate::{Bench, Outcome};

const IN_FLIGHT: usize = 64;
/// The most records of a scan; how many is uniform.
const SCANNED_MAX: u64 = 100;

/// A record.
#[derive(Debug, Clone, PartialEq, KvModel, diesel::QueryableByName)]
#[kv(table = "usertable")]
pub(crate) struct Record {
    #[kv(id)]
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) key: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field0: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field1: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field2: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field3: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field4: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field5: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field6: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field7: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field8: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(crate) field9: String,
}

impl Record {
    fn new(number: u64) -> Self {
        let field = |at: u64| format!("{:0100}", number * 10 + at);
        Self {
            key: key(number),
            field0: field(0),
            field1: field(1),
            field2: field(2),
            field3: field(3),
            field4: field(4),
            field5: field(5),
            field6: field(6),
            field7: field(7),
            field8: field(8),
            field9: field(9),
        }
    }
}

/// Neighbours in number are none in order.
fn key(number: u64) -> String {
    format!("user{:020}", scatter(number))
}

/// FNV-1a over the number's bytes.
fn scatter(number: u64) -> u64 {
    number.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Read,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}

/// A workload: its letter, and of a hundred operations how many are the first kind.
struct Workload {
    name: &'static str,
    most: Operation,
    percent: u64,
    others: Operation,
    prefers_latest: bool,
}

const WORKLOADS: [Workload; 6] = {
    use Operation::{Insert, Read, ReadModifyWrite, Scan, Update};
    const fn of(name: &'static str, most: Operation, percent: u64, others: Operation) -> Workload {
        Workload { name, most, percent, others, prefers_latest: false }
    }
    [
        of("A, 50 % updates", Read, 50, Update),
        of("B, 5 % updates", Read, 95, Update),
        of("C, reads", Read, 100, Read),
        Workload { prefers_latest: true, ..of("D, latest, 5 % inserts", Read, 95, Insert) },
        of("E, scans, 5 % inserts", Scan, 95, Insert),
        of("F, 50 % read-modify-write", Read, 50, ReadModifyWrite),
    ]
};

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let records = bench.options.rows() as u64 / 2;
    let by_hand = ByHand::connect(bench).await?;
    measure("Redis by hand", &by_hand, records, bench, report).await?;
    let diesel = Diesel::connect(bench).await?;
    measure("diesel-async, pool of 32", &diesel, records, bench, report).await?;
    let framework = Framework::connect(bench).await?;
    measure(OURS, &framework, records, bench, report).await?;
    framework.shutdown().await
}

async fn measure(
    name: &str,
    store: &impl Store,
    records: u64,
    bench: &Bench,
    report: &mut Report,
) -> Outcome<()> {
    let all: Vec<Record> = (0..records).map(Record::new).collect();
    store.load(&all).await?;
    let newest = AtomicU64::new(records);
    for workload in &WORKLOADS {
        let is_slow = matches!(workload.most, Operation::Scan);
        let count = bench.options.rows() / if is_slow { 20 } else { 1 };
        let keys = Zipf::new(records as f64, 0.99)?;
        let started = Instant::now();
        let operations = stream::iter(0..count).map(async |_| {
            let operation = match fastrand::u64(..100) < workload.percent {
                true => workload.most,
                false => workload.others,
            };
            let rank = keys.sample(&mut rand::rng()) as u64 - 1;
            // Those that are acknowledged for certain, as there are so many on their way at most.
            let last = newest.load(Ordering::Relaxed) - IN_FLIGHT as u64;
            let number = match workload.prefers_latest {
                true => last.saturating_sub(rank),
                false => scatter(rank) % records,
            };
            perform(store, operation, number, &newest).await;
        });
        operations.buffer_unordered(IN_FLIGHT).count().await;
        let row = Row::new(format!("YCSB {}", workload.name), "operations/s", Goal::None);
        report.add(&row, name, per_second(count, started));
    }
    Ok(())
}

async fn perform(store: &impl Store, operation: Operation, number: u64, newest: &AtomicU64) {
    let outcome = match operation {
        Operation::Read => store.read(&key(number)).await.map(drop),
        Operation::Update => store.update(&key(number), new_field()).await,
        Operation::Insert => {
            store.insert(&Record::new(newest.fetch_add(1, Ordering::Relaxed))).await
        }
        Operation::Scan => store.scan(&key(number), fastrand::u64(1..=SCANNED_MAX)).await,
        Operation::ReadModifyWrite => match store.read(&key(number)).await {
            Ok(Some(_)) => store.update(&key(number), new_field()).await,
            Ok(None) => Err("a record is missing".into()),
            Err(error) => Err(error),
        },
    };
    outcome.expect("the servers are up");
}

fn new_field() -> String {
    format!("{:0100}", fastrand::u64(..))
}
