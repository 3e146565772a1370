//! Units of work under faults of Redis: as a whole or not at all, and none twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_runtime::testing::{Proxy, RedisOptions, RedisServer, servers};
use kv_runtime::{Error, Kv, Settings};
use kv_tests::models::{Flight, Seat};
use kv_tests::pair::Pair;
use tokio::task::JoinSet;

const WRITERS: i16 = 4;
const FLIGHT: &str = "AA";

/// How many seats were taken, by what their writers were told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    /// Nobody else takes these seats: it was done twice.
    twice: AtomicU64,
}

/// Creates a seat and counts it, in one unit.
async fn take(kv: &Kv, number: i16) -> Result<(), Error> {
    let unit = kv.transaction(async |unit| {
        let flights = unit.repository::<Flight>();
        let taken = flights.get_by_id(&FLIGHT.to_owned()).await?.taken;
        let seat = Seat { flight: FLIGHT.into(), number, passenger: None };
        unit.repository::<Seat>().create(&seat).await?;
        flights.update(&FLIGHT.to_owned(), Flight::patch().taken(taken + 1)).await
    });
    unit.await.map(drop)
}

async fn write(kv: Kv, told: Arc<Told>, first: i16) {
    for number in (first..i16::MAX).step_by(WRITERS.unsigned_abs().into()) {
        let counter = match take(&kv, number).await {
            Ok(()) => &told.acknowledged,
            Err(Error::OutcomeUnknown { .. }) => &told.unknown,
            Err(Error::Unavailable { .. } | Error::Timeout { .. } | Error::Conflict { .. }) => {
                &told.refused
            }
            Err(error) => {
                eprintln!("seat {number}: {error}");
                &told.twice
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Told {
    /// Waits until so many more units were acknowledged.
    async fn is_acknowledged(&self, more: u64) {
        let target = self.acknowledged.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.acknowledged.load(Ordering::Relaxed) < target {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("units go on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_work_is_made_once_and_as_a_whole() {
    let options = RedisOptions::new().append_only(true).setting("appendfsync", "always");
    let mut server = RedisServer::start_with(options).expect("a private server");
    let proxy = Proxy::to(server.url()).await.expect("a proxy");
    let mut settings = Settings::new(proxy.url(), servers().create_database());
    settings.tenant = Some("units".to_owned());
    settings.partitions = 8;
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.backoff_max = Duration::from_millis(500);
    let pair = Pair::connect(settings).await;
    let flight = Flight { flight: FLIGHT.into(), taken: 0 };
    let _ = pair.kv.repository::<Flight>().create(&flight).await.expect("a new row");
    let drainer = pair.kv.drainer().model::<Flight>().model::<Seat>().spawn();

    let told = Arc::new(Told::default());
    let mut writers = JoinSet::new();
    for first in 0..WRITERS {
        writers.spawn(write(pair.kv.clone(), Arc::clone(&told), first));
    }
    for _ in 0..20 {
        told.is_acknowledged(10).await;
        proxy.cut_answers_after(fastrand::u64(1..600));
    }
    server.kill().expect("it is there");
    server.restart().expect("it starts again");
    told.is_acknowledged(50).await;
    writers.shutdown().await;

    drainer.flush().await.expect("it drains");
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.dead_letters, status.undrained), (0, 0), "{status:?}");
    let flights = pair.kv.durable_rows::<Flight>().await.expect("the rows");
    let seats = pair.kv.durable_rows::<Seat>().await.expect("the rows").len() as u64;
    assert_eq!(u64::try_from(flights[0].taken), Ok(seats), "a seat for each that was counted");
    assert_eq!(told.twice.load(Ordering::Relaxed), 0);
    let acknowledged = told.acknowledged.load(Ordering::Relaxed);
    let unknown = told.unknown.load(Ordering::Relaxed);
    // Each writer may have been stopped between its unit and its note of it.
    let most = acknowledged + unknown + u64::from(WRITERS.unsigned_abs());
    assert!((acknowledged..=most).contains(&seats), "{told:?}: {seats} seats");
}
